"""How somebody proved, just now, that it is really them: the second factor behind an approval.

This installation knows no second factor yet: where none is required a password stands for it, and
everything that keeps it says so; where one is required nobody can step up.
"""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest

from plans.models import User
from plans.refusal import NotAllowed

PASSWORD_ONLY = ("pwd",)


@dataclass(frozen=True, slots=True)
class StepUp:
    """By which methods the person proved who they are, and when."""

    methods: tuple[str, ...]
    at: datetime


def step_up_of(request: HttpRequest, *, now: datetime) -> StepUp | None:
    """Return what this session proved lately, None when that is not enough."""
    if getattr(settings, "REQUIRE_MFA", False):
        return None
    return StepUp(PASSWORD_ONLY, now)


def step_up_by_code(user: User, code: str, *, now: datetime) -> StepUp:
    """Return what a code proves; it can be used once. Raises NotAllowed."""
    if getattr(settings, "REQUIRE_MFA", False):
        raise NotAllowed("This code is not right, or was used before.", code="wrong_code")
    return StepUp(PASSWORD_ONLY, now)

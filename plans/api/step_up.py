"""REST: how a request proves that its person is really there: by a code, or by its session."""

from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from plans.api.access import asking, via
from plans.api.input import NeededReasonInput, StrictSerializer
from plans.log_in.step_up import StepUp, require_step_up, step_up_by_code, step_up_of
from plans.models import ApiToken
from plans.trail.client_address import client_address


class CodeInput(StrictSerializer):
    """An act that needs a second factor."""

    code = serializers.CharField(
        max_length=64,
        allow_blank=True,
        default="",
        help_text="A code of your second factor, or a recovery code; each can be used once.",
    )


class ProvedReasonInput(NeededReasonInput, CodeInput):
    """A critical act that is refused without a reason."""


class CommentInput(CodeInput):
    """An approval."""

    comment = serializers.CharField(max_length=2000, allow_blank=True, default="")
    role = serializers.CharField(max_length=64, required=False)
    digest = serializers.CharField(
        max_length=64, required=False, help_text="Approve this content alone, as you looked at it."
    )


class OverrideInput(CodeInput):
    """One freeze that a plan may pass."""

    freeze = serializers.UUIDField()
    reason = serializers.CharField(max_length=300)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Without it: as long as the plan lives."
    )


class PromoteInput(CodeInput):
    """Which batch the asking person saw waiting; without it the one that waits now."""

    batch = serializers.IntegerField(min_value=1, required=False)


def proved(request: Request, given: dict[str, Any], *, now: datetime) -> StepUp | None:
    """Take the code out of what was given and return what it, or else the session, proves."""
    code = str(given.pop("code", "")).strip()
    if code:
        return step_up_by_code(
            asking(request), code, now=now, address=client_address(request), via=via(request)
        )
    return step_up_of(request, now=now)


def proof_of(request: Request, code: str, *, now: datetime) -> StepUp:
    """Return the step-up of the session, or of the code that came along; raise what is missing."""
    if code or isinstance(request.auth, ApiToken):
        return step_up_by_code(
            asking(request), code, now=now, address=client_address(request), via=via(request)
        )
    return require_step_up(request, now=now)


def require_proof(request: Request, given: dict[str, Any], *, now: datetime) -> None:
    """Take the code out of what was given; raise unless it, or the session, proves the person.

    For critical acts that nobody signs. Ask first whether the person may do it at all: a code is
    used up.
    """
    proof_of(request, str(given.pop("code", "")).strip(), now=now)

"""REST: how a request proves that its person is really there: by a code, or by its session."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request

from plans.api.access import asking, via
from plans.api.input import NeededReasonInput, StrictSerializer
from plans.log_in.step_up import (
    OfferedCode,
    Proof,
    StepUpRequired,
    offering,
    require_step_up,
    step_up_of,
)
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


@contextmanager
def proof_along(
    request: Request, given: dict[str, Any], *, now: datetime
) -> Iterator[Proof | None]:
    """Take the code out of what was given and yield it, or else what the session proves.

    For acts that are signed: they use the code up themselves, once nothing else refuses them.
    """
    code = str(given.pop("code", "")).strip()
    if not code:
        yield step_up_of(request, now=now)
        return
    address = client_address(request)
    with offering(asking(request), code, now=now, address=address, via=via(request)) as offered:
        yield offered


@contextmanager
def proving(request: Request, given: dict[str, Any], *, now: datetime) -> Iterator[None]:
    """Take the code out of what was given; undo what is inside unless it, or the session, proves.

    For critical acts that nobody signs. The proof comes last, in one transaction with the act: what
    is refused uses no code up.
    """
    with proof_along(request, given, now=now) as proof, transaction.atomic():
        yield
        if isinstance(proof, OfferedCode):
            proof.use()
        elif proof is None and isinstance(request.auth, ApiToken):
            raise StepUpRequired(
                "This needs a one-time code of your second factor; an authenticator app shows one."
            )
        else:
            require_step_up(request, now=now)

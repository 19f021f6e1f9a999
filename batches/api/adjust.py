"""REST: change a running plan, or see what a change would do."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.adjust.apply import Adjusted, adjust
from batches.adjust.preview import AdjustmentPreview, preview_adjustment
from batches.adjust.proposal import Expiry, probe_what_is_added
from batches.adjust.wanted import ChangeSet
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS
from plans.models import Adjustment
from plans.people.permissions import require
from plans.refusal import BadInput

_RULE = (
    "Kpi (or Kpi#2, or the guardrail's key) to its new number, to an object of keys such as"
    " at_most, failure_limit or action, or to null, which removes it."
)
_BATCH = (
    "Batch to an object of percentage, soak_minutes and advance, or to null. An unknown name with"
    " percentage and soak_minutes is a batch more."
)


class AdjustInput(StrictSerializer):
    """What is to change: a policy text, a policy's newest text by its name, or single values."""

    guardrails = serializers.DictField(
        child=serializers.JSONField(allow_null=True), required=False, help_text=_RULE
    )
    batches = serializers.DictField(
        child=serializers.JSONField(allow_null=True), required=False, help_text=_BATCH
    )
    limits = serializers.DictField(child=serializers.JSONField(), required=False)
    on = serializers.DictField(child=serializers.CharField(), required=False)
    policy_text = serializers.CharField(required=False, max_length=256 * 1024)
    policy = serializers.CharField(required=False, max_length=120)
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")
    expires_in_minutes = serializers.FloatField(
        required=False, help_text="A loosening is put back so long after it took effect."
    )
    expires_at = serializers.DateTimeField(required=False, help_text="It is put back then.")
    split = serializers.BooleanField(
        default=True, help_text="Apply what is tighter now, ask for the rest."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two ends: one of them would not be meant."""
        if "expires_at" in attrs and "expires_in_minutes" in attrs:
            raise serializers.ValidationError(
                {"expires_at": "write expires_at or expires_in_minutes, not both"}
            )
        return attrs


class ChangeOutput(serializers.Serializer[Any]):
    """One change."""

    path = serializers.CharField()
    direction = serializers.ChoiceField(choices=["tighter", "looser", "neutral"])
    sentence = serializers.CharField()


class RequestOutput(serializers.Serializer[Any]):
    """Who has to agree, until when."""

    roles = serializers.ListField(child=serializers.CharField())
    deadline = serializers.DateTimeField()
    digest = serializers.CharField()
    revision = serializers.IntegerField()


class AdjustmentOutput(serializers.Serializer[Any]):
    """What is in force now, and what waits for approval."""

    applied = ChangeOutput(many=True)
    waiting_for_approval = ChangeOutput(many=True)
    request = RequestOutput(allow_null=True)


class AdjustedOutput(serializers.Serializer[Any]):
    """What became of a change."""

    plan = serializers.UUIDField()
    state = serializers.CharField()
    revision = serializers.IntegerField()
    adjustment = AdjustmentOutput()


class OutlookOutput(serializers.Serializer[Any]):
    """What a guardrail would say of the looks so far."""

    kpi = serializers.CharField()
    limit = serializers.CharField()
    verdict = serializers.CharField()
    sentence = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    unit = serializers.CharField()
    looks = serializers.IntegerField()
    failed = serializers.IntegerField()
    at_next_look = serializers.CharField(
        help_text="What one more look like the last does: rollback, pause, warn, dry_run or empty."
    )


class BatchOutlook(serializers.Serializer[Any]):
    """A batch's tenants now and after the change."""

    name = serializers.CharField()
    before = serializers.IntegerField()
    after = serializers.IntegerField()
    soak = serializers.CharField()
    begins = serializers.CharField()


class EvidenceOutlookOutput(serializers.Serializer[Any]):
    """What the evidence test would do under the changed policy."""

    words = serializers.ListField(child=serializers.CharField())
    percent = serializers.FloatField(help_text="By the looks so far, judged anew; 100 = reached.")
    verdict = serializers.CharField(help_text="Empty where nobody has looked yet.")
    sentence = serializers.CharField()
    looks = serializers.IntegerField()
    left_out = serializers.IntegerField(help_text="Older looks that were not judged again.")
    at_once = serializers.CharField(help_text="rollback, pause, warn; empty below 100 %.")
    begins_anew = serializers.BooleanField(help_text="More is tolerated: it forgets its looks.")
    soaks = serializers.ListField(child=serializers.DictField())


class AdjustPreviewOutput(serializers.Serializer[Any]):
    """What a change would do; nothing is written."""

    problems = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())
    applied = ChangeOutput(many=True)
    waiting_for_approval = ChangeOutput(many=True)
    roles = serializers.ListField(child=serializers.CharField())
    guardrails = OutlookOutput(many=True)
    batches = BatchOutlook(many=True)
    quote_seconds = serializers.FloatField(allow_null=True)
    evidence = EvidenceOutlookOutput(allow_null=True)


class AnyAdjusted(AdjustPreviewOutput, AdjustedOutput):
    """With `preview=1` the preview's members, else those of the change."""


def adjustment_answer(done: Adjusted) -> dict[str, Any]:
    """Return what the API says of a change."""
    waiting = done.waiting
    request = waiting.request if waiting is not None else None
    return dict(
        AdjustmentOutput(
            {
                "applied": _changes(done.applied),
                "waiting_for_approval": _changes(waiting),
                "request": None
                if waiting is None or request is None
                else {
                    "roles": request.roles,
                    "deadline": request.deadline,
                    "digest": request.plan_digest,
                    "revision": waiting.revision.number,
                },
            }
        ).data
    )


def _changes(adjustment: Adjustment | None) -> list[dict[str, Any]]:
    return list(adjustment.changes) if adjustment is not None else []


def _preview_answer(preview: AdjustmentPreview) -> Response:
    quotes = preview.quotes
    answer = AdjustPreviewOutput(
        {
            "problems": preview.problems,
            "warnings": preview.warnings,
            "applied": preview.applies,
            "waiting_for_approval": preview.waits,
            "roles": preview.roles,
            "guardrails": preview.outlooks,
            "batches": preview.batches,
            "quote_seconds": quotes.now.seconds if quotes is not None else None,
            "evidence": preview.evidence,
        }
    )
    return Response(answer.data)


def _expiry(given: dict[str, Any]) -> Expiry | None:
    at: datetime | None = given.get("expires_at")
    minutes: float | None = given.get("expires_in_minutes")
    if at is None and minutes is None:
        return None
    if minutes is not None and not 0 < minutes <= 7 * 24 * 60:
        raise BadInput(["expires_in_minutes: write a number above 0, at most 10080 (7 days)"])
    return Expiry(after=timedelta(minutes=minutes) if minutes is not None else None, at=at)


class PlanAdjust(ConsoleView):
    """Change a running plan."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "adjust"}

    @extend_schema(
        summary="Change a running plan: tighter at once, looser after approval",
        parameters=[
            PLAN_PARAMETER,
            OpenApiParameter("preview", bool, description="Only say what it would do."),
        ],
        request=AdjustInput,
        responses={200: AnyAdjusted, 202: AdjustedOutput, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Adjust it; 202 when something waits for approval."""
        found = find_plan(request, plan)
        by = asking(request)
        require(by, "adjust", found)
        given = taken(AdjustInput, request)
        wanted = ChangeSet(
            text=given.get("policy_text", ""),
            policy=given.get("policy", ""),
            **{
                part: given[part]
                for part in ("guardrails", "batches", "limits", "on")
                if part in given
            },
        )
        expiry, split, now = _expiry(given), given["split"], timezone.now()
        if request.query_params.get("preview", "").lower() in {"1", "true", "yes"}:
            probe_what_is_added(found, wanted, now=now, via=via(request), again=False)
            preview = preview_adjustment(
                plan=found, wanted=wanted, now=now, expiry=expiry, split=split
            )
            return _preview_answer(preview)
        done = adjust(
            plan_id=found.pk,
            wanted=wanted,
            by=by,
            reason=given["reason"],
            now=now,
            via=via(request),
            expiry=expiry,
            split=split,
        )
        answer = {
            "plan": str(done.plan.pk),
            "state": str(done.plan.state),
            "revision": done.plan.revision,
            "adjustment": adjustment_answer(done),
        }
        return Response(answer, status=200 if done.waiting is None else 202)

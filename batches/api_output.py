"""What the API says about a plan's batches, tenants and rollbacks."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from batches.lifecycle import BATCH, TENANT_UPGRADE
from batches.models import Rollback
from batches.readiness import quote_for
from batches.snapshot import plan_snapshot
from plans.api_acts import possible_acts
from plans.api_output import PlanRow, described
from plans.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.permissions import may


class BatchOutput(serializers.Serializer[Any]):
    """One batch; before the start, as it is planned."""

    number = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField(help_text=f"One of {', '.join(BATCH.states)}.")
    tenants = serializers.IntegerField(source="size")
    counts = serializers.DictField(child=serializers.IntegerField())
    to_retry = serializers.IntegerField(help_text="Failed tenants that can be called again.")
    metrics = serializers.ListField(child=serializers.CharField())
    advance = serializers.CharField()
    held_reason = serializers.CharField(allow_blank=True)
    waits_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when it waits for an opening in the middle of its calls."
    )
    soak_seconds = serializers.FloatField()
    soak_left = serializers.FloatField()
    opened_at = serializers.DateTimeField(allow_null=True)
    calls_done_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class AftermathOutput(serializers.Serializer[Any]):
    """What the Kpis of the restored tenants showed after a rollback."""

    ending = serializers.CharField(
        allow_blank=True,
        help_text="watching, in_band, still_bad, no_data or not_watched; empty while it runs.",
    )
    sentence = serializers.CharField(allow_blank=True)
    until = serializers.DateTimeField(allow_null=True)
    at = serializers.DateTimeField(allow_null=True)
    kpis = serializers.ListField(child=serializers.DictField())


class RollbackOutput(serializers.Serializer[Any]):
    """One rollback."""

    rollback = serializers.UUIDField(source="id")
    scope = serializers.CharField()
    trigger = serializers.CharField()
    reason = serializers.CharField()
    sentence = serializers.CharField()
    by = serializers.CharField()
    triggered_at = serializers.DateTimeField()
    deadline = serializers.DateTimeField()
    first_call_at = serializers.DateTimeField(allow_null=True)
    verified_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    missed_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    quote_seconds = serializers.FloatField(allow_null=True)
    touched = serializers.IntegerField()
    restored = serializers.IntegerField()
    needs_hand = serializers.IntegerField()
    superseded = serializers.ListField(child=serializers.CharField())
    aftermath = AftermathOutput()


class AlertOutput(serializers.Serializer[Any]):
    """Something open that people must know."""

    kind = serializers.CharField()
    sentence = serializers.CharField()
    opened_at = serializers.DateTimeField()


class HoldingFreeze(serializers.Serializer[Any]):
    """A freeze that holds the plan now."""

    freeze = serializers.UUIDField(source="id")
    name = serializers.CharField()
    reason = serializers.CharField()
    ends_at = serializers.DateTimeField(allow_null=True)
    overriders = serializers.ListField(child=serializers.CharField())


class OpeningOutput(serializers.Serializer[Any]):
    """Whether what comes next in the plan may be called now, and when it may."""

    is_open = serializers.BooleanField()
    sentence = serializers.CharField()
    next_opening = serializers.DateTimeField(allow_null=True)
    closes_at = serializers.DateTimeField(allow_null=True)
    for_good = serializers.BooleanField(help_text="The policy has ended; no opening will come.")
    freezes = HoldingFreeze(many=True)


class OverrideOutput(serializers.Serializer[Any]):
    """A freeze that the plan was let through."""

    freeze = serializers.CharField()
    by = serializers.CharField()
    role = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class PlanCourse(serializers.Serializer[Any]):
    """Where a plan is: its batches, tenants, newest rollback and open alerts."""

    batches = BatchOutput(many=True)
    opening = OpeningOutput(allow_null=True, help_text="Null when nothing comes any more.")
    overrides = OverrideOutput(many=True)
    counts = serializers.DictField(child=serializers.IntegerField())
    rollback = RollbackOutput(allow_null=True)
    alerts = AlertOutput(many=True)


class PlanDetail(PlanRow, PlanCourse):
    """A plan, where it is, and what the asking person can do now."""

    possible = serializers.ListField(child=serializers.CharField())


class TenantRow(serializers.Serializer[Any]):
    """One tenant of a plan."""

    tenant = serializers.CharField(source="tenant_key")
    batch = serializers.IntegerField(source="batch__number", allow_null=True)
    state = serializers.CharField(help_text=f"One of {', '.join(TENANT_UPGRADE.states)}.")
    version_before = serializers.CharField(allow_blank=True)
    version_observed = serializers.CharField(allow_blank=True)
    attempts = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    upgraded_at = serializers.DateTimeField(allow_null=True)
    restored_at = serializers.DateTimeField(allow_null=True)
    set_aside = serializers.CharField(
        allow_blank=True,
        help_text="quarantined, excluded by a person, skipped with its batch, or empty.",
    )
    set_aside_why = serializers.CharField(allow_blank=True)


class PlannedBatch(serializers.Serializer[Any]):
    """A batch and how many tenants it has."""

    name = serializers.CharField()
    tenants = serializers.IntegerField(source="size")


class PlannedOutput(serializers.Serializer[Any]):
    """What handing a plan in answers."""

    plan = serializers.UUIDField()
    state = serializers.CharField()
    revision = serializers.IntegerField()
    digest = serializers.CharField()
    batches = PlannedBatch(many=True)
    quote_seconds = serializers.FloatField(
        allow_null=True,
        help_text="To take the whole plan back, at worst; null when it cannot be taken back.",
    )
    problems = serializers.ListField(child=serializers.CharField())


class RollbackAnswer(serializers.Serializer[Rollback]):
    """What asking for a rollback answers."""

    plan = serializers.UUIDField(source="plan_id")
    rollback = serializers.UUIDField(source="pk")
    deadline = serializers.DateTimeField()
    touched = serializers.IntegerField()


def plan_detail(plan: Plan, user: User) -> dict[str, Any]:
    """Return what the API says of a plan as it is now."""
    now = timezone.now()
    fresh = described(Plan.objects.filter(pk=plan.pk)).get()
    course = plan_snapshot(plan.pk, now=now)
    possible = possible_acts(fresh, user, at=now)
    if str(fresh.state) == "running":
        possible += _possible_for_batches(fresh, course["batches"], user)
    if str(fresh.state) in {"running", "paused"}:
        possible += _possible_while_under_way(fresh, course, user)
    return {**PlanRow(fresh).data, **PlanCourse(course).data, "possible": possible}


def _possible_for_batches(plan: Plan, batches: list[dict[str, Any]], user: User) -> list[str]:
    coming = next((batch for batch in batches if batch["state"] == "pending"), None)
    held = any(batch["state"] == "held" for batch in batches)
    offered = {"promote": coming is not None and coming["at_gate"], "resume": held}
    return [act for act, there in offered.items() if there and may(user, act, plan)]


def _possible_while_under_way(plan: Plan, course: dict[str, Any], user: User) -> list[str]:
    batches, counts = course["batches"], course["counts"]
    states = {batch["state"] for batch in batches}
    waiting = counts.get("pending", 0)
    offered = {
        "retry": ("retry", any(batch["to_retry"] for batch in batches)),
        "exclude": ("exclude", bool(waiting or counts.get("rolled_back"))),
        "skip": ("skip", "pending" in states),
        "unskip": ("skip", "skipped" in states),
        "jump": ("skip", sum(batch["state"] == "pending" for batch in batches) > 1),
        "skip-rest": ("skip", bool(waiting and counts.get("upgraded"))),
        "settle": ("settle", bool(counts.get("needs_hand"))),
    }
    return [act for act, (action, there) in offered.items() if there and may(user, action, plan)]


def planned_answer(plan: Plan) -> dict[str, Any]:
    """Return what the API says of a plan that was handed in."""
    revision = current_revision(plan)
    batches = plan_snapshot(plan.pk)["batches"]
    whole = sum(batch["size"] for batch in batches)
    quote = quote_for(
        deployer=plan.deployer,
        policy=policy_of(revision),
        touched=whole,
        irreversible=plan.release.irreversible,
    )
    answer = PlannedOutput(
        {
            "plan": plan.pk,
            "state": str(plan.state),
            "revision": plan.revision,
            "digest": revision.plan_digest,
            "batches": batches,
            "quote_seconds": quote.seconds if quote.reversible else None,
            "problems": [],
        }
    )
    return dict(answer.data)

"""What the API says about a plan's batches, tenants and rollbacks."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from batches.api.guardrails import GuardrailOutput
from batches.fit.of_plans import fits_of
from batches.lifecycle import BATCH, TENANT_UPGRADE
from batches.live.snapshot import plan_snapshot
from batches.models import Rollback
from batches.quotes.advice import forecast
from batches.quotes.quote import rollback_quote
from batches.rollout.readiness import way_back
from plans.api.acts import possible_acts
from plans.api.output import PlanRow, described
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.people.permissions import may


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


class QuoteTerm(serializers.Serializer[Any]):
    """One term of a quote."""

    label = serializers.CharField()  # type: ignore[assignment]
    seconds = serializers.FloatField()


class QuoteOutput(serializers.Serializer[Any]):
    """What taking tenants back takes; null where the deployers file cannot be read."""

    touched = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True, help_text="In the worst case; gates batches.")
    expected_seconds = serializers.FloatField(
        allow_null=True, help_text="As usual, when no call fails or hangs meanwhile."
    )
    limit = serializers.FloatField(allow_null=True, help_text="What the promise leaves.")
    fits = serializers.BooleanField(allow_null=True)
    terms = QuoteTerm(many=True)
    sentence = serializers.CharField()


class NextQuote(QuoteOutput):
    """The quote after the next batch: its gate."""

    batch = serializers.IntegerField()


class QuoteAdvice(serializers.Serializer[Any]):
    """One change with which the whole plan, or its first batch, would fit."""

    key = serializers.CharField(help_text="The policy key, or `tenants`.")
    value = serializers.FloatField()
    seconds = serializers.FloatField()
    limit = serializers.FloatField()
    sentence = serializers.CharField()


class WholeQuote(QuoteOutput):
    """The forecast: the quote after the last batch, and what would help where it does not fit."""

    first_over = serializers.IntegerField(
        allow_null=True, help_text="The first batch that would not fit."
    )
    advice = QuoteAdvice(many=True)


class PlanQuote(QuoteOutput):
    """What taking everything back takes now, after the next batch, and after the last one."""

    next = NextQuote(allow_null=True)
    whole = WholeQuote(allow_null=True)


class OldVersionOutput(serializers.Serializer[Any]):
    """A version that nobody vouches for any more, or never did."""

    version = serializers.CharField(help_text="Empty: not known.")
    tenants = serializers.IntegerField()
    problem = serializers.CharField()


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
    expected_seconds = serializers.FloatField(allow_null=True)
    quote_terms = QuoteTerm(many=True)
    touched = serializers.IntegerField()
    restored = serializers.IntegerField()
    needs_hand = serializers.IntegerField()
    superseded = serializers.ListField(child=serializers.CharField())
    unverified = OldVersionOutput(
        many=True, help_text="What it brings back without a signature that holds."
    )
    aftermath = AftermathOutput()


class AlertOutput(serializers.Serializer[Any]):
    """Something open that people must know."""

    kind = serializers.CharField()
    sentence = serializers.CharField()
    to_do = serializers.CharField(allow_blank=True, help_text="What a person does about it.")
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


class EvidenceOutput(serializers.Serializer[Any]):
    """What the evidence test of the plan says."""

    percent = serializers.FloatField(help_text="0 to 100; at 100 the action follows.")
    verdict = serializers.CharField(help_text="fine, breached, no_data or undecided.")
    sentence = serializers.CharField()
    cause = serializers.CharField(
        allow_blank=True,
        help_text="no_traffic, no_control, exposure, fleet_incident, short_history or unusable.",
    )
    kpi = serializers.CharField(allow_blank=True, help_text="The Kpi that says most.")
    kpis = serializers.ListField(child=serializers.CharField())
    action = serializers.CharField(help_text="pause, rollback or warn.")
    risk = serializers.FloatField(help_text="The risk of a false alarm, in %.")
    estimated = serializers.BooleanField(
        help_text="Calibrated by the tenants' history: an estimate, no proof."
    )
    reached_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField(allow_null=True)


class PlanCourse(serializers.Serializer[Any]):
    """Where a plan is: its batches, tenants, guardrails, newest rollback and open alerts."""

    batches = BatchOutput(many=True)
    opening = OpeningOutput(allow_null=True, help_text="Null when nothing comes any more.")
    overrides = OverrideOutput(many=True)
    counts = serializers.DictField(child=serializers.IntegerField())
    quote = PlanQuote()
    rollback = RollbackOutput(allow_null=True)
    guardrails = GuardrailOutput(many=True)
    stops_again = serializers.ListField(
        child=serializers.CharField(),
        help_text="What is broken still and would stop the plan again as soon as it goes on.",
    )
    evidence = EvidenceOutput(allow_null=True, help_text="Null when the policy has no test.")
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
    digest_observed = serializers.CharField(
        allow_blank=True, help_text="As it was read back; empty where the platform tells none."
    )
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
    quote = WholeQuote()
    problems = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(
        child=serializers.CharField(),
        help_text="What the plan's author should know of how its Kpis are read; stops nothing.",
    )
    old_versions = OldVersionOutput(
        many=True,
        help_text="What a rollback would bring back without a signature that holds, as it was"
        " looked up at submission or start.",
    )


class RollbackAnswer(serializers.Serializer[Rollback]):
    """What asking for a rollback answers."""

    plan = serializers.UUIDField(source="plan_id")
    rollback = serializers.UUIDField(source="pk")
    deadline = serializers.DateTimeField()
    touched = serializers.IntegerField()


def plan_detail(plan: Plan, user: User) -> dict[str, Any]:
    """Return what the API says of a plan as it is now."""
    now = timezone.now()
    fresh = described(Plan.objects.visible_to(user).filter(pk=plan.pk)).get()
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
    policy = policy_of(revision)
    way = way_back(deployer=plan.deployer, policy=policy, plan=plan)
    told = forecast(way, [batch["size"] for batch in batches])
    whole = told.quotes[-1] if told.quotes else rollback_quote(way, touched=0)
    over = told.first_over
    answer = PlannedOutput(
        {
            "plan": plan.pk,
            "state": str(plan.state),
            "revision": plan.revision,
            "digest": revision.plan_digest,
            "batches": batches,
            "quote_seconds": whole.seconds if whole.reversible else None,
            "quote": {
                **whole.to_json(),
                "first_over": batches[over]["number"] if over is not None else None,
                "advice": [one.to_json() for one in told.advice],
            },
            "problems": [],
            "warnings": list(fits_of(plan, policy, timezone.now()).warnings),
            "old_versions": plan.old_versions,
        }
    )
    return dict(answer.data)

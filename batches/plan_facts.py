"""Read from the database what a decision about a plan depends on."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q

from batches.decide import BatchFacts, BreachFacts, MissingFacts, PlanFacts, RollbackFacts
from batches.models import Batch, DeployerCall, Rollback, TenantUpgrade
from batches.pacing import failures, soak_left
from batches.readiness import gate_quote
from batches.rollback import NOT_BACK, in_scope
from plans import flags
from plans.models import Plan
from plans.policy import UpgradePolicy
from plans.refusal import BadInput
from plans.releases import ReleaseNotTrusted, verify_again
from plans.windows import window_state


def _batch_facts(plan: Plan, policy: UpgradePolicy, now: datetime) -> tuple[BatchFacts, ...]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    special: dict[int, dict[str, int]] = defaultdict(dict)
    rows = (
        TenantUpgrade.objects.filter(plan=plan)
        .order_by()
        .values("batch_id", "state")
        .annotate(
            n=Count("pk"),
            touched=Count("pk", filter=Q(touched_at__isnull=False)),
            stopped=Count("pk", filter=Q(exhausted_at=None)),
        )
    )
    for row in rows:
        state, batch_id = row["state"], row["batch_id"]
        counts[batch_id][state] = row["n"]
        if state == "unknown":
            special[batch_id]["unknown_to_retry"] = row["stopped"]
            special[batch_id]["unknown_for_good"] = row["n"] - row["stopped"]
        if state == "failed":
            special[batch_id]["failed_touched"] = row["touched"]
            special[batch_id]["failed_untouched"] = row["n"] - row["touched"]
    # A call whose executor died stays open in the journal; it can do nothing after that time.
    alive = now - timedelta(seconds=2 * policy.limits.call_timeout_seconds)
    open_calls = dict(
        DeployerCall.objects.filter(plan=plan, ended_at=None, started_at__gt=alive)
        .order_by()
        .values_list("upgrade__batch_id")
        .annotate(n=Count("pk"))
    )
    facts = []
    for batch in Batch.objects.filter(plan=plan).order_by("number"):
        known, extra = counts[batch.pk], special[batch.pk]
        to_retry = extra.get("unknown_to_retry", 0)
        facts.append(
            BatchFacts(
                pk=batch.pk,
                number=batch.number,
                name=batch.name,
                state=str(batch.state),
                size=batch.size,
                counts=known,
                advance=batch.advance,
                promoted=batch.promoted_at is not None,
                forward_left=known.get("pending", 0) + known.get("upgrading", 0) + to_retry,
                to_retry=to_retry,
                stragglers=extra.get("failed_touched", 0)
                + extra.get("unknown_for_good", 0)
                + known.get("restoring", 0),
                untouched_failures=extra.get("failed_untouched", 0),
                failures=failures(known, to_retry),
                calls_open=open_calls.get(batch.pk, 0),
                calling_since=batch.calling_since,
                handed_out_at=batch.handed_out_at,
                soak_left=soak_left(
                    batch.soak_left,
                    batch.soak_counted_at,
                    now,
                    counting=str(batch.state) == "soaking" and str(plan.state) == "running",
                ),
                held_at=batch.held_at,
                held_kind=batch.held_kind,
                acknowledged={
                    kind: datetime.fromisoformat(at) for kind, at in batch.acknowledged.items()
                },
            )
        )
    return tuple(facts)


def _rollback_facts(plan: Plan) -> RollbackFacts | None:
    # A rollback is open exactly while its plan rolls back; other plans are not asked each second.
    if str(plan.state) != "rolling_back":
        return None
    rollback = Rollback.objects.filter(plan=plan, finished_at=None).first()
    if rollback is None:
        return None
    handed_over = Q(state="needs_hand", exhausted_at__gte=rollback.triggered_at)
    left = (
        in_scope(rollback)
        .touched()
        .filter(Q(state__in=NOT_BACK) | Q(state="needs_hand"))
        .exclude(handed_over)
        .order_by("tenant_key")
        .values_list("tenant_key", flat=True)
    )
    return RollbackFacts(
        pk=str(rollback.pk),
        deadline=rollback.deadline,
        left=tuple(left),
        checked=rollback.checked_at is not None,
        escalated=rollback.escalated_at is not None,
        missed=rollback.missed_at is not None,
    )


def plan_facts(
    plan: Plan,
    policy: UpgradePolicy,
    now: datetime,
    *,
    breaches: Sequence[BreachFacts] = (),
    missing: Sequence[MissingFacts] = (),
    promotable: tuple[bool, str] = (True, ""),
    unreadable: str = "",
) -> PlanFacts:
    """Return the facts of one plan; what was observed is handed in by the observation.

    `unreadable` says why nothing could be observed: a file of this installation is broken.
    """
    batches = _batch_facts(plan, policy, now)
    live = any(batch.state in {"deploying", "soaking", "held"} for batch in batches)
    window = window_state(policy.windows, policy.not_after, now)
    off = flags.switched_off()
    gate: dict[str, object] = {"unreadable": unreadable}
    if not live and str(plan.state) == "running":
        gate |= _gate(plan, policy, now)
    return PlanFacts(
        state=str(plan.state),
        now=now,
        limits=policy.limits,
        on=policy.on,
        batches=batches,
        scope=policy.rollback.scope,
        orchestrator_on=flags.ORCHESTRATOR not in off,
        rollback_on=flags.ROLLBACK not in off,
        watch_may_call=settings.WATCH_MAY_RUN_BATCHES,
        resume_by=plan.resume_by,
        rollback=_rollback_facts(plan),
        breaches=tuple(breaches),
        missing=tuple(missing),
        window_open=window.is_open,
        window_sentence=window.sentence,
        promotable=promotable[0],
        promotable_sentence=promotable[1],
        **gate,  # type: ignore[arg-type]
    )


def _gate(plan: Plan, policy: UpgradePolicy, now: datetime) -> dict[str, object]:
    """Return what the next batch depends on beside the plan itself."""
    try:
        quote = gate_quote(plan, policy)
    except BadInput as broken:
        return {"unreadable": str(broken)}
    return {
        "quote_fits": quote.fits,
        "quote_sentence": quote.sentence,
        "release_problem": _release_problem(plan, now),
    }


def _release_problem(plan: Plan, now: datetime) -> str:
    """Verify the release once more before each batch."""
    try:
        verify_again(release=plan.release, now=now)
    except ReleaseNotTrusted as refused:
        return refused.sentence
    return ""

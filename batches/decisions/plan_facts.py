"""Return what a decision about a plan depends on, from its rows and what else is asked for."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q

from batches.decisions.clock_moves import soak_name
from batches.decisions.decide_forward import may_begin
from batches.decisions.decision_facts import (
    BatchFacts,
    BreachFacts,
    MissingFacts,
    PlanFacts,
    RollbackFacts,
)
from batches.decisions.plan_rows import PlanRows, rows_of
from batches.drills.drilling import drill_facts
from batches.drills.rehearsing import goes_back_why
from batches.models import Batch, Rollback, RollbackDrill
from batches.rollback.rollback import NOT_BACK, in_scope
from batches.rollout.pacing import failures, net_of_waiting, soak_left
from batches.rollout.readiness import gate_quote
from batches.rollout.stopping import may_be_read
from batches.rollout.waiting import plan_opening
from batches.runtime import free_space
from batches.runtime.steady_clock import SteadyClock
from plans import flags
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput
from plans.releases.registering import ReleaseNotTrusted, verify_again

SPARED = ("rolled_back", "excluded")
"""Without used-up attempts these were taken back or left out, and their upgrade did not fail."""


def _batch_facts(
    plan: Plan, rows: PlanRows, now: datetime, clock: SteadyClock
) -> tuple[BatchFacts, ...]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    special: dict[int, dict[str, int]] = defaultdict(dict)
    # A tenant under a drill counts as upgraded: that it is away for a moment is no failure.
    for batch_id, state in rows.drilled:
        shown = "needs_hand" if state == "needs_hand" else "upgraded"
        counts[batch_id][shown] = counts[batch_id].get(shown, 0) + 1
        if shown == "needs_hand":
            special[batch_id]["drilled"] = special[batch_id].get("drilled", 0) + 1
    for row in rows.counts:
        counts[row.batch][row.state] = counts[row.batch].get(row.state, 0) + row.n
        extra = special[row.batch]
        if row.state == "unknown":
            extra["unknown_to_retry"] = row.stopped
            extra["unknown_for_good"] = row.n - row.stopped
        if row.state in SPARED:
            extra["spared"] = extra.get("spared", 0) + row.stopped
        if row.state == "excluded":
            extra["left_out"] = row.never_tried
        if row.state == "failed":
            extra["failed_touched"] = row.touched
            extra["failed_untouched"] = row.n - row.touched
    facts = []
    for batch in rows.batches:
        known, extra = counts[batch.pk], special[batch.pk]
        to_retry = extra.get("unknown_to_retry", 0)
        called = net_of_waiting(batch.calling_since, batch.waited_seconds)
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
                failures=failures(known, to_retry, extra.get("spared", 0))
                - extra.get("drilled", 0),
                drilled=extra.get("drilled", 0),
                left_out=extra.get("left_out", 0),
                calls_open=rows.open_calls.get(batch.pk, 0),
                calling_since=clock.placed(f"batch:{batch.pk}:calls", called),
                waits_since=batch.waits_since,
                handed_out_at=clock.placed(f"batch:{batch.pk}:handed out", batch.handed_out_at),
                soak_left=soak_left(
                    batch.soak_left,
                    clock.placed(soak_name(batch.pk), batch.soak_counted_at),
                    now,
                    counting=str(batch.state) == "soaking" and str(plan.state) == "running",
                ),
                held_at=clock.placed(f"batch:{batch.pk}:hold", batch.held_at),
                held_kind=batch.held_kind,
                acknowledged=_acknowledged(batch, clock),
            )
        )
    return tuple(facts)


def _acknowledged(batch: Batch, clock: SteadyClock) -> dict[str, datetime]:
    """Return what a person let pass, and when."""
    found = {}
    for kind, written in batch.acknowledged.items():
        at = datetime.fromisoformat(written)
        found[kind] = at + clock.moved_since(f"batch:{batch.pk}:{kind}", at)
    return found


def rollback_name(rollback_id: Any) -> str:
    """Return under which name a rollback's deadline is known to the steady clock."""
    return f"rollback:{rollback_id}"


def _rollback_facts(plan: Plan, clock: SteadyClock) -> RollbackFacts | None:
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
        deadline=rollback.deadline
        + clock.moved_since(rollback_name(rollback.pk), rollback.deadline),
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
    incident: str = "",
    inconclusive: str = "",
    missing: Sequence[MissingFacts] = (),
    all_seen_at: datetime | None = None,
    promotable: tuple[bool, str] = (True, ""),
    unreadable: str = "",
    clock: SteadyClock | None = None,
    rows: PlanRows | None = None,
) -> PlanFacts:
    """Return the facts of one plan; what was observed is handed in by the observation.

    `unreadable` says why nothing could be observed: a file of this installation is broken. All
    moments are told as they lie on the wall clock of now, also when `clock` knows it was moved.

    This is asked for every live plan at every tick, so what no rule asks for in the state in which
    the plan is, is not read. `rows`: what was read of it already.
    """
    clock = clock or SteadyClock()
    rows = rows or rows_of(plan.pk, policy, now)
    batches = _batch_facts(plan, rows, now, clock)
    off = rows.switched_off
    facts = PlanFacts(
        state=str(plan.state),
        now=now,
        limits=policy.limits,
        on=policy.on,
        batches=batches,
        scope=policy.rollback.scope,
        orchestrator_on=flags.ORCHESTRATOR not in off,
        rollback_on=flags.ROLLBACK not in off,
        watch_may_call=settings.WATCH_MAY_RUN_BATCHES,
        resume_by=clock.placed(f"plan:{plan.pk}:resume by", plan.resume_by),
        rollback=_rollback_facts(plan, clock),
        breaches=tuple(breaches),
        incident=incident,
        inconclusive=inconclusive,
        missing=tuple(missing),
        all_seen_at=all_seen_at,
        irreversible=plan.release.irreversible,
        distrusted=plan.release.standing.rstrip("."),
        promotable=promotable[0],
        promotable_sentence=promotable[1],
        half_done=str(plan.state) == "needs_hand"
        and may_be_read(plan, policy.limits.call_timeout_seconds, now),
        unreadable=unreadable,
    )
    return replace(facts, **_asked_while_running(plan, policy, rows, facts))


def _asked_while_running(
    plan: Plan, policy: UpgradePolicy, rows: PlanRows, facts: PlanFacts
) -> dict[str, Any]:
    """Return what is asked only in the part of its course in which a running plan is."""
    live, now = facts.live, facts.now
    if facts.state != "running":
        return {}
    if may_begin(facts):
        window = _window(plan, policy, now)
        # What is closed anyhow needs no quote, and no signature checked.
        return window | _gate(plan, policy, now) if window["window_open"] else window
    if live is not None and live.state == "deploying" and live.forward_left:
        return _window(plan, policy, now)
    if live is not None and live.state == "soaking":
        return {
            "drill": drill_facts(plan, policy, rows.drill, now),
            "rehearsal": goes_back_why(plan, _open_rehearsal(rows.drills), now),
        }
    return {}


def _open_rehearsal(drills: Sequence[RollbackDrill]) -> RollbackDrill | None:
    of_kind = (one for one in drills if one.kind == RollbackDrill.REHEARSAL)
    return next((one for one in of_kind if one.ended_at is None), None)


def _window(plan: Plan, policy: UpgradePolicy, now: datetime) -> dict[str, Any]:
    """Return whether what comes next may be called now."""
    window = plan_opening(plan, policy, now)
    return {
        "window_open": window.is_open,
        "window_sentence": window.sentence.rstrip("."),
        "window_for_good": window.for_good,
    }


def _gate(plan: Plan, policy: UpgradePolicy, now: datetime) -> dict[str, Any]:
    """Return what the next batch depends on beside the plan itself."""
    try:
        quote = gate_quote(plan, policy)
    except BadInput as broken:
        return {"unreadable": str(broken)}
    return {
        "quote_fits": quote.fits,
        "quote_sentence": quote.sentence,
        "release_problem": _release_problem(plan, now),
        "room_problem": free_space.room().problem,
    }


def _release_problem(plan: Plan, now: datetime) -> str:
    """Verify the release once more before each batch."""
    try:
        verify_again(release=plan.release, now=now)
    except ReleaseNotTrusted as refused:
        return refused.sentence
    return ""

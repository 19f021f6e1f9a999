"""What must hold of looks and rulings: I9, I11 and I13."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from batches.configured import dictionary
from batches.guardrails.rulings import inputs_digest
from batches.guardrails.verdict import GuardState, guardrail_key, judge, measure
from batches.kpis.dictionary import resolve_guardrail
from batches.models import Batch, JudgedLook, KpiSample, Rollback, Ruling
from batches.replay.course import differences
from batches.sources.increments import LookSample, max_age
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Adjustment, Event, Plan
from tests.simulation.judging import TICK, all_plans
from tests.simulation.world import World


def i9_rulings_replay(world: World) -> Iterator[str]:
    """From the stored looks and the policy come the stored verdicts, in their order."""
    for plan in all_plans(world):
        if plan.started_at is None:
            continue
        if Adjustment.objects.filter(plan=plan).exclude(applied_at=None).exists():
            # Each look was judged by the rules of its moment.
            continue
        policy = policy_of(current_revision(plan))
        for guardrail in policy.guardrails:
            definition = dictionary().kpi(guardrail.kpi)
            if definition is None:
                continue
            resolved = resolve_guardrail(guardrail, definition)
            yield from _replayed(world, plan, resolved, guardrail_key(guardrail), policy)


def i9_rulings_come_out_again(world: World) -> Iterator[str]:
    """Every ruling comes out of a replay as it was made: over restarts, adjustments, rollbacks.

    And so does every number of the evidence test, and all that it knew when it ruled.
    """
    if world.jumps:
        # For the length of a renewal two watches judge, each from where it remembers to stand.
        return
    for plan in all_plans(world):
        if JudgedLook.objects.filter(plan=plan).exists():
            for difference in differences(plan):
                yield f"plan {plan.external_id}: {difference}"


def _stands_on(ruling: Ruling, looks: list[LookSample], window: float) -> int | None:
    """Return the newest of the stored looks on which a ruling says that it stands."""
    seen: deque[LookSample] = deque()
    for number, look in enumerate(looks):
        seen.append(look)
        while look.at - seen[0].at > timedelta(seconds=window):
            seen.popleft()
        if inputs_digest(seen) == ruling.inputs_digest:
            return number
    return None


def _replayed(world: World, plan: Plan, guardrail: Any, key: str, policy: Any) -> Iterator[str]:
    first = Rollback.objects.filter(plan=plan).order_by("triggered_at").first()
    looks = [
        LookSample.from_json(row.look)
        for row in KpiSample.objects.filter(plan=plan, kpi=guardrail.kpi).order_by("pk")
    ]
    definition = dictionary().kpi(guardrail.kpi)
    assert definition is not None
    for ruling in Ruling.objects.filter(plan=plan, guardrail=key).order_by("pk"):
        if first is not None and ruling.at > first.triggered_at:
            return
        under = _stands_on(ruling, looks, guardrail.window_seconds)
        if under is None and world.jumps:
            # A clock that was set on lets two watches look for the length of a renewal: each
            # stands on its own looks, and all of them are stored.
            continue
        if under is None:
            yield f"the looks under {ruling} of {ruling.at} are not among the stored ones"
            continue
        state = GuardState()
        window: deque[LookSample] = deque()
        for number, look in enumerate(looks[: under + 1]):
            window.append(look)
            last = number == under
            measurement = measure(
                guardrail,
                definition,
                list(window),
                canary=len(look.canary) + sum(look.causes.values()),
                now=ruling.at if last else look.at,
                max_age_seconds=max_age(policy.limits.look_seconds),
            )
            state, again = judge(state, measurement, guardrail, now=ruling.at, soak_started=None)
        if again.verdict != ruling.verdict:
            yield f"{ruling} is {again.verdict} when it is replayed"
        if again.value != ruling.value:
            yield f"{ruling} measured {ruling.value}, and {again.value} when it is replayed"


def i11_and_i13_nothing_passes_unseen(world: World) -> Iterator[str]:
    """A batch passes on a good and fresh look of each critical Kpi, taken since its soak began."""
    for plan in all_plans(world):
        samples = list(KpiSample.objects.filter(plan=plan, kpi="error_rate").order_by("pk"))
        trail = [e for e in world.trail if e.stream == plan.stream_key]
        told = dict(Event.objects.filter(stream__key=plan.stream_key).values_list("seq", "at"))
        began: datetime | None = None
        # Of whom nobody is left nothing can be measured; a person has let these pass.
        left = {
            batch.number
            for batch in Batch.objects.filter(plan=plan)
            if "nobody_left" in batch.acknowledged
        }
        for entry in trail:
            if entry.kind == "batch_calls_settled":
                began = told[entry.seq]
            if entry.kind != "batch_passed" or began is None or entry.payload["batch"] in left:
                continue
            passed = told[entry.seq]
            mine = [row for row in samples if world.feed.looks[row.pk - 1] <= entry.at]
            newest = mine[-1] if mine else None
            batch = entry.payload["batch"]
            if newest is None or not newest.ok:
                yield f"I11: batch {batch} passed although its newest look had no data"
            elif (passed - newest.at).total_seconds() > max_age(1):
                yield f"I11: batch {batch} passed on a look of {newest.at}"
            since = [row for row in mine if row.at >= began - timedelta(seconds=TICK)]
            if not any(row.ok and row.look.get("canary") for row in since):
                yield f"I13: batch {batch} passed and nothing good was measured in its soak"

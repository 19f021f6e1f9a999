"""What the tables say of plans under way, read for many in as many questions as for one.

One question is asked after the other, so what somebody commits meanwhile may be in the later rows
alone. Whoever does something about one of many plans reads that one again first
(`batches/watch/deciding.py`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from django.db.models import Count, Q, QuerySet

from batches.lifecycle import LIVE_BATCH_STATES
from batches.models import (
    Alert,
    Batch,
    DeployerCall,
    EvidenceState,
    Rollback,
    RollbackDrill,
    TenantUpgrade,
)
from plans import flags
from plans.policies.policy import UpgradePolicy

STARTED_ANEW = ("plan", "batch")
"""The scopes of a rollback after which the evidence test begins anew."""


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many tenants of a batch are in a state; those under a drill are counted apart.

    `stopped`: their attempts are not used up. `never_tried`: nor did any call reach them.
    """

    batch: int
    state: str
    n: int
    touched: int
    stopped: int
    never_tried: int


@dataclass(frozen=True, slots=True)
class PlanRows:
    """What a decision about one plan rests on, as it stood within one moment.

    `drilled`: batch and state of each tenant that a drill within the plan may move. `raised`: the
    plan's open alerts. `taken_back_at`: when its newest rollback, of what the evidence test had
    tested, ended or began.
    """

    batches: tuple[Batch, ...] = ()
    counts: tuple[StateCount, ...] = ()
    drills: tuple[RollbackDrill, ...] = ()
    drilled: tuple[tuple[int, str], ...] = ()
    open_calls: Mapping[int, int] = field(default_factory=dict)
    raised: tuple[Alert, ...] = ()
    evidence: EvidenceState | None = None
    taken_back_at: datetime | None = None
    switched_off: frozenset[str] = frozenset()

    @property
    def live(self) -> Batch | None:
        """Return the batch that is deploying, soaking or held."""
        return next((b for b in self.batches if str(b.state) in LIVE_BATCH_STATES), None)

    @property
    def drill(self) -> RollbackDrill | None:
        """Return the drill within the plan, begun or ended."""
        return next((one for one in self.drills if one.kind == RollbackDrill.PLAN), None)


def rows_of(plan_id: Any, policy: UpgradePolicy, now: datetime) -> PlanRows:
    """Return the rows of one plan as they are now."""
    return rows_together({plan_id: policy}, now)[plan_id]


def rows_together(policies: Mapping[Any, UpgradePolicy], now: datetime) -> dict[Any, PlanRows]:
    """Return the rows of these plans, in a number of questions that does not grow with theirs."""
    plans = list(policies)
    drills = _each(RollbackDrill.objects.filter(plan__in=plans))
    drilled = _drilled(drills)
    counts = _counts(plans, {pk for rows in drilled.values() for pk, _batch, _state in rows})
    batches = _each(Batch.objects.filter(plan__in=plans).order_by("number"))
    calls = _open_calls(policies, batches, now)
    raised = _each(Alert.objects.filter(plan__in=plans, resolved_at=None))
    tested = [plan for plan, policy in policies.items() if policy.evidence is not None]
    evidence = _evidence(tested)
    taken_back = taken_back_at(evidence)
    off = flags.switched_off()
    return {
        plan: PlanRows(
            batches=tuple(batches[plan]),
            counts=tuple(counts[plan]),
            drills=tuple(drills[plan]),
            drilled=tuple((batch, state) for _pk, batch, state in drilled[plan]),
            open_calls=calls,
            raised=tuple(raised[plan]),
            evidence=evidence.get(plan),
            taken_back_at=taken_back.get(plan),
            switched_off=off,
        )
        for plan in plans
    }


def _each(rows: Iterable[Any]) -> dict[Any, list[Any]]:
    """Return the rows by their plan."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.plan_id].append(row)
    return found


def drilled_by(drill: RollbackDrill | None) -> Q | None:
    """Return which tenant upgrades a drill within a plan may move; None for no such drill."""
    if drill is None or drill.kind != RollbackDrill.PLAN or drill.outcome not in {"", "failed"}:
        return None
    return Q(plan=drill.plan_id, tenant_key__in=drill.tenants)


def _drilled(
    drills: Mapping[Any, Sequence[RollbackDrill]],
) -> dict[Any, list[tuple[int, int, str]]]:
    """Return the tenant upgrades, with batch and state, that drills within the plans may move.

    Also those that are not moved yet: a call may be claimed before the others are counted, and
    what a drill takes back must not be counted as a failure then.
    """
    found: dict[Any, list[tuple[int, int, str]]] = defaultdict(list)
    any_of = [q for ones in drills.values() for one in ones if (q := drilled_by(one)) is not None]
    if any_of:
        rows = TenantUpgrade.objects.filter(reduce(or_, any_of)).order_by()
        for plan, pk, batch, state in rows.values_list("plan_id", "pk", "batch_id", "state"):
            found[plan].append((pk, batch, state))
    return found


@lru_cache(maxsize=1)
def _counted() -> QuerySet[TenantUpgrade, tuple[Any, ...]]:
    """Return the question that counts; put together once, for that costs more than asking it."""
    return (
        TenantUpgrade.objects.order_by()
        .values_list("plan_id", "batch_id", "state")
        .annotate(
            n=Count("pk"),
            touched=Count("touched_at"),
            stopped=Count("pk", filter=Q(exhausted_at=None)),
            never_tried=Count("pk", filter=Q(exhausted_at=None, touched_at=None)),
        )
    )


def _counts(plans: Collection[Any], drilled: Collection[int]) -> dict[Any, list[StateCount]]:
    rows = _counted().filter(plan__in=plans)
    counts: dict[Any, list[StateCount]] = defaultdict(list)
    for plan, *row in rows.exclude(pk__in=drilled) if drilled else rows:
        counts[plan].append(StateCount(*row))
    return counts


def _open_calls(
    policies: Mapping[Any, UpgradePolicy],
    batches: Mapping[Any, Sequence[Batch]],
    now: datetime,
) -> dict[int, int]:
    """Return how many calls of each batch are open; asked only while a batch is being called."""
    # A call whose executor died stays open in the journal; it can do nothing after that time.
    alive = {
        plan: now - timedelta(seconds=2 * policies[plan].limits.call_timeout_seconds)
        for plan, ones in batches.items()
        if any(str(batch.state) == "deploying" for batch in ones)
    }
    if not alive:
        return {}
    calls = DeployerCall.objects.filter(
        plan__in=list(alive), ended_at=None, started_at__gt=min(alive.values())
    ).order_by()
    found: dict[int, int] = {}
    for plan, batch, started in calls.values_list("plan_id", "upgrade__batch_id", "started_at"):
        if started > alive[plan]:
            found[batch] = found.get(batch, 0) + 1
    return found


def _evidence(plans: Collection[Any]) -> dict[Any, EvidenceState]:
    """Return where the evidence tests of the plans stand; what they know is read with the looks."""
    if not plans:
        return {}
    rows = EvidenceState.objects.filter(plan__in=plans).defer("state")
    return {row.plan_id: row for row in rows}


def taken_back_at(plans: Collection[Any]) -> dict[Any, datetime]:
    """Return when the newest rollback of each plan, of more than tenants of it, ended or began."""
    if not plans:
        return {}
    rows = Rollback.objects.filter(plan__in=list(plans), scope__in=STARTED_ANEW)
    newest = rows.order_by("triggered_at").values_list("plan_id", "triggered_at", "finished_at")
    return {plan: finished or triggered for plan, triggered, finished in newest}

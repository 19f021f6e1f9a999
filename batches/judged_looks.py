"""Keep when looks were judged and with what else, so that every ruling can be replayed exactly."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from batches.models import JudgedLook
from batches.recall import Watched
from batches.replaying import Judging
from batches.verdict import GuardState
from plans.models import Plan


def keep(
    plan: Plan,
    watched: Watched,
    kpis: Collection[str],
    *,
    canary: int,
    soak_started: datetime | None,
    now: datetime,
) -> None:
    """Write down what the newest looks at these Kpis are about to be judged with.

    In the transaction of the looks and rulings. Where the guardrails stood is written when the
    watch has just read it back: after a restart, an adjustment or a rollback.
    """
    states: dict[str, Any] | None = None
    if watched.read_back:
        states = {key: state.to_json() for key, state in watched.states.items()}
        watched.read_back = False
    looks = {kpi: watched.looks[kpi][-1].at.isoformat() for kpi in kpis if watched.looks.get(kpi)}
    JudgedLook.objects.create(
        plan=plan,
        at=now,
        revision=watched.revision,
        canary=canary,
        soak_started=soak_started,
        since=watched.since,
        looks=looks,
        states=states,
    )


def judgings_of(plan: Plan, *, revision: int | None = None) -> list[Judging]:
    """Return when the plan's looks were judged, in order; of one revision or of all."""
    rows = JudgedLook.objects.filter(plan=plan).order_by("pk")
    if revision is not None:
        rows = rows.filter(revision=revision)
    return [
        Judging(
            at=row.at,
            canary=row.canary,
            soak_started=row.soak_started,
            since=row.since,
            looks={kpi: datetime.fromisoformat(at) for kpi, at in row.looks.items()},
            states=None
            if row.states is None
            else {key: GuardState.from_json(body) for key, body in row.states.items()},
        )
        for row in rows.iterator()
    ]

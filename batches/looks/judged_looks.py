"""Keep when looks were judged and with what else, so that every ruling can be replayed exactly."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from batches.evidence import own_history
from batches.guardrails.verdict import GuardState
from batches.looks.kpi_points import LookSample
from batches.looks.recall import OWN, Watched
from batches.looks.taking_looks import TenantsNow
from batches.models import Batch, JudgedLook, KpiSample, TenantUpgrade
from batches.replay.replaying import Judging
from plans.models import Plan


def keep(
    plan: Plan,
    watched: Watched,
    kpis: Collection[str],
    tenants: TenantsNow,
    *,
    batch: int | None,
    soak_started: datetime | None,
    anew: bool,
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
    for guard in watched.guards:
        if guard.guardrail.against == OWN and guard.definition.name in kpis:
            # Asked for now, so that what is written is what is judged with.
            own_history.baselines(plan, watched, guard.definition.name, tenants.upgraded, now)
    upgraded = list(tenants.upgraded)
    baselines = {kpi: dict(means) for kpi, means in watched.baselines.items()}
    before = watched.judged_with or (None, None)
    watched.judged_with = upgraded, baselines
    looks = {kpi: watched.looks[kpi][-1].at.isoformat() for kpi in kpis if watched.looks.get(kpi)}
    JudgedLook.objects.create(
        plan=plan,
        at=now,
        revision=watched.revision,
        canary=len(upgraded),
        control=len(tenants.control),
        evidence_anew=anew,
        soak_started=soak_started,
        since=watched.since,
        batch=batch,
        looks=looks,
        states=states,
        upgraded=upgraded if upgraded != before[0] else None,
        baselines=baselines if baselines != before[1] else None,
    )


def judgings_of(plan: Plan, *, revision: int | None = None) -> list[Judging]:
    """Return when the plan's looks were judged, in order; of one revision or of all."""
    batch_of = dict(TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", "batch_id"))
    numbers = dict(Batch.objects.filter(plan=plan).values_list("pk", "number"))
    found: list[Judging] = []
    upgraded: list[str] = []
    baselines: Mapping[str, Mapping[str, float]] = {}
    for row in JudgedLook.objects.filter(plan=plan).order_by("pk").iterator():
        upgraded = row.upgraded if row.upgraded is not None else upgraded
        baselines = row.baselines if row.baselines is not None else baselines
        if revision is not None and row.revision != revision:
            continue
        found.append(
            Judging(
                at=row.at,
                upgraded=upgraded,
                soak_started=row.soak_started,
                since=row.since,
                looks={kpi: datetime.fromisoformat(at) for kpi, at in row.looks.items()},
                states=None
                if row.states is None
                else {key: GuardState.from_json(body) for key, body in row.states.items()},
                batch=row.batch,
                batch_of=batch_of,
                baselines=baselines,
                revision=row.revision,
                number=None if row.batch is None else numbers.get(row.batch),
                control=row.control,
                anew=row.evidence_anew,
            )
        )
    return found


def looks_of(plan: Plan, kpi: str, judgings: Sequence[Judging]) -> Iterator[LookSample]:
    """Return the stored looks at one Kpi that the judgings are about, in order."""
    newest = [judging.looks[kpi] for judging in judgings if kpi in judging.looks]
    if not newest:
        return
    rows = KpiSample.objects.filter(plan=plan, kpi=kpi, at__lte=max(newest)).order_by("at", "pk")
    for look in rows.values_list("look", flat=True).iterator(chunk_size=50):
        yield LookSample.from_json(look)


def without_states(judgings: Collection[Judging]) -> list[Judging]:
    """Return the judgings as other rules see them: where the plan's own stood says nothing."""
    return [replace(judging, states=None) for judging in judgings]

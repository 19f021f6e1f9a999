"""Judge the newest looks by the plan's guardrails, and keep what was ruled and why."""

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from batches.canonical_json import canonical_json
from batches.evidence import own_history
from batches.guardrails.measured_words import IDLE
from batches.guardrails.verdict import GuardrailRuling, GuardState, judge, measure
from batches.looks import judged_looks
from batches.looks.kept_rows import put
from batches.looks.recall import RECENT_LOOKS, Guard, Watched
from batches.looks.taking_looks import TenantsNow
from batches.models import Batch, GuardrailState, Ruling
from batches.sources.increments import LookSample, max_age
from plans.models import Plan
from plans.trail import events


def judge_looks(
    plan: Plan,
    watched: Watched,
    kpis: set[str],
    tenants: TenantsNow,
    now: datetime,
    *,
    anew: bool = False,
) -> None:
    """Rule on every guardrail of these Kpis.

    `anew`: the evidence test, which comes next, begins anew; it is written down with the rest.
    """
    batch = (
        Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        .order_by("-number")
        .first()
    )
    soak_started = batch.calls_done_at if batch is not None else None
    judged_looks.keep(
        plan,
        watched,
        kpis,
        tenants,
        batch=batch.pk if batch is not None else None,
        soak_started=soak_started,
        anew=anew,
        now=now,
    )
    for guard in watched.guards:
        name, rule = guard.definition.name, guard.guardrail
        if name not in kpis:
            continue
        baselines: Mapping[str, float] = {}
        if rule.against == "own_history":
            baselines = own_history.baselines(plan, watched, name, tenants.upgraded, now)
        measurement = measure(
            rule,
            guard.definition,
            list(watched.looks.get(name, ())),
            canary=len(tenants.upgraded),
            now=now,
            max_age_seconds=max_age(watched.look_seconds),
            tenants=about(rule.scope, tenants, batch.pk if batch is not None else None),
            baselines=baselines,
        )
        before = watched.states.get(guard.key, GuardState())
        if rule.scope == "batch" and batch is not None and before.batch != batch.pk:
            # How the batch before did says nothing about this one.
            before = GuardState(batch=batch.pk, verdict=before.verdict)
        state, ruling = judge(before, measurement, rule, now=now, soak_started=soak_started)
        # The policy's own wording names the guardrail, whatever unit the Kpi is kept in.
        ruling = replace(ruling, guardrail=guard.key)
        _keep(plan, batch, guard, before, state, ruling, watched, now)


def about(scope: str, tenants: TenantsNow, batch_id: int | None) -> list[str] | None:
    """Return whom a guardrail of that scope is about; None = all that are upgraded."""
    if scope == "plan":
        return None
    if scope == "tenant":
        return list(tenants.upgraded)
    return [key for key in tenants.upgraded if tenants.batch_of.get(key) == batch_id]


def _keep(
    plan: Plan,
    batch: Batch | None,
    guard: Guard,
    before: GuardState,
    state: GuardState,
    ruling: GuardrailRuling,
    watched: Watched,
    now: datetime,
) -> None:
    known = watched.rulings.get(guard.key)
    first = known is None and not Ruling.objects.filter(plan=plan, guardrail=guard.key).exists()
    watched.states[guard.key] = state
    watched.rulings[guard.key] = ruling
    recent = watched.recent.setdefault(guard.key, deque(maxlen=RECENT_LOOKS))
    recent.append([round(now.timestamp(), 1), ruling.value, ruling.threshold])
    why = evidence(ruling, state)
    put(
        GuardrailState,
        {"plan": plan, "key": guard.key},
        {
            "kpi": guard.definition.name,
            "verdict": ruling.verdict,
            "sentence": ruling.sentence,
            "value": ruling.value,
            "state": state.to_json(),
            "told": {"threshold": ruling.threshold, "unit": ruling.unit, **why},
            "recent": list(recent),
            "updated_at": now,
        },
    )
    if first or ruling.verdict != before.verdict or _reason(state) != _reason(before):
        _write(plan, batch, guard, ruling, why | {"recent": list(recent)}, watched, now)


def _reason(state: GuardState) -> str | None:
    # A trickle of requests goes idle and on again all the time: that is no news.
    return None if state.cause == IDLE else state.cause


def evidence(ruling: GuardrailRuling, state: GuardState) -> dict[str, Any]:
    """Return what a ruling stands on beside its value, as JSON values."""
    return {
        "n": ruling.n,
        "bad": ruling.bad,
        "tenants": ruling.tenants,
        "without_data": ruling.lost,
        "baseline": ruling.baseline,
        "worst": list(ruling.worst) if ruling.worst else None,
        "cause": ruling.cause or "",
        "since": ruling.since.isoformat() if ruling.since else None,
        "last_good_at": ruling.last_good_at.isoformat() if ruling.last_good_at else None,
        "failed_running": state.failed_running,
        "next": ruling.next,
        "breached_by": dict(ruling.breached_by),
        "stands_out": dict(ruling.stands_out),
    }


def _write(
    plan: Plan,
    batch: Batch | None,
    guard: Guard,
    ruling: GuardrailRuling,
    why: dict[str, Any],
    watched: Watched,
    now: datetime,
) -> None:
    looks = watched.looks.get(guard.definition.name, ())
    Ruling.objects.create(
        plan=plan,
        batch=batch,
        guardrail=guard.key,
        kpi=guard.definition.name,
        verdict=ruling.verdict,
        action=ruling.action,
        sentence=ruling.sentence,
        value=ruling.value,
        threshold=ruling.threshold,
        unit=ruling.unit,
        n=ruling.n,
        window_seconds=ruling.window_seconds,
        tenants=ruling.tenants,
        worst_tenant=ruling.worst[0] if ruling.worst else "",
        worst_value=ruling.worst[1] if ruling.worst else None,
        inputs_digest=inputs_digest(looks),
        revision=watched.revision,
        cause=ruling.cause or "",
        since=ruling.since,
        baseline=ruling.baseline,
        query=query_words(watched, guard.definition.name),
        evidence=why,
        at=now,
    )
    events.record(
        stream=plan,
        kind=f"ruling_{ruling.verdict}",
        sentence=f"{ruling.sentence}.",
        actor=None,
        via="watch",
        now=now,
        payload={
            "guardrail": guard.key,
            "verdict": ruling.verdict,
            "value": ruling.value,
            "threshold": ruling.threshold,
            "unit": ruling.unit,
            "n": ruling.n,
            "cause": ruling.cause or "",
            "since": why["since"],
            "next": ruling.next,
        },
    )


def query_words(watched: Watched, kpi: str) -> str:
    """Return what the source of the newest look was asked, as it stands in the dictionary."""
    looks = watched.looks.get(kpi)
    source = looks[-1].source if looks else ""
    for mapping in watched.known.mappings_for(kpi):
        if mapping.source == source:
            parts = {
                "bad": mapping.bad,
                "total": mapping.total,
                "buckets": mapping.buckets,
                "value": mapping.value,
            }
            asked = [f"{name}: {part}" for name, part in parts.items() if part is not None]
            return f"{source}: {'; '.join(asked)}"
    return source


def inputs_digest(looks: Sequence[LookSample] | deque[LookSample]) -> str:
    """Return the digest of the looks on which a ruling stands."""
    return hashlib.sha256(canonical_json([look.to_json() for look in looks])).hexdigest()

"""Judge a guardrail on the looks that are stored: what it would have said so far.

The same measuring and judging as at each look, over the newest looks, so that a rule that is new
or changed in a running plan begins where it would stand had it been there all along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batches.configured import dictionary
from batches.guardrails.verdict import GuardrailRuling, GuardState, guardrail_key
from batches.kpis.dictionary import GuardrailUnusable, KpiDefinition, resolve_guardrail
from batches.looks.recall import baselines_of
from batches.models import Batch, GuardrailState, KpiSample, Rollback, TenantUpgrade
from batches.replay.replaying import Judging, Rule, play
from batches.sources.increments import LookSample, max_age
from plans.models import Plan
from plans.policies.policy import Guardrail, UpgradePolicy

LOOKS_SHOWN = 20
"""How many of the newest looks a preview judges."""

FEWEST_LOOKS = 5
MOST_LOOKS = 200


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a guardrail says of the stored looks; `ruling` is None where there is no look."""

    rule: Guardrail
    definition: KpiDefinition
    state: GuardState
    ruling: GuardrailRuling | None
    looks: int
    failed: int

    @property
    def breaches_next(self) -> bool:
        """Tell whether one more look like the last one is a breach."""
        running = self.state.failed_running + (self.state.last_outcome == "failed")
        return running > self.rule.failure_limit


@dataclass(frozen=True, slots=True)
class _Plan:
    """The plan as its looks see it: `upgraded` says of each tenant since when, and its batch."""

    soak_started: datetime | None
    upgraded: Mapping[str, tuple[datetime, int]]
    live: int | None
    since: datetime
    baselines: Mapping[str, Mapping[str, float]]

    def judging(self, look: LookSample) -> Judging:
        """Return the look as it is judged in the moment in which it was taken."""
        started = self.soak_started
        return Judging(
            at=look.at,
            upgraded=[key for key, (since, _batch) in self.upgraded.items() if since <= look.at],
            soak_started=started if started is not None and started <= look.at else None,
            looks={look.kpi: look.at},
            batch=self.live,
            batch_of={key: batch for key, (_since, batch) in self.upgraded.items()},
            baselines=self.baselines,
        )


def replay(
    plan: Plan, rule: Guardrail, *, look_seconds: float, fewest: int = LOOKS_SHOWN
) -> Replayed | None:
    """Return the guardrail's standing after its newest looks, `fewest` of them or more.

    None where this installation cannot read its Kpi.
    """
    definition = dictionary().kpi(rule.kpi)
    if definition is None:
        return None
    try:
        resolved = resolve_guardrail(rule, definition)
    except GuardrailUnusable:
        return None
    known = _standing(plan)
    count = max(fewest, min(MOST_LOOKS, resolved.failure_limit + 1))
    looks = _looks(plan, definition.name, resolved, known.since, count)
    steps = list(
        play(
            [Rule(guardrail_key(rule), resolved, definition)],
            looks,
            [known.judging(look) for look in looks[-count:]],
            max_age_seconds=max_age(look_seconds),
        )
    )
    if not steps:
        return Replayed(resolved, definition, GuardState(), None, 0, 0)
    failed = sum(step.measurement.outcome == "failed" for step in steps)
    last = steps[-1]
    return Replayed(resolved, definition, last.state, last.ruling, len(steps), failed)


def keep_standing(
    plan: Plan, policy: UpgradePolicy, rules: Sequence[Guardrail], now: datetime
) -> None:
    """Write down where each of these guardrails of the policy stands, for the next look.

    The next look makes a ruling of its own whatever it says: that is why the verdict is open.
    Only as many looks are judged as a breach needs: the plan waits for this.
    """
    for rule in rules:
        stands = replay(plan, rule, look_seconds=policy.limits.look_seconds, fewest=FEWEST_LOOKS)
        if stands is None:
            continue
        state = replace(stands.state, verdict="undecided", batch=_live_batch(plan))
        GuardrailState.objects.update_or_create(
            plan=plan,
            key=guardrail_key(rule),
            defaults={
                "kpi": stands.definition.name,
                "verdict": "undecided",
                "sentence": stands.ruling.sentence if stands.ruling else "",
                "value": stands.ruling.value if stands.ruling else None,
                "state": state.to_json(),
                "updated_at": now,
            },
        )


def _live_batch(plan: Plan) -> int | None:
    live = Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
    return live.order_by("-number").values_list("pk", flat=True).first()


def _standing(plan: Plan) -> _Plan:
    live = (
        Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        .order_by("-number")
        .first()
    )
    upgraded = TenantUpgrade.objects.filter(plan=plan, state="upgraded", upgraded_at__isnull=False)
    last = Rollback.objects.filter(plan=plan).order_by("-triggered_at").first()
    return _Plan(
        soak_started=live.calls_done_at if live is not None else None,
        upgraded={
            tenant: (at, batch)
            for tenant, at, batch in upgraded.values_list("tenant_key", "upgraded_at", "batch_id")
            if at is not None
        },
        live=live.pk if live is not None else None,
        # What was seen before the last rollback says nothing about the tenants that are left.
        since=(last.finished_at or last.triggered_at) if last is not None else plan.created_at,
        baselines=baselines_of(plan.pk),
    )


def _looks(plan: Plan, kpi: str, rule: Guardrail, since: datetime, count: int) -> list[LookSample]:
    """Return the newest looks with all that their windows reach back to, in their order."""
    rows = KpiSample.objects.filter(plan=plan, kpi=kpi, at__gte=since)
    newest = list(rows.order_by("-at").values_list("at", flat=True)[:count])
    if not newest:
        return []
    oldest = newest[-1] - timedelta(seconds=rule.window_seconds)
    kept = rows.filter(at__gt=oldest).order_by("at").values_list("look", flat=True)
    return [LookSample.from_json(look) for look in kept.iterator(chunk_size=50)]

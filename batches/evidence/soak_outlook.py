"""What the soaks of a plan can find, by the traffic that its tenants had lately."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from batches.configured import dictionary
from batches.evidence.sequential_test import Tolerance
from batches.evidence.soak_forecast import EvidenceAsked, LimitRule, SoakForecast, Traffic, forecast
from batches.history.kpi_history import exposure_rates, standing
from batches.kpis.dictionary import GuardrailUnusable, KpiDefinition, resolve_guardrail
from batches.models import SoakOutlook
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, policy_of
from plans.drafting.waves import Wave, batch_specs
from plans.models import Plan, PlanTenant
from plans.policies.policy import HOLD_BACK, Guardrail, UpgradePolicy
from plans.refusal import BadInput

logger = logging.getLogger(__name__)

INDEPENDENT = 1.05
"""Up to this dispersion nobody need be told of it."""


@dataclass(frozen=True, slots=True)
class KpiOutlook:
    """One Kpi over all batches; `too_little` says why there is no forecast."""

    kpi: str
    batches: tuple[SoakForecast, ...] = ()
    too_little: str = ""
    calibrated: str = ""
    """What the forecast rests on."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kpi": self.kpi,
            "too_little": self.too_little,
            "calibrated": self.calibrated,
            "batches": [_told(one) for one in self.batches],
        }


def soak_outlook(
    policy: UpgradePolicy, waves: Sequence[Wave], *, plugin: str, until: datetime | None = None
) -> tuple[KpiOutlook, ...]:
    """Return what the soaks find of every Kpi that counts events and may take the plan back."""
    known = dictionary()
    found: list[KpiOutlook] = []
    for kpi, guardrails in _judged(policy).items():
        definition = known.kpi(kpi)
        if definition is None or definition.kind == "gauge":
            continue
        found.append(_outlook(definition, guardrails, policy, waves, plugin, until))
    return tuple(found)


def _judged(policy: UpgradePolicy) -> dict[str, list[Guardrail]]:
    """Return the guardrails that limit all upgraded tenants, per Kpi; and the Kpis of evidence."""
    known = dictionary()
    judged: dict[str, list[Guardrail]] = {}
    for guardrail in policy.guardrails:
        definition = known.kpi(guardrail.kpi)
        if definition is None or guardrail.dry_run:
            continue
        if guardrail.against != "absolute" or guardrail.scope != "plan":
            continue
        try:
            resolved = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable:
            continue
        judged.setdefault(definition.name, []).append(resolved)
    for kpi in policy.evidence.kpis if policy.evidence is not None else ():
        definition = known.kpi(kpi)
        if definition is not None:
            judged.setdefault(definition.name, [])
    return judged


def _outlook(
    definition: KpiDefinition,
    guardrails: Sequence[Guardrail],
    policy: UpgradePolicy,
    waves: Sequence[Wave],
    plugin: str,
    until: datetime | None,
) -> KpiOutlook:
    kpi = definition.name
    bound = next((rule.at_most for rule in guardrails if definition.kind == "histogram"), None)
    if definition.kind == "histogram" and bound is None:
        return KpiOutlook(kpi, too_little=f"{kpi} has no bound to count slow requests by")
    stands = standing(kpi, until=until, bound=bound)
    tenants = [key for wave in waves for key in wave.tenants]
    rates = exposure_rates(plugin, kpi, tenants, until=until, bound=bound)
    if not rates:
        return KpiOutlook(
            kpi, too_little=stands.too_little or f"none of these tenants had any event of {kpi}"
        )
    asked = _asked(policy, kpi)
    rules = [_limit_rule(rule, definition, policy.limits.look_seconds) for rule in guardrails]
    upgraded: list[str] = []
    batches: list[SoakForecast] = []
    for wave in waves:
        upgraded += wave.tenants
        if wave.hold_back or wave.name == HOLD_BACK:
            # Nobody soaks after it, and nobody is left to compare with.
            continue
        batches.append(
            forecast(
                kpi=kpi,
                batch=wave.name,
                soak_seconds=wave.soak_seconds,
                traffic=_traffic(rates, upgraded, tenants, stands.seconds, stands.phi or 1.0),
                rules=rules,
                evidence=asked,
            )
        )
    hours = stands.seconds / 3600
    said = f"{hours:.3g} h of history, {len(rates)} of {counted(len(tenants), 'tenant')}"
    if stands.phi is not None and asked is not None:
        said += (
            f", errors scatter {stands.phi:.3g} times as much as independent ones"
            if stands.phi > INDEPENDENT
            else ", errors come independently of each other"
        )
    elif asked is not None:
        said += f"; {stands.too_little}"
    return KpiOutlook(kpi, tuple(batches), calibrated=said)


def _asked(policy: UpgradePolicy, kpi: str) -> EvidenceAsked | None:
    rules = policy.evidence
    known = dictionary()
    if rules is None or kpi not in {getattr(known.kpi(name), "name", name) for name in rules.kpis}:
        return None
    return EvidenceAsked(
        risk=rules.max_false_rollback_risk / 100,
        tolerance=Tolerance(ratio=rules.ratio, points=rules.points / 100),
        detect=rules.detect / 100,
        power=rules.power / 100,
        look_seconds=policy.limits.look_seconds,
    )


def _limit_rule(rule: Guardrail, definition: KpiDefinition, look_seconds: float) -> LimitRule:
    """Return a guardrail as a limit of the share of bad events."""
    if definition.kind == "histogram":
        limit = (rule.slow_share_percent or 0.0) / 100
    else:
        scale = 1.0 if definition.unit == "1" else 100.0
        number = rule.at_most if rule.at_most is not None else (rule.at_least or 0.0)
        limit = number / scale
        if definition.direction == "higher":
            limit = 1 - limit
    return LimitRule(
        limit=limit,
        window_seconds=rule.window_seconds,
        min_samples=rule.min_samples,
        failure_limit=rule.failure_limit,
        look_seconds=look_seconds,
    )


def _traffic(
    rates: Mapping[str, tuple[float, float]],
    upgraded: Sequence[str],
    tenants: Sequence[str],
    seconds: float,
    phi: float,
) -> Traffic:
    """Return the traffic of both sides; a tenant without history is taken for an average one."""
    bad = sum(pair[0] for pair in rates.values())
    total = sum(pair[1] for pair in rates.values())
    mean = total / len(rates) / seconds
    new = frozenset(upgraded)
    here = sum(rates[key][1] for key in upgraded if key in rates) / seconds
    unknown = sum(key not in rates for key in upgraded)
    others = [key for key in tenants if key not in new]
    there = sum(rates[key][1] for key in others if key in rates) / seconds
    return Traffic(
        tenants=len(upgraded),
        per_second=here + mean * unknown,
        control_per_second=there + mean * sum(key not in rates for key in others),
        usual=bad / total,
        phi=phi,
        unknown=unknown,
    )


def _told(one: SoakForecast) -> dict[str, Any]:
    return {
        "batch": one.batch,
        "soak_seconds": one.soak_seconds,
        "tenants": one.traffic.tenants,
        "events_per_second": one.traffic.per_second,
        "without_history": one.traffic.unknown,
        "usual_percent": 100 * one.traffic.usual,
        "finds": [asdict(find) | {"percent": 100 * find.size} for find in one.finds],
        "enough": one.enough,
        "sentence": one.sentence,
        "advice": list(one.advice),
    }


def outlook_of(plan: Plan) -> tuple[KpiOutlook, ...]:
    """Return what the soaks of a plan find, as it is drawn; nothing while the file is broken."""
    policy = policy_of(current_revision(plan))
    placed: dict[int, list[str]] = {}
    rows = PlanTenant.objects.filter(plan=plan, excluded=False).order_by("batch_number", "position")
    for number, key in rows.values_list("batch_number", "tenant__key"):
        placed.setdefault(number, []).append(key)
    waves = [
        Wave(number, spec.name, tuple(placed.get(number, ())), spec.soak_seconds, (), spec.advance)
        for number, spec in enumerate(batch_specs(policy, len(placed)), start=1)
    ]
    try:
        return soak_outlook(policy, waves, plugin=plan.plugin.key)
    except BadInput as broken:
        logger.warning("No soak was forecast for plan %s: %s", plan.external_id, broken)
        return ()


def keep_outlook(plan: Plan, outlooks: Sequence[KpiOutlook], now: datetime) -> None:
    """Write the forecast down beside the plan's present revision."""
    SoakOutlook.objects.create(
        plan=plan,
        revision=plan.revision,
        at=now,
        outlook=[one.to_json() for one in outlooks],
    )


def kept_outlook(plan: Plan) -> list[dict[str, Any]]:
    """Return what was forecast for the plan's newest submitted revision; empty without any."""
    row = SoakOutlook.objects.filter(plan=plan).order_by("-pk").first()
    return list(row.outlook) if row is not None else []

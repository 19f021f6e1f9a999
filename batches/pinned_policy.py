"""A policy's guardrails in the dictionary's words."""

from collections.abc import Sequence
from dataclasses import dataclass

from batches.configured import dictionary
from batches.dictionary import GuardrailUnusable, KpiDefinition, resolve_guardrail
from plans.policy import Guardrail, UpgradePolicy
from plans.refusal import BadInput


@dataclass(frozen=True, slots=True)
class Limit:
    """One guardrail as people read it: the Kpi, its number, and which side of it is wrong."""

    kpi: str
    unit: str
    value: float | None
    against: str
    label: str
    action: str


def limits_of(policy: UpgradePolicy) -> Sequence[Limit]:
    """Return the policy's guardrails; those that this installation cannot read stand as written."""
    return [_limit(guardrail) for guardrail in policy.guardrails]


def definition_of(kpi: str) -> KpiDefinition | None:
    """Return the Kpi's definition, None where the dictionary is broken or does not know it."""
    try:
        return dictionary().kpi(kpi)
    except BadInput:
        return None


def _limit(guardrail: Guardrail) -> Limit:
    definition = definition_of(guardrail.kpi)
    rule = guardrail
    if definition is not None:
        try:
            rule = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable:
            rule = guardrail
    unit = rule.unit or ""
    most, least = rule.at_most, rule.at_least
    value = least if most is None else most
    word = "at least" if most is None else "at most"
    label = "" if value is None else f"{word} {value:g} {unit}".rstrip()
    if rule.slow_share_percent is not None and label:
        label += f" for {100 - rule.slow_share_percent:g} %"
    if rule.against != "absolute":
        label += f" against {rule.against.replace('_', ' ')}"
    return Limit(rule.kpi, unit, value, rule.against, label, rule.action)

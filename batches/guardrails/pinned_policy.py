"""A policy's guardrails in the dictionary's words."""

from collections.abc import Sequence
from dataclasses import dataclass

from batches.configured import dictionary
from batches.guardrails.verdict import guardrail_key
from batches.kpis.dictionary import GuardrailUnusable, KpiDefinition, resolve_guardrail
from plans.policies.policy import Guardrail, UpgradePolicy
from plans.refusal import BadInput


@dataclass(frozen=True, slots=True)
class Limit:
    """One guardrail as people read it.

    `value` is the number in the Kpi's `unit`; `measured_in` the unit of what is measured against
    it: of a histogram that is the share of requests on the wrong side.
    """

    key: str
    kpi: str
    unit: str
    measured_in: str
    value: float | None
    against: str
    label: str
    action: str
    scope: str = "plan"
    at_most: bool = True
    dry_run: bool = False


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
    value = rule.at_least if rule.at_most is None else rule.at_most
    return Limit(
        key=guardrail_key(guardrail),
        kpi=rule.kpi,
        unit=unit,
        measured_in=_measured_in(rule, definition),
        value=value,
        against=rule.against,
        label=_words(rule, value, unit),
        action=rule.action,
        scope=rule.scope,
        at_most=rule.slow_share_percent is not None or rule.at_most is not None,
        dry_run=rule.dry_run,
    )


def _measured_in(rule: Guardrail, definition: KpiDefinition | None) -> str:
    if rule.slow_share_percent is not None:
        return "%"
    if rule.against != "absolute" and definition is not None:
        # Its number is a difference or a factor; what is measured has the Kpi's own unit.
        return definition.unit
    return rule.unit or ""


def _words(rule: Guardrail, value: float | None, unit: str) -> str:
    if value is None:
        return ""
    words = f"at {'least' if rule.at_most is None else 'most'} {value:g} {unit}".rstrip()
    if rule.slow_share_percent is not None:
        words += f" for {100 - rule.slow_share_percent:g} %"
    if rule.against != "absolute":
        words += f" against {rule.against.replace('_', ' ')}"
    if rule.scope != "plan":
        words += " per tenant" if rule.scope == "tenant" else " in the batch"
    return words

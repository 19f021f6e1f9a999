"""The policy's evidence test in the dictionary's words: which Kpis can be tested, and how. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from batches.evidence.sequential_test import Tolerance
from batches.kpis.dictionary import (
    Dictionary,
    GuardrailUnusable,
    KpiDefinition,
    resolve_guardrail,
)
from plans.policies.policy import EvidenceRules, UpgradePolicy

LEAST_HORIZON_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KpiUnderTest:
    """One Kpi of the test; `slow_above` is set for a histogram: slower counts as an error."""

    definition: KpiDefinition
    slow_above: float | None = None


@dataclass(frozen=True, slots=True)
class EvidenceTest:
    """What is tested and how sure one has to be; `unusable` says why a Kpi is not tested.

    `horizon_seconds` is the time that the rollout is planned to take.
    """

    rules: EvidenceRules
    kpis: Mapping[str, KpiUnderTest] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    horizon_seconds: float = 1800.0
    look_seconds: float = 5.0

    @property
    def tolerance(self) -> Tolerance:
        """Return what counts as no worse, as shares."""
        return Tolerance(self.rules.ratio, self.rules.points / 100)

    @property
    def risk(self) -> float:
        """Return the risk of a false alarm, as a share."""
        return self.rules.max_false_rollback_risk / 100


def evidence_test(policy: UpgradePolicy, known: Dictionary) -> EvidenceTest | None:
    """Return the test of this policy, None where it has none."""
    rules = policy.evidence
    if rules is None:
        return None
    kpis: dict[str, KpiUnderTest] = {}
    unusable: dict[str, str] = {}
    for name in rules.kpis:
        definition = known.kpi(name)
        if definition is None or not known.mappings_for(name):
            unusable[name] = f"evidence: the dictionary has no source for {name}"
            continue
        tested = _tested(definition, policy)
        if isinstance(tested, str):
            unusable[name] = tested
        else:
            kpis[definition.name] = tested
    soaks = sum(batch.soak_seconds for batch in policy.batches)
    return EvidenceTest(
        rules=rules,
        kpis=kpis,
        unusable=unusable,
        horizon_seconds=max(LEAST_HORIZON_SECONDS, soaks),
        look_seconds=policy.limits.look_seconds,
    )


def _tested(definition: KpiDefinition, policy: UpgradePolicy) -> KpiUnderTest | str:
    """Return how the Kpi is tested, or why it is not."""
    if definition.kind == "ratio":
        return KpiUnderTest(definition)
    if definition.kind == "gauge":
        return (
            f"evidence: {definition.name} is a gauge, and the test counts requests;"
            " take it out of evidence.kpis and write a guardrail for it"
        )
    for guardrail in policy.guardrails:
        if guardrail.kpi != definition.name and guardrail.kpi not in definition.aliases:
            continue
        try:
            limit = resolve_guardrail(guardrail, definition).at_most
        except GuardrailUnusable:
            continue
        if limit is not None:
            return KpiUnderTest(definition, limit)
    return (
        f"evidence: {definition.name} is a histogram, and nothing says what is slow;"
        f" add it to rollback_thresholds or write a guardrail with at_most for it"
    )

"""What an edited policy changes in the evidence test of a plan that runs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace

from plans.changes.change import Change, Judge, either_way, higher, lower, ranked
from plans.policies.policy import EvidenceRules
from plans.policies.policy_words import tolerated_words

# Another Kpi in the mean takes weight from those that are in it: both ways can let something by.
_RULES: Mapping[str, Judge] = {
    "action": ranked("warn", "pause", "rollback"),
    # Whoever dares more false alarms acts earlier.
    "max_false_rollback_risk": higher,
    "ratio": lower,
    "points": lower,
    # Smaller faults, surer found: more requests before a batch passes.
    "detect": lower,
    "power": higher,
}
_WORDS = {
    "kpis": "Kpis",
    "action": "action",
    "max_false_rollback_risk": "risk of a false rollback",
    "ratio": "tolerated ratio",
    "points": "tolerated points",
    "detect": "rate to detect",
    "power": "power",
}
_UNITS = {"max_false_rollback_risk": " %", "detect": " %", "power": " %", "points": " points"}


def evidence_changes(before: EvidenceRules | None, after: EvidenceRules | None) -> Iterable[Change]:
    """Return the changes: a test more is tighter, one less is looser."""
    if before is None or after is None:
        if after is not None:
            yield Change("evidence", "evidence", "no test", rules_words(after), "tighter")
        elif before is not None:
            yield Change("evidence", "evidence", rules_words(before), "no test", "looser")
        return
    for name in (field.name for field in fields(before)):
        was, reads = getattr(before, name), getattr(after, name)
        if was != reads:
            yield Change(
                f"evidence.{name}",
                f"evidence, {_WORDS[name]}",
                _shown(name, was),
                _shown(name, reads),
                _RULES.get(name, either_way)(was, reads),
            )


def merged_evidence(
    before: EvidenceRules | None, after: EvidenceRules | None, paths: Collection[str]
) -> EvidenceRules | None:
    """Return `before` with the changes of these paths, and of no others."""
    if "evidence" in paths:
        return after
    if before is None or after is None:
        return before
    names = [field.name for field in fields(before) if f"evidence.{field.name}" in paths]
    return replace(before, **{name: getattr(after, name) for name in names})


def rules_words(rules: EvidenceRules) -> str:
    """Return the test in few words."""
    return f"{', '.join(rules.kpis)} worse than {tolerated_words(rules)}, then {rules.action}"


def _shown(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int | float):
        return f"{value:g}{_UNITS.get(name, '')}"
    return str(value)

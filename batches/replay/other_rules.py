"""Other rules for a replay, as people write them.

KPI=NUMBER for a guardrail, KEY=VALUE for the evidence test, a policy's name, or a policy file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from plans.drafting.drafting import latest_policy
from plans.policies.policy import BatchSpec, EvidenceRules, PolicyFile, UpgradePolicy
from plans.policies.policy_text import policy_text
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput


def thresholds_of(written: Iterable[str]) -> dict[str, float]:
    """Return the numbers of KPI=NUMBER; raise BadInput with every one that is none."""
    found: dict[str, float] = {}
    problems: list[str] = []
    for one in written:
        kpi, _equals, number = one.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not kpi.strip() or not isfinite(value):
            problems.append(f"threshold: {one!r} is not KPI=NUMBER, such as error_rate=3")
        else:
            found[kpi.strip()] = value
    if problems:
        raise BadInput(problems)
    return found


EVIDENCE_KEYS = {
    "kpis": "kpis",
    "action": "action",
    "risk": "max_false_rollback_risk",
    "max_false_rollback_risk": "max_false_rollback_risk",
    "ratio": "ratio",
    "points": "points",
    "detect": "detect",
    "power": "power",
}
"""What of an evidence test can be given, and what that is called in the rules."""
ACTIONS = ("rollback", "pause", "warn")
_HOW_TO = (
    "such as ratio=1.1, points=0.5, risk=1, detect=2, power=95, action=rollback"
    " or kpis=error_rate,latency_ms"
)


def evidence_of(written: Iterable[str]) -> dict[str, Any]:
    """Return the values of KEY=VALUE; raise BadInput with every one that is none."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for one in written:
        key, _equals, value = (part.strip() for part in one.partition("="))
        name = EVIDENCE_KEYS.get(key)
        if name is None or not value:
            problems.append(f"evidence: {one!r} is not KEY=VALUE, {_HOW_TO}")
        elif name == "kpis":
            found[name] = tuple(kpi.strip() for kpi in value.split(",") if kpi.strip())
        elif name == "action":
            if value not in ACTIONS:
                problems.append(f"evidence: action: write one of {', '.join(ACTIONS)}")
            found[name] = value
        elif (number := _number(value)) is None:
            problems.append(f"evidence: {key}: {value!r} is not a number")
        else:
            found[name] = number
    if problems:
        raise BadInput(problems)
    return found


def _number(written: str) -> float | None:
    try:
        number = float(written)
    except ValueError:
        return None
    return number if isfinite(number) else None


def with_evidence(policy: UpgradePolicy, changes: Mapping[str, Any]) -> UpgradePolicy:
    """Return the policy with another evidence test; where it has none, `kpis` make it one.

    Raises BadInput for what no policy file could say.
    """
    if not changes:
        return policy
    if policy.evidence is None and "kpis" not in changes:
        raise BadInput(
            ["evidence: the policy has no evidence test; say over what with kpis=error_rate"]
        )
    rules = replace(policy.evidence or EvidenceRules(), **changes)
    if problems := _refused(rules):
        raise BadInput(problems)
    return replace(policy, evidence=rules)


def _refused(rules: EvidenceRules) -> list[str]:
    """Return what a policy file with this test would be refused for."""
    name = "other"
    policy = UpgradePolicy(name, (BatchSpec("all", 100, 60),), evidence=rules)
    try:
        parse_policy_file(policy_text(PolicyFile({name: policy}, {})))
    except PolicyRejected as rejected:
        above = f"policies.{name}."
        return [f"{one.path.removeprefix(above)}: {one.message}" for one in rejected.problems]
    return []


def named_policy(name: str) -> UpgradePolicy:
    """Return the newest text of a policy; raise BadInput when there is none of that name."""
    row = latest_policy(name)
    if row is None:
        raise BadInput([f"policy: there is no policy {name!r}"])
    return parse_policy_file(row.text).policies[row.name]


def policy_in(text: str) -> UpgradePolicy:
    """Return the policy of a text that holds one; raise BadInput with all that is wrong."""
    try:
        policies = parse_policy_file(text).policies
    except PolicyRejected as rejected:
        raise BadInput([str(problem) for problem in rejected.problems]) from rejected
    if len(policies) != 1:
        raise BadInput([f"policy: the file holds {len(policies)} policies; name one of them"])
    return next(iter(policies.values()))

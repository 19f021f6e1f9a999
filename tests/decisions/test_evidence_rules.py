"""The policy's `evidence` section: read, refused, told, written again, and changed in a plan."""

from dataclasses import replace
from typing import Any

import pytest

from plans.changes.adjustment import compare, merged
from plans.changes.change import Standing
from plans.policies.policy import EvidenceRules, Selection, UpgradePolicy
from plans.policies.policy_words import meaning
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file

CONTRACT = (
    "{kpis: [error_rate], action: pause, max_false_rollback_risk: 1,"
    " tolerated_worsening: {ratio: 1.2, points: 0.5}, detect: 2, power: 95}"
)


def file_with(evidence: str) -> str:
    batch = "{name: all, percentage: 100, soak_minutes: 0}"
    section = f"    evidence: {evidence}\n" if evidence else ""
    return f"policies:\n  p:\n    batches: [{batch}]\n{section}"


def parsed(evidence: str) -> UpgradePolicy:
    return parse_policy_file(file_with(evidence)).policies["p"]


def test_the_contracts_section_says_what_the_defaults_are():
    assert parsed(CONTRACT).evidence == parsed("{}").evidence == EvidenceRules()


def test_without_the_section_it_is_off_and_the_digest_is_that_of_before():
    policy = parsed("")
    assert policy.evidence is None
    assert "evidence" not in policy.to_json()
    assert parsed("{}").digest() != policy.digest()


def test_its_kpis_are_watched():
    assert parsed("{kpis: [a, b]}").watched_kpis == {"a", "b"}


@pytest.mark.parametrize(
    ("evidence", "path", "words"),
    [
        ("{kpis: []}", "kpis", "no Kpi is named"),
        ("{kpis: [a, a]}", "kpis[1]", "stands in the list twice"),
        ("{kpi: a}", "kpi", "did you mean 'kpis'?"),
        ("{action: stop}", "action", "write pause or rollback or warn"),
        ("{max_false_rollback_risk: 0}", "max_false_rollback_risk", "above 0 to 20"),
        ("{tolerated_worsening: 1.2}", "tolerated_worsening", "write a mapping here"),
        ("{tolerated_worsening: {ratio: 0.9}}", "tolerated_worsening.ratio", "from 1 to 100"),
        ("{tolerated_worsening: {percent: 1}}", "tolerated_worsening.percent", "is not a key"),
        ("{power: 100}", "power", "from 50 to 99.9"),
        ("{detect: 0.5}", "detect", "would never be found"),
        ("[error_rate]", "", "write a mapping here"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(evidence, path, words):
    with pytest.raises(PolicyRejected) as rejected:
        parsed(evidence)
    place = "policies.p.evidence" + (f".{path}" if path else "")
    assert any(
        problem.path == place and words in problem.message for problem in rejected.value.problems
    ), rejected.value.problems


def told(policy: UpgradePolicy) -> str:
    return " ".join(
        sentence
        for part in meaning(policy)
        if part.title == "Evidence"
        for sentence in part.sentences
    )


def test_it_is_told_in_words():
    words = told(parsed("{action: rollback, max_false_rollback_risk: 2}"))
    assert "error_rate of the upgraded tenants against those still waiting" in words
    assert "worse than x1.2 + 0.5 points, with at most 2 % risk of being wrong" in words
    assert "the whole plan is taken back" in words
    assert "find a rate of 2 % with 95 % probability" in words
    assert "A hold_back_percentage of 2 keeps the test alive to the end." in words
    held = replace(parsed("{}"), selection=Selection(hold_back_percentage=2))
    assert "hold_back_percentage" not in told(held)
    assert told(parsed("")) == ""


BASE = parsed("{}")
RULES = EvidenceRules()


@pytest.mark.parametrize(
    ("changes", "direction"),
    [
        ({"action": "rollback"}, "tighter"),
        ({"action": "warn"}, "looser"),
        ({"max_false_rollback_risk": 5.0}, "tighter"),
        ({"max_false_rollback_risk": 0.1}, "looser"),
        ({"ratio": 1.0}, "tighter"),
        ({"points": 1.0}, "looser"),
        ({"detect": 1.0}, "tighter"),
        ({"power": 80.0}, "looser"),
        ({"kpis": ("error_rate", "latency_ms")}, "looser"),
    ],
    ids=str,
)
def test_what_changes_in_a_running_plan(changes, direction):
    after = replace(BASE, evidence=replace(RULES, **changes))
    [change] = compare(BASE, after, Standing()).changes
    assert change.direction == direction
    assert merged(BASE, after, {change.path}, Standing()) == after
    assert merged(BASE, after, set(), Standing()) == BASE


def test_a_test_more_is_tighter_and_one_less_is_looser():
    without = replace(BASE, evidence=None)
    [added] = compare(without, BASE, Standing()).changes
    [gone] = compare(BASE, without, Standing()).changes
    assert (added.direction, gone.direction) == ("tighter", "looser")
    assert merged(without, BASE, {added.path}, Standing()) == BASE
    assert added.sentence == (
        "evidence: no test → error_rate worse than x1.2 + 0.5 points, then pause: tighter"
    )


def test_every_key_has_its_direction():
    names = set(EvidenceRules.__dataclass_fields__)
    for name in names:
        value = getattr(RULES, name)
        other: Any = {"kpis": ("x",), "action": "warn"}.get(name)
        other = value + 1 if other is None else other
        changed = replace(BASE, evidence=replace(RULES, **{name: other}))
        assert [c.path for c in compare(BASE, changed, Standing()).changes] == [f"evidence.{name}"]

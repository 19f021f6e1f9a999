"""Which roles the identity provider may give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.sso.mapping import MappingRejected, parse_mapping

WHOLE = """
claim: groups
roles:
  - {value: ops, role: operator, hours: 12}
  - {value: approvers, approval_role: system_admin, selector: {region: eu}}
"""


def test_a_rule_names_its_role_its_time_and_its_tenants():
    operator, approver = parse_mapping(WHOLE).rules

    assert (operator.kind, operator.role, operator.hours) == ("console", "operator", 12)
    assert (approver.kind, approver.role, approver.hours) == ("approval", "system_admin", 24)
    assert approver.selector == {"region": "eu"}


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"groups": ["ops"]}, ["operator"]),
        ({"groups": "ops"}, ["operator"]),
        ({"groups": ["approvers", "ops"]}, ["operator", "system_admin"]),
        ({"groups": ["OPS", "op", 7, None]}, []),
        ({"groups": {"ops": True}}, []),
        ({"teams": ["ops"]}, []),
        ({}, []),
    ],
)
def test_only_exact_values_of_the_claim_give_a_role(claims, roles):
    assert [rule.role for rule in parse_mapping(WHOLE).granted(claims)] == roles


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{value: a, role: administrator}", "administrators are made in the console"),
        ("{value: a, role: king}", "'king' is not one of"),
        ("{value: a, role: operator, approval_role: x}", "either role or approval_role"),
        ("{value: a}", "either role or approval_role"),
        ("{role: operator}", "value:"),
        ("{value: a, role: operator, hours: 0}", "hours:"),
        ("{value: a, role: operator, hours: .nan}", "hours:"),
        ("{value: a, role: operator, hours: true}", "hours:"),
        ("{value: a, role: operator, hours: 10000}", "hours:"),
        ("{value: a, role: operator, selector: {tier: 3}}", "selector:"),
        ("{value: a, role: operator, until: friday}", "until: not known"),
        ("{value: a, approval_role: [x]}", "approval_role:"),
        ("ops", "a rule is written"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule, problem):
    with pytest.raises(MappingRejected, match="roles") as refused:
        parse_mapping(f"claim: groups\nroles:\n  - {rule}\n")

    assert any(problem in told for told in refused.value.problems)


def test_all_problems_are_told_at_once():
    with pytest.raises(MappingRejected) as refused:
        parse_mapping("claims: groups\nroles: [{value: a, role: king}, {role: viewer}]\n")

    assert len(refused.value.problems) == 4


@given(st.text(max_size=200))
def test_any_text_is_a_mapping_or_has_problems(text):
    def outcome() -> object:
        try:
            return parse_mapping(text).claim
        except MappingRejected as rejected:
            return rejected.problems

    assert outcome()

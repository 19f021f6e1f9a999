"""Roles by the identity provider: given at log-in, for a time, and taken when the claim is gone."""

from datetime import timedelta

import pytest

from plans.models import Event, RoleBinding, User
from plans.people.permissions import may
from plans.sso.mapping import parse_mapping
from plans.sso.roles import apply_mapping
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db
MAPPING = parse_mapping("""
claim: groups
roles:
  - {value: ops, role: operator, hours: 2}
  - {value: eu-approvers, approval_role: system_admin, hours: 2, selector: {region: eu}}
""")


@pytest.fixture
def olga() -> User:
    return person("Olga")


def log_in(user: User, *groups: str, at=None) -> None:
    apply_mapping(user=user, claims={"groups": list(groups)}, mapping=MAPPING, now=at or now())


def held(user: User) -> set[str]:
    return set(RoleBinding.objects.in_force(now()).filter(user=user).values_list("role", flat=True))


def test_a_claim_gives_a_role_for_its_hours(olga):
    log_in(olga, "ops", at=now())

    assert may(olga, "resume")
    expires = RoleBinding.objects.get(user=olga).expires_at
    assert timedelta(hours=1, minutes=59) < expires - now() <= timedelta(hours=2)


def test_a_role_of_an_earlier_log_in_has_run_out(olga):
    log_in(olga, "ops", at=now() - timedelta(hours=3))

    assert held(olga) == set()
    log_in(olga, "ops")
    assert held(olga) == {"operator"}
    # That it was held before stays known.
    before = RoleBinding.objects.get(user=olga, ended_at__isnull=False)
    assert before.ended_why == "renewed at a later log-in"


def test_a_claim_that_is_gone_takes_the_role_away(olga):
    log_in(olga, "ops", "eu-approvers")
    assert held(olga) == {"operator", "system_admin"}

    log_in(olga, "eu-approvers")

    assert held(olga) == {"system_admin"}
    assert RoleBinding.objects.get(role="system_admin").selector == {"region": "eu"}
    assert RoleBinding.objects.get(role="operator").ended_at is not None
    sentences = list(Event.objects.filter(kind="roles_mapped").values_list("sentence", flat=True))
    assert sentences[-1] == "The identity provider changed what Olga may do: taken operator."


def test_what_an_administrator_gave_is_left_alone(olga):
    RoleBinding.objects.create(user=olga, kind="console", role="operator")

    log_in(olga, "ops")
    log_in(olga)

    assert RoleBinding.objects.get(user=olga).expires_at is None
    assert not Event.objects.filter(kind="roles_mapped").exists()


def test_the_same_claims_again_are_no_news(olga):
    log_in(olga, "ops")
    log_in(olga, "ops")

    assert Event.objects.filter(kind="roles_mapped").count() == 1
    assert RoleBinding.objects.filter(user=olga).count() == 1

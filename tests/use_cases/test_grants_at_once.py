"""Twenty use one signed approval at the same moment: one wins, whatever the database."""

from dataclasses import fields
from functools import partial

import pytest
from django.db import transaction

from batches.rollout import control, launch
from plans.approvals import grants
from plans.approvals.grant_claims import Bound
from plans.approvals.grant_signing import SealedGrant, opened
from plans.console_keys import public_key
from plans.models import Grant, Plan
from plans.refusal import Refused
from tests.builders import BATCHES, FOREST, a_started, an_approved, policy_text, tenants
from tests.postgres.at_once import at_once, lost, won
from tests.web.api_scene import Scene, configure, now

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 20


@pytest.fixture
def committed(transactional_db, settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    made = Scene()
    tenants(*FOREST)
    return made


def test_fault_27_of_twenty_who_use_one_approval_one_wins(committed):
    plan = an_approved(committed)
    grant = Grant.objects.filter(plan=plan)[0]
    claims = opened(SealedGrant(grant.payload, grant.sig, grant.kid), public_key)
    bound = Bound(**{one.name: getattr(claims, one.name) for one in fields(Bound)})

    def use(number: int) -> str:
        with transaction.atomic():
            grants.spend(grant, bound, op=f"start {number}", now=now())
        return f"start {number}"

    results = at_once(*(partial(use, number) for number in range(CROWD)))
    winners = won(results)
    assert len(winners) == 1
    assert {refused.code for refused in lost(results, Refused)} == {"grant_used"}
    assert Grant.objects.get(pk=grant.pk).op == winners[0]


def test_fault_27_of_twenty_starts_one_uses_the_approvals_up(committed):
    plan = an_approved(committed)

    def begin() -> Plan:
        return launch.start(plan_id=plan.pk, by=committed.olga, now=now(), via="page")

    results = at_once(*[begin] * CROWD)
    assert len(won(results)) == 1
    lost(results, Refused)
    assert not Grant.objects.filter(plan=plan).unused().exists()


def test_fault_27_of_twenty_promotions_one_leaves_a_grant(committed):
    plan = a_started(committed, policy=policy_text(batches=BATCHES, more="advance: manual"))

    def promote() -> Plan:
        return control.promote(plan_id=plan.pk, by=committed.olga, now=now(), via="page")

    results = at_once(*[promote] * CROWD)
    assert len(won(results)) == 1
    assert {refused.code for refused in lost(results, Refused)} == {"already_promoted"}
    assert Grant.objects.filter(plan=plan, action="promote").count() == 1

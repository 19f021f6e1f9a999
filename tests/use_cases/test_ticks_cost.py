"""Commits wake the watch many times a second: what it need not ask for each time, it does not."""

from datetime import timedelta

import pytest

from batches.decisions.plan_facts import plan_facts
from plans.approvals import approval
from plans.drafting.drafting import current_revision, policy_of
from plans.models import ApprovalRequest, Plan
from tests.builders import FOREST, a_draft, a_started, an_approved, policy_text, soaking
from tests.use_cases.watched_fleet import WatchedFleet
from tests.web.api_scene import now


def state_of(plan: Plan) -> str:
    return str(Plan.objects.get(pk=plan.pk).state)


@pytest.mark.django_db(transaction=True)
def test_a_watch_that_is_woken_often_keeps_house_now_and_then_and_starts_plans_at_once(
    scene, settings, tmp_path
):
    with WatchedFleet(settings, tmp_path, FOREST, house_seconds=3600) as fleet:
        fleet.tick()
        late = a_draft(scene, keys=["acorn"], external_id="late")
        approval.submit(plan_id=late.pk, by=scene.mara, now=now(), via="page")
        ApprovalRequest.objects.filter(plan=late).update(deadline=now() - timedelta(minutes=1))
        may_start = an_approved(scene, keys=["birch"], external_id="ready")
        fleet.until(lambda: state_of(may_start) == "running")
        assert state_of(late) == "awaiting_approval"
    with WatchedFleet(settings, tmp_path, FOREST) as fleet:
        fleet.tick()
        assert state_of(late) == "expired"


@pytest.mark.django_db
def test_what_is_asked_of_a_soaking_plan_at_each_tick_is_four_questions(
    scene, django_assert_num_queries
):
    plan = a_started(scene, policy=policy_text())
    soaking(plan)
    policy = policy_of(current_revision(plan))
    plan = Plan.objects.select_related("plugin", "release").get(pk=plan.pk)
    with django_assert_num_queries(4):
        facts = plan_facts(plan, policy, now())
    assert facts.live is not None
    assert facts.live.state == "soaking"

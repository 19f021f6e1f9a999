"""Commits wake the watch many times a second: what it need not ask for each time, it does not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.decisions.plan_facts import plan_facts
from batches.decisions.plan_rows import StateCount, rows_of, rows_together
from batches.models import DeployerCall, TenantUpgrade
from batches.watch import deciding
from plans.approvals import approval
from plans.drafting.drafting import current_revision, policy_of
from plans.models import ApprovalRequest, Plan
from tests.builders import (
    FOREST,
    a_draft,
    a_started,
    an_approved,
    opened,
    passed,
    policy_text,
    soaking,
)
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of
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
def test_what_is_asked_of_a_soaking_plan_at_each_tick_is_five_questions(
    scene, django_assert_num_queries
):
    plan = a_started(scene, policy=policy_text())
    soaking(plan)
    policy = policy_of(current_revision(plan))
    plan = Plan.objects.select_related("plugin", "release").get(pk=plan.pk)
    with django_assert_num_queries(5):
        facts = plan_facts(plan, policy, now())
    assert facts.live is not None
    assert facts.live.state == "soaking"


def soaking_long(scene: Any, *keys: str) -> list[Plan]:
    """Return plans over one tenant each whose first looks are their only ones for a while."""
    text = policy_text(
        batches="\n      - {name: all, percentage: 100, soak_minutes: 60}",
        more="limits: {look_seconds: 60}\nguardrails: [{kpi: error_rate, at_most: 5}]",
    )
    plans = [a_started(scene, policy=text, keys=[key], external_id=key) for key in keys]
    for plan in plans:
        soaking(plan)
    return plans


def questions_at_rest(fleet: WatchedFleet) -> int:
    """Return how many questions a tick asks as soon as two ticks running ask the same."""
    counts: list[int] = []

    def same() -> bool:
        with CaptureQueriesContext(connection) as asked:
            fleet.tick()
        # The heartbeat is written once a second, however often the watch ticks.
        counts.append(sum(one["sql"].startswith("SELECT") for one in asked))
        return len(counts) > 3 and counts[-1] == counts[-2]

    fleet.until(same)
    return counts[-1]


@pytest.fixture
def fleet(scene, settings, tmp_path, transactional_db):
    with WatchedFleet(settings, tmp_path, FOREST, house_seconds=3600) as fleet:
        yield fleet


def test_plans_at_rest_cost_a_tick_the_same_however_many_they_are(scene, fleet):
    soaking_long(scene, "acorn", "birch")
    few = questions_at_rest(fleet)
    soaking_long(scene, "cedar", "dogwood", "elm", "fir")
    assert questions_at_rest(fleet) == few == 6


def test_nothing_is_done_about_a_plan_by_what_was_read_of_it_with_others(scene, fleet, monkeypatch):
    acorn, birch = soaking_long(scene, "acorn", "birch")
    questions_at_rest(fleet)
    real = deciding.rows_together

    def as_it_was_before_somebody_put_it_right(policies, at):
        rows = real(policies, at)
        batch = rows[birch.pk].batches[0].pk
        gone = StateCount(batch, "failed", n=1, touched=1, stopped=0, never_tried=0)
        return rows | {birch.pk: replace(rows[birch.pk], counts=(gone,))}

    monkeypatch.setattr(deciding, "rows_together", as_it_was_before_somebody_put_it_right)
    fleet.tick(2)
    assert state_of(birch) == state_of(acorn) == "running"
    assert alerts_of(birch) == set()


def test_what_happens_to_a_plan_at_rest_is_seen_at_the_next_tick(scene, fleet):
    acorn, birch = soaking_long(scene, "acorn", "birch")
    questions_at_rest(fleet)
    TenantUpgrade.objects.filter(plan=birch).update(state="failed", exhausted_at=now())
    fleet.tick()
    assert (state_of(acorn), state_of(birch)) == ("running", "rolling_back")


def test_a_plan_that_cannot_be_read_keeps_no_plan_at_rest_from_being_decided_about(scene, fleet):
    good, sick = soaking_long(scene, "acorn", "birch")
    questions_at_rest(fleet)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(
            "UPDATE batches_batch SET acknowledged = '{' WHERE plan_id = %s", [sick.pk.hex]
        )
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    TenantUpgrade.objects.filter(plan=good).update(state="failed", exhausted_at=now())
    fleet.tick()
    assert state_of(good) == "rolling_back"
    assert alerts_of(sick) == {"watch_failed"}


@pytest.mark.django_db
def test_what_is_read_of_many_plans_is_what_is_read_of_each(scene):
    plans = [
        a_started(scene, keys=[key, other], external_id=key)
        for key, other in (("acorn", "birch"), ("cedar", "dogwood"), ("elm", "fir"))
    ]
    soaking(plans[0])
    opened(plans[1])
    upgrade = TenantUpgrade.objects.filter(plan=plans[1], batch__number=1)[0]
    DeployerCall.objects.create(
        plan=plans[1], upgrade=upgrade, direction="install", generation=1, attempt=1, key="k",
        fence=1, version="1.5.0", executor="watch", started_at=now(),
    )  # fmt: skip
    passed(plans[2])
    TenantUpgrade.objects.filter(plan=plans[2]).update(state="failed")
    policies = {plan.pk: policy_of(current_revision(plan)) for plan in plans}
    together = rows_together(policies, now())
    for plan in plans:
        alone = rows_of(plan.pk, policies[plan.pk], now())
        assert set(together[plan.pk].counts) == set(alone.counts)
        assert together[plan.pk].batches == alone.batches
        for batch in alone.batches:
            calls = (rows.open_calls.get(batch.pk) for rows in (together[plan.pk], alone))
            assert len(set(calls)) == 1
    assert sum(together[plans[1].pk].open_calls.values()) == 1

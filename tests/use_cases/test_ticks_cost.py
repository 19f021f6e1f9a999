"""Commits wake the watch many times a second: what it need not ask for each time, it does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.alerting import alerts
from batches.decisions.plan_facts import plan_facts
from batches.decisions.plan_rows import StateCount, rows_of, rows_together
from batches.models import Batch, DeployerCall, TenantUpgrade
from batches.rollout import control
from batches.watch import deciding
from plans.approvals import approval
from plans.drafting.drafting import current_revision, policy_of
from plans.models import ApprovalRequest, Freeze, Plan
from tests.builders import (
    FOREST,
    a_draft,
    a_started,
    an_approved,
    opened,
    passed,
    policy_text,
    soaking,
    tenants,
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


def as_it_is(plan: Plan) -> None:
    """Leave the plan to its soak."""


def paused(plan: Plan) -> None:
    control.pause(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")
    Plan.objects.filter(pk=plan.pk).update(resume_by=now() + timedelta(hours=1))


def held(plan: Plan) -> None:
    batch = Batch.objects.get(plan=plan)
    control.hold(batch_id=batch.pk, kind="success_rate", reason="", now=now())
    Batch.objects.filter(pk=batch.pk).update(held_at=now() - timedelta(minutes=30))


def called_by_the_hands(plan: Plan) -> None:
    batches = Batch.objects.filter(plan=plan)
    batches.update(state="deploying", handed_out_at=now() + timedelta(hours=1), calls_done_at=None)
    TenantUpgrade.objects.filter(plan=plan).update(state="pending", touched_at=None)


def at_a_gate(plan: Plan) -> None:
    called_by_the_hands(plan)
    Batch.objects.filter(plan=plan).update(state="pending", advance="manual")


def frozen(plan: Plan) -> None:
    called_by_the_hands(plan)
    Batch.objects.filter(plan=plan).update(state="pending")
    key = TenantUpgrade.objects.get(plan=plan).tenant_key
    Freeze.objects.create(
        name=key, tenants=[key], begins_at=now(), declared_by=plan.author, declared_at=now()
    )


def adjusted(plan: Plan) -> None:
    revision = current_revision(plan)
    revision.policy_text = revision.policy_text.replace("limits: {", "limits: {hold_minutes: 20, ")
    revision.pk, revision.number = None, revision.number + 1
    revision.save()
    Plan.objects.filter(pk=plan.pk).update(revision=revision.number)


def batch_is(state: str) -> Callable[[Plan], bool]:
    return lambda plan: str(Batch.objects.get(plan=plan).state) == state


def goes_back(plan: Plan) -> bool:
    return state_of(plan) == "rolling_back"


def set_plan(**values: Any) -> Callable[[Plan], object]:
    return lambda plan: Plan.objects.filter(pk=plan.pk).update(**values)


def set_batch(**values: Any) -> Callable[[Plan], object]:
    return lambda plan: Batch.objects.filter(plan=plan).update(**values)


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
# How a plan comes to rest after its soak began; what happens to it then; what the tick makes of it.
WAKING: dict[str, tuple[Callable[[Plan], object], Callable[[Plan], object], Any]] = {
    "its soak is over": (
        as_it_is,
        set_batch(soak_left=0, soak_counted_at=None),
        # With a look a minute there is not enough data yet.
        lambda plan: "the soak is over" in Plan.objects.get(pk=plan.pk).waiting_for,
    ),
    "its tenant failed": (
        as_it_is,
        lambda plan: TenantUpgrade.objects.filter(plan=plan).update(
            state="failed", exhausted_at=now()
        ),
        goes_back,
    ),
    "an alert is over": (
        as_it_is,
        lambda plan: alerts.fire(plan=plan, kind="configuration", sentence="broken", now=now()),
        lambda plan: alerts_of(plan) == set(),
    ),
    "a pause runs out": (paused, set_plan(resume_by=LONG_AGO), goes_back),
    "a hold runs out": (held, set_batch(held_at=LONG_AGO), goes_back),
    "a hold is shorter now": (held, adjusted, goes_back),
    "it calls too long": (called_by_the_hands, set_batch(calling_since=LONG_AGO), batch_is("held")),
    "a person promotes": (at_a_gate, set_batch(promoted_at=LONG_AGO), batch_is("deploying")),
    "a freeze ends": (frozen, lambda _plan: Freeze.objects.all().delete(), batch_is("deploying")),
    "nothing any more": (
        as_it_is,
        set_plan(waiting_for="a person"),
        lambda plan: Plan.objects.get(pk=plan.pk).waiting_for == "",
    ),
}


def test_whatever_moves_a_plan_at_rest_is_seen_at_the_next_tick(
    scene, settings, tmp_path, transactional_db
):
    keys = tuple(f"tenant-{number}" for number in range(len(WAKING)))
    tenants(*keys)
    plans = dict(zip(WAKING, soaking_long(scene, *keys), strict=True))
    with WatchedFleet(settings, tmp_path, keys, house_seconds=3600) as fleet:
        fleet.tick(3)
        for reason, (bring_to_rest, _happens, _seen) in WAKING.items():
            bring_to_rest(Plan.objects.get(pk=plans[reason].pk))
        rest = {plan.pk for plan in plans.values()}
        fleet.until(lambda: fleet.watch.deciding._at_rest == rest)
        for reason, (_bring, happens, _seen) in WAKING.items():
            happens(Plan.objects.get(pk=plans[reason].pk))
        fleet.tick()
        seen = {reason: is_seen(plans[reason]) for reason, (*_, is_seen) in WAKING.items()}
        assert seen == dict.fromkeys(WAKING, True)

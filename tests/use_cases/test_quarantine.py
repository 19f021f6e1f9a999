"""Over a simulated fleet: what fails is taken out alone, and a person puts it back or leaves it."""

from collections.abc import Iterator

import pytest

from batches.decisions import decide_forward
from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, going_on, leaving_out, retrying, settling
from plans.models import Plan
from plans.refusal import Refused
from tests.builders import FOREST, a_started, called, check_invariants, kinds, opened, states
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
LENIENT = "failure_rate: 60, success_rate: 0"


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def began(scene, **more) -> Plan:
    return a_started(scene, policy=quick_policy(**more))


def breaks(fleet, *tenants) -> None:
    for tenant in tenants:
        fleet.fault(tenant, "fail", directions=frozenset({"install"}))


def of_batch(plan, number) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan, batch__number=number)
    return list(rows.values_list("tenant_key", flat=True))


def row(key) -> TenantUpgrade:
    return TenantUpgrade.objects.get(tenant_key=key)


def retry(scene, plan, *keys) -> Plan:
    return retrying.retry(
        plan_id=plan.pk, by=scene.olga, tenant_keys=keys, now=now(), via="page", reason="mended"
    )


def test_who_fails_alone_is_quarantined_with_its_reason_and_the_plan_goes_on(scene, fleet):
    breaks(fleet, "acorn")
    plan = fleet.until_plan(began(scene, limits=LENIENT), "completed")
    upgrade = row("acorn")
    assert (upgrade.state, upgrade.set_aside) == ("rolled_back", "quarantined")
    assert "still 1.0.0" in upgrade.set_aside_why
    assert list(states(plan).values()).count("upgraded") == 5
    check_invariants(plan)


def test_who_could_not_even_be_read_is_quarantined_untouched(scene, fleet):
    fleet.fault("acorn", "refuse", directions=frozenset({"observe"}))
    plan = fleet.until_plan(began(scene, limits=LENIENT), "completed")
    assert (row("acorn").state, row("acorn").set_aside) == ("excluded", "quarantined")
    assert "could not be observed" in row("acorn").set_aside_why
    check_invariants(plan)


def test_a_mended_tenant_is_put_back_to_work_in_its_own_batch(scene, fleet):
    plan = began(scene, limits=LENIENT, more="advance: manual")
    (bad, _good) = of_batch(plan, 1)
    breaks(fleet, bad)
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    assert row(bad).set_aside == "quarantined"
    fleet.fleet.faults.clear()
    retry(scene, plan)
    fleet.until(lambda: row(bad).state == "upgraded")
    fleet.until_batch(plan, "passed")
    assert fleet.versions(tuple(of_batch(plan, 1))) == {"1.5.0"}
    assert (row(bad).set_aside, row(bad).generation) == ("", 3)
    assert kinds(plan).count("batch_reopened") == 1
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    check_invariants(plan)


def test_a_tenant_that_fails_again_is_quarantined_again(scene, fleet):
    plan = began(scene, limits=LENIENT, more="advance: manual")
    bad = of_batch(plan, 1)[0]
    breaks(fleet, bad)
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    retry(scene, plan, bad)
    fleet.until(lambda: row(bad).set_aside == "quarantined" and row(bad).state == "rolled_back")
    fleet.until_batch(plan, "passed")
    check_invariants(plan)


def test_under_tenant_too_many_failures_take_back_only_the_failed_and_a_person_decides(
    scene, fleet
):
    plan = began(scene, more="rollback: {scope: tenant}", limits="success_rate: 0")
    bad, good = of_batch(plan, 1)
    breaks(fleet, bad)
    fleet.until_plan(plan, "paused")
    record = the_rollback(plan)
    assert (record.scope, record.tenants, record.trigger) == ("tenants", [bad], "failure_rate")
    assert (row(bad).state, row(bad).set_aside) == ("rolled_back", "quarantined")
    assert "still 1.0.0" in row(bad).set_aside_why
    fleet.tick(5)
    assert fleet.fleet.tenant(good).version in {"1.0.0", "1.5.0"}
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    assert "failure_rate" in alerts_of(plan)
    going_on.go_on(plan_id=plan.pk, by=scene.olga, reason="one bad disk", now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert [key for key, state in states(plan).items() if state != "upgraded"] == [bad]
    check_invariants(plan)


def test_under_tenant_a_breach_cannot_be_pinned_on_anybody_and_takes_the_plan(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene, more="rollback: {scope: tenant}"), "rolled_back")
    assert the_rollback(plan).scope == "plan"
    check_invariants(plan)


def test_under_batch_a_breach_takes_the_newest_batch_and_waits_for_a_person(scene, fleet):
    quick = quick_policy(more="rollback: {scope: batch}")
    long_last_soak = quick.replace("66, soak_minutes: 0.002", "66, soak_minutes: 1")
    plan = a_started(scene, policy=long_last_soak)
    fleet.until_batch(plan, "soaking", 2)
    fleet.metrics.bad_versions = {"1.5.0"}
    fleet.until_plan(plan, "paused")
    record = Rollback.objects.filter(plan=plan).earliest("triggered_at")
    assert (record.scope, record.batch.number, record.trigger) == ("batch", 2, "breach")
    assert fleet.versions(tuple(of_batch(plan, 2))) == {"1.0.0"}
    assert Plan.objects.get(pk=plan.pk).resume_by is None
    # As long as the numbers stay bad, batch after batch goes back; nothing is left on the new one.
    fleet.until(lambda: fleet.versions(FOREST) == {"1.0.0"})
    fleet.until_plan(plan, "paused")
    assert list(
        Rollback.objects.filter(plan=plan)
        .order_by("triggered_at")
        .values_list("batch__number", flat=True)
    ) == [2, 1]
    check_invariants(plan)


def test_a_batch_that_went_back_is_called_again_and_the_plan_completes(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene, more="rollback: {scope: batch}"), "paused")
    fleet.metrics.bad_versions = set()
    retrying.retry(plan_id=plan.pk, by=scene.olga, batch_number=1, now=now(), via="page")
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    going_on.go_on(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert fleet.versions(FOREST) == {"1.5.0"}
    check_invariants(plan)


def test_stopping_here_ends_the_plan_by_itself(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    leaving_out.skip_rest(plan_id=plan.pk, reason="enough", by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert sorted(states(plan).values()) == ["excluded"] * 4 + ["upgraded"] * 2
    assert fleet.versions(FOREST) == {"1.0.0", "1.5.0"}
    check_invariants(plan)


def test_named_tenants_are_quarantined_by_a_rollback_of_them_and_the_rest_completes(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    chosen = of_batch(plan, 1)[:1]
    rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="they called", tenants=chosen, now=now(), via="page"
    )
    fleet.until_plan(plan, "paused")
    assert (row(chosen[0]).set_aside, row(chosen[0]).set_aside_why) == (
        "quarantined",
        "they called",
    )
    going_on.go_on(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until(lambda: str(Plan.objects.get(pk=plan.pk).state) in {"completed", "running"})
    fleet.tick(3)
    # The rate of success may hold the next batch; what a person took back is no failure of it.
    assert "failure_rate" not in alerts_of(plan)
    check_invariants(plan)


# Two rollbacks.


def ask(scene, plan, **what) -> Rollback:
    return rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page", **what
    )


def test_more_tenants_join_those_on_their_way(scene):
    plan = a_started(scene)
    called(opened(plan))
    one, other = of_batch(plan, 1)
    first = ask(scene, plan, tenants=[one])
    assert ask(scene, plan, tenants=[one]) == first
    wider = ask(scene, plan, tenants=[other])
    assert sorted(wider.tenants) == sorted([one, other])
    assert Rollback.objects.get(pk=first.pk).finished_at is not None
    assert ask(scene, plan, tenants=[other, one]) == wider


def test_tenants_of_the_batch_that_goes_back_are_the_same_rollback(scene):
    plan = a_started(scene)
    called(opened(plan))
    first = ask(scene, plan, scope="batch")
    assert ask(scene, plan, tenants=of_batch(plan, 1)[:1]) == first
    assert ask(scene, plan, scope="batch") == first


def test_a_batch_and_tenants_beyond_it_are_not_mixed_up_silently(scene):
    plan = a_started(scene)
    called(opened(plan))
    ask(scene, plan, tenants=of_batch(plan, 1)[:1])
    with pytest.raises(Refused, match="roll back the whole plan now") as refused:
        ask(scene, plan, scope="batch")
    assert refused.value.code == "another_part_runs"
    assert ask(scene, plan).scope == "plan"


# Never a dead end.


@pytest.mark.parametrize("state", ["running", "paused", "needs_hand"])
@pytest.mark.parametrize("way", ["retry", "settle", "roll back the plan"])
def test_whoever_needs_a_hand_has_three_ways_on_from_every_state(scene, state, way):
    plan = a_started(scene)
    called(opened(plan), "needs_hand")
    Batch.objects.filter(plan=plan, number=1).update(state="needs_hand")
    Plan.objects.filter(pk=plan.pk).update(state=state)
    keys = of_batch(plan, 1)
    if way == "settle":
        settling.settle(
            plan_id=plan.pk, tenant_keys=keys, outcome="rolled_back", reason="seen",
            by=scene.olga, now=now(), via="page",
        )  # fmt: skip
        assert {states(plan)[key] for key in keys} == {"rolled_back"}
        assert str(Batch.objects.get(plan=plan, number=1).state) == "rolled_back"
        return
    if way == "retry":
        record = settling.retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    else:
        record = ask(scene, plan)
    assert record.touched == 2
    TenantUpgrade.objects.filter(tenant_key__in=keys).update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    ended = ending.finish(rollback_id=record.pk, now=now())
    assert str(ended.state) in {"paused", "rolled_back"}

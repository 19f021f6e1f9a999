"""A running watch acts on a change at its next look, and ends what is loosened for a time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from batches.adjust.proposal import Expiry
from batches.configured import dictionary
from batches.decisions import decide_forward
from batches.guardrails.verdict import guardrail_key, measure
from batches.kpis.dictionary import resolve_guardrail
from batches.models import Batch, KpiSample, Ruling, TenantUpgrade
from batches.sources.increments import LookSample
from plans.approvals import approval
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, PlanRevision
from tests.builders import FOREST, a_started, check_invariants, kinds
from tests.use_cases.adjusted import change
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy, the_rollback
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def soaking(scene, fleet, *, at_most: int) -> Plan:
    """Return a plan whose bad version soaks for long: every fifth of its requests fails."""
    fleet.metrics.bad_versions = {"1.5.0"}
    text = quick_policy().replace("at_most: 5", f"at_most: {at_most}")
    plan = a_started(scene, policy=text.replace("soak_minutes: 0.002", "soak_minutes: 30", 1))
    fleet.until_batch(plan, "soaking")
    rulings = Ruling.objects.filter(plan=plan, verdict="fine")
    fleet.until(rulings.exists)
    return plan


def policy_now(plan: Plan):
    return policy_of(current_revision(Plan.objects.get(pk=plan.pk)))


def test_a_limit_that_is_tightened_below_the_truth_takes_the_plan_back_at_the_next_look(
    scene, fleet
):
    plan = soaking(scene, fleet, at_most=50)
    change(scene, plan, guardrails={"error_rate": 5})
    fleet.until_plan(plan, "rolled_back")
    rollback = the_rollback(plan)
    assert rollback.trigger == "breach"
    assert rollback.ruling.revision == 2
    assert rollback.ruling.threshold == 5
    # The looks that were stored count: no second failed look had to be waited for.
    new = Ruling.objects.filter(plan=plan, revision=2).order_by("pk")
    assert new[0].verdict == "breached"
    assert set(
        Ruling.objects.filter(plan=plan, threshold=50).values_list("revision", flat=True)
    ) == {1}
    check_invariants(plan)


def test_every_ruling_replays_with_the_policy_of_the_revision_that_it_names(scene, fleet):
    plan = soaking(scene, fleet, at_most=50)
    change(scene, plan, guardrails={"error_rate": 5})
    fleet.until_plan(plan, "rolled_back")
    rulings = Ruling.objects.filter(plan=plan, value__isnull=False)
    assert set(rulings.values_list("revision", flat=True)) == {1, 2}
    upgraded = [
        at
        for at in TenantUpgrade.objects.filter(plan=plan).values_list("upgraded_at", flat=True)
        if at
    ]
    for ruling in rulings:
        policy = policy_of(PlanRevision.objects.get(plan=plan, number=ruling.revision))
        [rule] = [r for r in policy.guardrails if guardrail_key(r) == ruling.guardrail]
        looks = KpiSample.objects.filter(plan=plan, kpi=ruling.kpi, at__lte=ruling.at)
        definition = dictionary().kpi(rule.kpi)
        assert definition is not None
        seen = measure(
            resolve_guardrail(rule, definition),
            definition,
            [LookSample.from_json(row.look) for row in looks.order_by("at")],
            canary=sum(at <= ruling.at for at in upgraded),
            now=ruling.at,
        )
        assert (seen.value, seen.threshold, seen.n) == (ruling.value, ruling.threshold, ruling.n)


def test_a_shortened_soak_lets_the_running_batch_pass(scene, fleet):
    plan = soaking(scene, fleet, at_most=50)
    change(scene, plan, batches={"canary": {"soak_minutes": 0}})
    for person in (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=person, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    assert Batch.objects.get(plan=plan, number=1).soak_left == 0


def test_the_watch_puts_a_loosening_back_by_itself(scene, fleet):
    plan = soaking(scene, fleet, at_most=50)
    soon = Expiry(after=timedelta(seconds=0.5))
    change(scene, plan, guardrails={"error_rate": 90}, expiry=soon)
    for person in (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=person, now=now(), via="page")
    assert policy_now(plan).guardrails[0].at_most == 90
    fleet.until(lambda: policy_now(plan).guardrails[0].at_most == 50)
    assert kinds(plan).count("plan_adjusted") == 2
    check_invariants(plan)


def test_the_shares_change_and_the_watch_opens_the_batches_as_they_are_now(scene, fleet):
    plan = soaking(scene, fleet, at_most=50)
    change(
        scene, plan,
        batches={"rest": {"percentage": 33}, "last": {"percentage": 33, "soak_minutes": 0.002},
                 "canary": {"soak_minutes": 0}},
    )  # fmt: skip
    for person in (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=person, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert list(Batch.objects.filter(plan=plan).order_by("number").values_list("name", "size")) == [
        ("canary", 2),
        ("rest", 2),
        ("last", 2),
    ]
    assert fleet.versions(FOREST) == {"1.5.0"}
    check_invariants(plan)

"""No batch begins whose rollback quote exceeds the limit, whatever changed since the decision."""

from datetime import timedelta

import pytest

from batches.decisions.plan_facts import plan_facts
from batches.models import Batch, DeployerCall, DeployerMeasurement, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import launch
from batches.rollout.readiness import gate_quote, way_back
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan
from tests.builders import FOREST, a_started, called, opened, passed, policy_text, tenants
from tests.web.api_scene import Scene, configure, now

pytestmark = pytest.mark.django_db
ONE_BY_ONE = policy_text(more="limits: {parallelism: 1, call_timeout_seconds: 5}")


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def restores_take(seconds: float) -> None:
    """Let twenty restores have been measured, each that long."""
    DeployerMeasurement.objects.update_or_create(
        deployer="fleet",
        direction="restore",
        defaults={"count": 20, "durations": [seconds] * 20},
    )


def policy(plan: Plan):
    return policy_of(current_revision(plan))


def test_a_batch_that_no_longer_fits_is_refused_in_the_transaction_that_would_begin_it(scene):
    plan = a_started(scene, policy=ONE_BY_ONE)
    passed(plan)
    facts = plan_facts(plan, policy(plan), now(), promotable=(True, ""))
    assert facts.quote_fits
    # Decided; then a slow restore of another plan is measured before the batch is opened.
    restores_take(60)
    second = Batch.objects.get(plan=plan, number=2)
    with pytest.raises(launch.QuoteExceeded, match="may not begin") as refused:
        launch.open_batch(batch_id=second.pk, now=now())
    assert refused.value.code == "quote_exceeds_limit"
    assert str(Batch.objects.get(pk=second.pk).state) == "pending"


def test_the_gate_keeps_its_quote_with_the_batch_and_in_the_trail(scene):
    plan = a_started(scene)
    batch = opened(plan)
    event = Event.objects.filter(stream__key=plan.stream_key, kind="batch_opened").get()
    assert batch.quote["fits"]
    assert batch.quote["touched"] == batch.size
    assert event.payload["quote"] == batch.quote
    assert sum(term["seconds"] for term in batch.quote["terms"]) == pytest.approx(
        batch.quote["seconds"]
    )


@pytest.mark.parametrize(
    "state", ["upgraded", "failed", "unknown", "needs_hand", "restoring", "upgrading"]
)
def test_every_touched_tenant_counts_whatever_became_of_it(scene, state):
    plan = a_started(scene)
    first = opened(plan)
    called(first, state)
    assert gate_quote(plan, policy(plan)).touched == first.size + 2


@pytest.mark.parametrize("state", ["rolled_back", "excluded"])
def test_who_is_back_already_does_not_count(scene, state):
    plan = a_started(scene)
    called(opened(plan), state)
    assert gate_quote(plan, policy(plan)).touched == 2


def test_tenants_of_other_live_plans_on_the_deployer_count_beside_the_own(scene):
    tenants(*FOREST)
    one = a_started(scene, keys=FOREST[:3], external_id="one")
    passed(one)
    two = a_started(scene, keys=FOREST[3:], external_id="two")
    assert way_back(deployer="fleet", policy=policy(two), plan=two).elsewhere == 1
    assert way_back(deployer="fleet", policy=policy(one), plan=one).elsewhere == 0
    Plan.objects.filter(pk=one.pk).update(state="completed")
    assert way_back(deployer="fleet", policy=policy(two), plan=two).elsewhere == 0


def test_looks_that_were_measured_are_quoted_twice_for_each_tenant(scene):
    plan = a_started(scene)
    before = gate_quote(plan, policy(plan)).seconds
    DeployerMeasurement.objects.create(
        deployer="fleet", direction="observe", count=20, durations=[30.0] * 20
    )
    labels = [label for label, _seconds in gate_quote(plan, policy(plan)).terms]
    assert gate_quote(plan, policy(plan)).seconds > before
    assert any("reading each back" in label for label in labels)
    assert any("read once more" in label for label in labels)


def test_the_record_of_a_rollback_keeps_what_was_quoted_and_what_was_expected(scene):
    plan = a_started(scene)
    called(opened(plan))
    record = request_rollback(plan_id=plan.pk, by=scene.olga, reason="bad", now=now(), via="page")
    assert record.expected_seconds < record.quote_seconds
    assert sum(term["seconds"] for term in record.quote_terms) == pytest.approx(
        record.quote_seconds
    )


@pytest.mark.parametrize(("outcome", "waits"), [("", True), ("unknown", True), ("failed", False)])
def test_the_expected_time_waits_for_late_calls_that_are_known(scene, outcome, waits):
    plan = a_started(scene)
    batch = opened(plan)
    called(batch)
    at = now()
    DeployerCall.objects.create(
        plan=plan,
        upgrade=TenantUpgrade.objects.filter(batch=batch).get(),
        direction="install",
        generation=1,
        attempt=1,
        key="k",
        fence=1,
        version="1.5.0",
        executor="hands",
        started_at=at - timedelta(seconds=1),
        outcome=outcome,
    )
    record = request_rollback(plan_id=plan.pk, by=scene.olga, reason="bad", now=at, via="page")
    assert (record.expected_seconds > 30) is waits

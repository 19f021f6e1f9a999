"""Digests in the ledger: what is sent, what is read back, and what people are told of it."""

import pytest

from batches.deployers.base import Observed
from batches.effects.ports import CallStart, Outcome
from batches.models import Alert, Batch, TenantUpgrade
from batches.rollback.rollback import request_rollback
from plans.models import Installation
from plans.releases.registering import register_release
from tests.builders import a_started, artifact, called, opened, states
from tests.use_cases.test_ledger import back_scope, scope_of, using
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)

NEW, OTHER = artifact("pay", "1.5.0"), "f" * 64


@pytest.fixture
def plan(scene):
    started = a_started(scene)
    opened(started)
    return started


def claimed(plan):
    return using(scope_of(plan), lambda one: one.claim_many(1))[0]


def recorded(scope, *outcomes):
    using(scope, lambda one: one.record_many(outcomes))


def seen(task, move, version, digest, error=""):
    return Outcome(task, now(), move, Observed(version, digest), error, exhausted=move == "fail")


def going_back(plan):
    called(Batch.objects.get(plan=plan, number=1))
    TenantUpgrade.objects.filter(batch__number=1).update(digest_before="e" * 64)
    record = request_rollback(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")
    return back_scope(record)


def test_what_was_there_before_is_kept_with_its_digest(plan):
    task = claimed(plan)
    start = CallStart(task, 1, "1.0.0", None, "", digest_before="e" * 64)

    async def work(one):
        return await one.begin_calls([start])

    # In the run that claimed it.
    using(scope_of(plan), work)
    row = TenantUpgrade.objects.get(tenant_key=task.tenant)
    assert (row.version_before, row.digest_before) == ("1.0.0", "e" * 64)


def test_a_digest_that_was_read_back_is_kept_at_tenant_and_upgrade(plan):
    task = claimed(plan)
    recorded(scope_of(plan), seen(task, "confirm", "1.5.0", NEW))
    row = TenantUpgrade.objects.get(tenant_key=task.tenant)
    assert (row.state, row.digest_observed) == ("upgraded", NEW)
    assert Installation.objects.get(tenant__key=task.tenant).digest == NEW
    assert not Alert.objects.exists()


def test_fault_28_a_tenant_with_another_artifact_has_failed_and_people_are_told(plan):
    task = claimed(plan)
    error = "runs pay 1.5.0 with another digest than was signed: ffffffffffff…"
    recorded(scope_of(plan), seen(task, "fail", "1.5.0", OTHER, error))
    assert states(plan)[task.tenant] == "failed"
    told = Alert.objects.get(kind="digest_mismatch")
    assert told.payload["tenants"] == [task.tenant]
    assert told.sentence == f"{task.tenant} {error}"


def test_a_failure_on_the_old_version_is_no_foreign_artifact(plan):
    task = claimed(plan)
    recorded(scope_of(plan), seen(task, "fail", "1.0.0", OTHER, "still 1.0.0"))
    assert not Alert.objects.exists()


def test_a_restore_carries_the_digest_that_was_there_before(plan):
    scope = going_back(plan)
    tasks = using(scope, lambda one: one.claim_many(10))
    assert {task.digest for task in tasks} == {"e" * 64}


def test_a_restore_of_a_registered_release_carries_what_was_signed(plan, scene):
    register_release(envelope=scene.envelope("pay", "1.0.0"), by=None, now=now(), via="command")
    tasks = using(going_back(plan), lambda one: one.claim_many(10))
    assert {task.digest for task in tasks} == {artifact("pay", "1.0.0")}


def test_who_is_back_with_another_artifact_is_back_and_that_is_told(plan):
    scope = going_back(plan)
    task = using(scope, lambda one: one.claim_many(10))[0]
    recorded(scope, seen(task, "restored", "1.0.0", OTHER))
    assert states(plan)[task.tenant] == "rolled_back"
    told = Alert.objects.get(kind="digest_mismatch")
    assert "is back on 1.0.0 with another digest than eeeeeeeeeeee…" in told.sentence


def test_a_platform_that_tells_no_digest_is_believed_by_the_version(plan):
    task = claimed(plan)
    recorded(scope_of(plan), seen(task, "confirm", "1.5.0", None))
    row = TenantUpgrade.objects.get(tenant_key=task.tenant)
    assert (row.state, row.digest_observed) == ("upgraded", "")


def test_the_recorded_way_back_of_a_tenant_is_in_its_task(plan):
    for row in TenantUpgrade.objects.filter(batch__number=1):
        Installation.objects.create(
            tenant=row.tenant, plugin=plan.plugin, version="1.6.0", last_stable_version="1.5.0"
        )
    assert claimed(plan).way_back == "1.5.0"

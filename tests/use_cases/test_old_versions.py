"""What a rollback would bring back unsigned, and plans that would go to an older version."""

import pytest

from batches.rollback.rollback import request_rollback
from batches.rollout import launch, planning
from plans.models import Event, Installation, Tenant
from plans.refusal import BadInput, Refused
from plans.releases.registering import register_release
from plans.releases.standing import quarantine_release
from tests.builders import a_draft, a_started, an_approved, policy_text, soaking
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db

THREE = ("acorn", "birch", "cedar")


def running(scene: Scene, *keys: str, version: str) -> None:
    for key in keys:
        tenant = Tenant.objects.get(key=key)
        Installation.objects.filter(tenant=tenant, plugin=scene.plugin).delete()
        Installation.objects.create(tenant=tenant, plugin=scene.plugin, version=version)


def test_old_versions_that_nobody_signed_are_told_before_the_start(scene):
    running(scene, "acorn", "birch", version="1.4.2")
    plan = an_approved(scene, keys=THREE)
    assert [(one["version"], one["tenants"]) for one in plan.old_versions] == [
        ("", 1),
        ("1.4.2", 2),
    ]
    said = Event.objects.get(kind="plan_submitted").sentence
    assert "pay 1.4.2 is no registered release" in said
    register_release(envelope=scene.envelope("pay", "1.4.2"), by=None, now=now(), via="command")
    running(scene, "acorn", "birch", "cedar", version="1.4.2")
    started = launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert started.old_versions == []


def test_a_policy_may_refuse_a_plan_whose_way_back_nobody_signed(scene):
    running(scene, "acorn", "birch", "cedar", version="1.4.2")
    strict = policy_text("strict", more="rollback: {unverified: refuse}")
    drafted = a_draft(scene, policy=strict, keys=THREE)
    with pytest.raises(Refused, match=r"rollback\.unverified.*1\.4\.2 is no registered release"):
        planning.submit(plan_id=drafted.pk, by=scene.mara, now=now(), via="page")
    register_release(envelope=scene.envelope("pay", "1.4.2"), by=None, now=now(), via="command")
    planning.submit(plan_id=drafted.pk, by=scene.mara, now=now(), via="page")


def test_a_rollback_to_what_nobody_signed_goes_ahead_and_is_told(scene):
    plan = a_started(scene, policy=policy_text())
    soaking(plan)
    record = request_rollback(plan_id=plan.pk, by=scene.olga, reason="wrong", now=now(), via="page")
    (told,) = record.unverified
    assert (told["version"], told["tenants"]) == ("1.0.0", 2)
    assert "no registered release" in record.sentence


def test_a_rollback_to_a_release_in_quarantine_goes_ahead_too(scene):
    old = register_release(
        envelope=scene.envelope("pay", "1.0.0"), by=None, now=now(), via="command"
    )
    plan = a_started(scene, policy=policy_text())
    soaking(plan)
    quarantine_release(release_id=old.pk, reason="leaky", by=scene.olga, now=now(), via="page")
    record = request_rollback(plan_id=plan.pk, by=None, reason="breach", now=now(), via="watch")
    assert "is in quarantine: leaky" in record.unverified[0]["problem"]


def test_a_downgrade_is_refused_at_the_draft_and_at_the_start(scene):
    plan = an_approved(scene)
    running(scene, "acorn", version="1.6.0")
    with pytest.raises(BadInput, match=r"acorn 1\.6\.0 runs a newer version than 1\.5\.0"):
        a_draft(scene, external_id="back")
    with pytest.raises(Refused, match=r"goes the wrong way: acorn 1\.6\.0"):
        launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_the_recorded_way_back_is_no_downgrade(scene):
    running(scene, "acorn", version="1.6.0")
    Installation.objects.update(last_stable_version="1.5.0")
    assert a_draft(scene).release == scene.release


def test_versions_that_cannot_be_compared_are_no_downgrade(scene):
    running(scene, "acorn", version="nightly")
    assert a_draft(scene).release == scene.release

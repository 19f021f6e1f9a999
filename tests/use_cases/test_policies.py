"""Policies and releases that are handed in again."""

from datetime import timedelta

from batches.rollout.launch import start
from plans.drafting.drafting import current_revision, latest_policy, policy_of
from plans.models import Event, Policy
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release, trust_key
from plans.releases.signature import new_key, sign_release
from tests.builders import an_approved, artifact, policy_text
from tests.web.api_scene import now

ONE_PERCENT = "rollback_thresholds: {error_rate: 1}"
TWO_PERCENT = "rollback_thresholds: {error_rate: 2}"


def save(more: str, minutes: int) -> Policy:
    at = now() + timedelta(minutes=minutes)
    (row,) = save_policy_text(
        text=policy_text(more=more), source="file", by=None, now=at, via="command"
    )
    return row


def test_going_back_to_an_earlier_text_puts_it_in_force_again(scene):
    first, second = save(ONE_PERCENT, 1), save(TWO_PERCENT, 2)
    assert latest_policy(first.name) == second
    assert save(ONE_PERCENT, 3) == first
    assert latest_policy(first.name) == first
    assert Event.objects.filter(kind="policy_in_force_again").count() == 1
    assert save(ONE_PERCENT, 4) == first
    assert Event.objects.filter(kind="policy_in_force_again").count() == 1


def test_fault_26_a_plan_keeps_the_text_that_it_was_approved_with(scene):
    save(ONE_PERCENT, 1)
    plan = an_approved(scene, policy=policy_text(more=ONE_PERCENT))
    digest = current_revision(plan).policy_digest
    changed = save(TWO_PERCENT, 2)
    started = start(plan_id=plan.pk, by=None, now=now() + timedelta(minutes=3), via="watch")
    kept = policy_of(current_revision(started))
    assert current_revision(started).policy_digest == digest != changed.digest
    assert [rail.at_most for rail in kept.guardrails if rail.kpi == "error_rate"] == [1]


def test_a_new_signature_over_the_same_artifact_is_kept(scene):
    key = new_key()
    trust_key(
        key_id=key.key_id,
        public_key=key.public_pem,
        name="second",
        not_before=now() - timedelta(days=1),
        not_after=now() + timedelta(days=1),
        plugins=(),
        by=None,
        now=now(),
        via="command",
    )
    envelope = sign_release("pay", "1.5.0", artifact("pay", "1.5.0"), key.private_pem)[1]
    release = register_release(envelope=envelope, by=None, now=now(), via="command")
    assert release.pk == scene.release.pk
    assert release.signed_by.key_id == key.key_id
    assert Event.objects.filter(kind="release_signed_again").count() == 1

"""What becomes of releases whose trust ends: nobody installs them, and who runs them is told."""

import base64
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from batches.alerting import alerts
from batches.decisions.decide import DISTRUSTED
from batches.decisions.plan_facts import plan_facts
from batches.effects.going_on_calling import GoingOn
from batches.effects.ledger_claims import Scope
from batches.models import Alert, Batch
from batches.rollback.rollback import request_rollback
from batches.rollout import control, launch
from batches.watch.releases import INSTALLED, ReleaseWatch
from plans.approvals import approval
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Installation, Plan, Release, ReleaseSignature, Tenant, TrustKey
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.releases.registering import (
    ReleaseNotTrusted,
    register_release,
    retire_key,
    revoke_key,
    trust_key,
    verify_again,
)
from plans.releases.signature import NewKey, new_key, sign_release
from plans.releases.signed_forms import cosign_text
from plans.releases.signing_keys import ECDSA_P256, SigningKey
from plans.releases.standing import (
    check_artifact,
    check_release,
    lift_quarantine,
    quarantine_release,
)
from tests.builders import (
    a_draft,
    a_started,
    an_approved,
    artifact,
    kinds,
    opened,
    policy_text,
    soaking,
)
from tests.use_cases.watched_fleet import WatchedFleet
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db

DIGEST = artifact("pay", "1.5.0")


def trusted(kind: str = "ed25519", **limits) -> NewKey:
    """Return another key that is trusted beside the scene's."""
    made = new_key(kind)
    trust_key(
        key_id=made.key_id,
        public_key=made.public_pem,
        name="next",
        not_before=limits.get("not_before", now() - timedelta(days=1)),
        not_after=limits.get("not_after", now() + timedelta(days=60)),
        plugins=(),
        by=None,
        now=now(),
        via="command",
    )
    return made


def signed_again(key: NewKey) -> Release:
    envelope = sign_release("pay", "1.5.0", DIGEST, key.private_pem)[1]
    return register_release(envelope=envelope, by=None, now=now(), via="command")


def revoked(scene, reason: str = "its laptop was stolen") -> TrustKey:
    return revoke_key(key_id=scene.key.key_id, reason=reason, by=scene.ada, now=now(), via="page")


def quarantined(scene, reason: str = "the build machine was broken into") -> Release:
    return quarantine_release(
        release_id=scene.release.pk, reason=reason, by=scene.olga, now=now(), via="page"
    )


def release(scene) -> Release:
    return Release.objects.select_related("plugin", "signed_by").get(pk=scene.release.pk)


def changed_in_the_database(scene, **fields) -> None:
    Release.objects.filter(pk=scene.release.pk).update(**fields)


def running(*keys: str, version: str = "1.5.0", digest: str = "", scene) -> None:
    for key in keys:
        tenant = Tenant.objects.get(key=key)
        Installation.objects.filter(tenant=tenant, plugin=scene.plugin).delete()
        Installation.objects.create(
            tenant=tenant, plugin=scene.plugin, version=version, digest=digest
        )


# Keys: several at once, retired, revoked.


def test_a_new_signature_counts_and_the_old_one_stays_in_the_history(scene):
    first = scene.release.signed_by_id
    known = signed_again(trusted())
    assert known.signed_by_id != first
    kept = ReleaseSignature.objects.filter(release=known).order_by("pk")
    assert [one.key_id for one in kept] == [first, known.signed_by_id]
    signed_again_once_more = register_release(
        envelope=known.envelope, by=None, now=now(), via="command"
    )
    assert ReleaseSignature.objects.filter(release=signed_again_once_more).count() == 2


def test_what_cosign_signed_vouches_for_a_release_as_well(scene):
    key = trusted(ECDSA_P256)
    statement = sign_release("pay", "1.5.0", DIGEST, key.private_pem)[0]
    signature = SigningKey(key.private_pem).sign(statement.encode())
    text = cosign_text(statement, base64.b64encode(signature).decode())
    known = register_release(envelope=text, by=scene.mara, now=now(), via="api")
    assert known.pk == scene.release.pk
    assert known.signatures.order_by("-pk").first().form == "cosign"
    assert verify_again(release=release(scene), now=now()).key_id == key.key_id


def test_two_keys_overlap_and_the_old_one_ends_earlier(scene):
    trusted()
    end = now() + timedelta(days=2)
    retire_key(
        key_id=scene.key.key_id, not_after=end, reason="next", by=scene.ada, now=now(), via="page"
    )
    verify_again(release=release(scene), now=end - timedelta(minutes=1))
    with pytest.raises(ReleaseNotTrusted, match="was trusted until"):
        verify_again(release=release(scene), now=end + timedelta(minutes=1))


def test_a_release_of_which_another_signature_holds_survives_the_end_of_a_key(scene):
    known = signed_again(trusted())
    late = now() + timedelta(days=70)
    # The newest key has ended by then, and so has the scene's: nothing holds.
    with pytest.raises(ReleaseNotTrusted):
        verify_again(release=release(scene), now=late)
    newest = TrustKey.objects.get(pk=known.signed_by_id)
    newest.not_after = now() - timedelta(minutes=1)
    newest.save()
    assert verify_again(release=release(scene), now=now()).key_id == scene.key.key_id


@pytest.mark.parametrize(("days", "words"), [(-1, "revoke the key"), (31, "can only end earlier")])
def test_the_time_of_a_key_only_gets_shorter(scene, days, words):
    with pytest.raises(BadInput, match=words):
        retire_key(
            key_id=scene.key.key_id,
            not_after=now() + timedelta(days=days),
            reason="",
            by=scene.ada,
            now=now(),
            via="page",
        )


def test_a_revoked_key_takes_the_trust_of_what_it_alone_signed(scene):
    plan = an_approved(scene)
    revoked(scene)
    known = release(scene)
    assert known.state == Release.DISTRUSTED
    assert "was revoked" in known.standing
    assert "release_distrusted" in kinds(plan)
    key = TrustKey.objects.get(key_id=scene.key.key_id)
    assert (key.revoked_by, key.revoked_why) == (scene.ada, "its laptop was stolen")
    said = Event.objects.get(kind="key_revoked")
    assert said.payload["releases"] == ["pay@1.5.0"]
    with pytest.raises(Refused, match="already"):
        revoked(scene)


def test_a_release_that_another_key_signed_too_goes_on_with_that_signature(scene):
    plan = an_approved(scene)
    second = trusted()
    signed_again(second)
    changed_in_the_database(
        scene,
        signed_by=TrustKey.objects.get(key_id=scene.key.key_id),
        envelope=ReleaseSignature.objects.order_by("pk").first().envelope,
    )
    revoked(scene)
    known = release(scene)
    assert (known.state, known.signed_by.key_id) == (Release.TRUSTED, second.key_id)
    assert "release_signature_changed" in kinds(plan)
    started = launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert str(started.state) == "running"


def test_a_signature_by_a_trusted_key_brings_the_trust_back(scene):
    plan = an_approved(scene)
    revoked(scene)
    assert signed_again(trusted()).state == Release.TRUSTED
    assert "release_trusted_again" in kinds(plan)
    started = launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert str(started.state) == "running"


def test_only_an_administrator_ends_a_key(scene):
    with pytest.raises(NotAllowed):
        revoke_key(key_id=scene.key.key_id, reason="x", by=scene.mara, now=now(), via="page")
    with pytest.raises(NotFound):
        revoke_key(key_id="0" * 16, reason="x", by=scene.ada, now=now(), via="page")


# Where it is refused: at every door before the first tenant, and before each batch.


def test_fault_28_a_release_in_quarantine_is_refused_at_every_door(scene):
    drafted = a_draft(scene, external_id="drafted")
    waiting = a_draft(scene, external_id="waiting")
    approval.submit(plan_id=waiting.pk, by=scene.mara, now=now(), via="page")
    approved = an_approved(scene, external_id="approved")
    quarantined(scene)
    with pytest.raises(BadInput, match="is in quarantine"):
        a_draft(scene, external_id="new")
    doors = (
        lambda: approval.submit(plan_id=drafted.pk, by=scene.mara, now=now(), via="page"),
        lambda: approval.approve(plan_id=waiting.pk, approver=scene.aram, now=now(), via="page"),
        lambda: launch.start(plan_id=approved.pk, by=scene.olga, now=now(), via="page"),
    )
    for door in doors:
        with pytest.raises(ReleaseNotTrusted, match="is in quarantine"):
            door()


def test_fault_28_a_batch_does_not_begin_although_it_was_decided_before(scene):
    plan = a_started(scene)
    quarantined(scene)
    with pytest.raises(ReleaseNotTrusted, match="is in quarantine"):
        opened(plan)
    assert str(Batch.objects.get(plan=plan, number=1).state) == "pending"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"digest": "0" * 64}, "its signature speaks of pay@1.5.0"),
        ({"version": "1.5.1"}, "its signature speaks of pay@1.5.0"),
        ({"envelope": "{}"}, "not a signed release"),
    ],
)
def test_fault_28_a_row_that_was_changed_in_the_database_is_found_before_the_batch(
    scene, fields, words
):
    plan = a_started(scene)
    changed_in_the_database(scene, **fields)
    with pytest.raises(ReleaseNotTrusted, match=words) as refusal:
        opened(plan)
    assert refusal.value.tampered
    facts = plan_facts(fresh(plan), policy_of(current_revision(plan)), now())
    assert words in facts.release_problem


def fresh(plan: Plan) -> Plan:
    return Plan.objects.select_related("plugin", "release").get(pk=plan.pk)


# Quarantine.


def test_fault_28_what_was_tampered_with_goes_into_quarantine_by_itself(scene):
    plan = a_started(scene)
    changed_in_the_database(scene, digest="0" * 64)
    with pytest.raises(ReleaseNotTrusted):
        check_release(release_id=scene.release.pk, by=scene.rita, now=now(), via="page")
    known = release(scene)
    assert known.state == Release.QUARANTINED
    assert "found tampered with" in known.state_why
    assert "release_quarantined" in kinds(plan)


def test_fault_28_the_watch_finds_what_was_tampered_with(scene):
    a_started(scene)
    changed_in_the_database(scene, envelope=release(scene).envelope.replace("A", "B", 1))
    ReleaseWatch().tick(now(), alerts.open_ones(), fence=transaction.atomic)
    assert release(scene).state == Release.QUARANTINED


def test_a_key_that_has_run_out_is_no_tampering(scene):
    a_started(scene)
    key = TrustKey.objects.get(key_id=scene.key.key_id)
    key.not_after = now() - timedelta(minutes=1)
    key.save()
    ReleaseWatch().tick(now(), alerts.open_ones(), fence=transaction.atomic)
    assert release(scene).state == Release.TRUSTED


def test_fault_28_an_artifact_with_another_digest_is_quarantined(scene):
    same = f"sha256:{DIGEST.upper()}"
    check_artifact(release_id=scene.release.pk, digest=same, by=scene.olga, now=now(), via="api")
    other: dict[str, Any] = {"digest": "0" * 64, "now": now(), "via": "api"}
    with pytest.raises(NotAllowed):
        check_artifact(release_id=scene.release.pk, **other, by=scene.rita, quarantine=True)
    with pytest.raises(ReleaseNotTrusted, match="the artifact that was found has sha256 000000"):
        check_artifact(release_id=scene.release.pk, **other, by=scene.olga, quarantine=True)
    assert release(scene).state == Release.QUARANTINED


def test_a_person_who_names_the_wrong_file_stops_nothing(scene):
    with pytest.raises(ReleaseNotTrusted, match="Nothing was changed") as refusal:
        check_artifact(
            release_id=scene.release.pk, digest="0" * 64, by=scene.rita, now=now(), via="api"
        )
    assert (refusal.value.code, refusal.value.possible) == ("other_artifact", ("quarantine",))
    assert release(scene).state == Release.TRUSTED


def test_a_quarantine_says_who_and_why_and_twice_is_once(scene):
    quarantined(scene)
    quarantined(scene, "again")
    known = release(scene)
    assert (known.state_by, known.state_why) == (scene.olga, "the build machine was broken into")
    assert Event.objects.filter(kind="release_quarantined", stream__key="system").count() == 1
    with pytest.raises(BadInput, match="reason"):
        quarantined(scene, " ")
    with pytest.raises(NotAllowed):
        quarantine_release(
            release_id=scene.release.pk, reason="x", by=scene.rita, now=now(), via="page"
        )


def test_only_an_administrator_lifts_it_and_only_what_is_sound(scene):
    quarantined(scene)
    arguments = {"release_id": scene.release.pk, "reason": "all is well", "via": "page"}
    with pytest.raises(NotAllowed):
        lift_quarantine(by=scene.olga, now=now(), **arguments)
    changed_in_the_database(scene, digest="0" * 64)
    with pytest.raises(ReleaseNotTrusted):
        lift_quarantine(by=scene.ada, now=now(), **arguments)
    changed_in_the_database(scene, digest=DIGEST)
    assert lift_quarantine(by=scene.ada, now=now(), **arguments).state == Release.TRUSTED
    with pytest.raises(Refused, match="in no quarantine"):
        lift_quarantine(by=scene.ada, now=now(), **arguments)


def test_out_of_quarantine_a_release_of_a_revoked_key_is_still_not_trusted(scene):
    quarantined(scene)
    revoked(scene)
    assert release(scene).state == Release.QUARANTINED
    lifted = lift_quarantine(
        release_id=scene.release.pk, reason="looked at", by=scene.ada, now=now(), via="page"
    )
    assert lifted.state == Release.DISTRUSTED
    assert "was revoked" in lifted.standing


# What is under way, and what is installed.


def test_calls_under_way_end_with_the_chunk_after_a_quarantine(scene):
    plan = a_started(scene)
    batch = opened(plan)
    plan = fresh(plan)
    scope = Scope(
        plan_id=plan.pk,
        plugin_id=plan.plugin_id,
        direction="install",
        epoch=plan.epoch,
        executor="hands",
        target_version="1.5.0",
        target_digest=DIGEST,
        call_timeout=5,
        deployer="fleet",
        lease_lost=lambda: False,
        batch_id=batch.pk,
    )
    assert GoingOn(scope).is_wanted()
    quarantined(scene)
    assert not GoingOn(scope).is_wanted()


def test_a_held_batch_is_let_go_on_by_nobody_while_its_release_is_not_trusted(scene):
    plan = a_started(scene, policy=policy_text())
    batch = soaking(plan)
    quarantined(scene)
    control.hold(batch_id=batch.pk, kind=DISTRUSTED, reason="in quarantine", now=now())
    with pytest.raises(ReleaseNotTrusted, match="stays held"):
        control.release_hold(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    record = request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="untrusted", now=now(), via="page"
    )
    assert record.touched == 2


@pytest.mark.django_db(transaction=True)
def test_a_plan_under_way_is_held_and_who_runs_it_is_named(scene, settings, tmp_path):
    with WatchedFleet(settings, tmp_path, ("acorn", "birch", "cedar")) as fleet:
        plan = a_started(scene, policy=policy_text())
        batch = soaking(plan)
        running("acorn", "birch", scene=scene)
        fleet.tick()
        revoked(scene)
        fleet.tick(2)
        batch = Batch.objects.get(pk=batch.pk)
        assert (str(batch.state), batch.held_kind) == ("held", DISTRUSTED)
        assert Alert.objects.filter(plan=plan, kind=DISTRUSTED, resolved_at=None).count() == 1
        told = Alert.objects.get(kind=INSTALLED)
        assert told.payload["tenants"] == ["acorn", "birch"]
        assert "2 tenants run pay 1.5.0" in told.sentence
        running("acorn", "birch", version="1.4.2", scene=scene)
        fleet.tick()
        assert Alert.objects.get(kind=INSTALLED).resolved_at is not None


def test_an_alert_about_who_runs_it_ends_when_it_is_trusted_again(scene):
    running("acorn", scene=scene)
    quarantined(scene)
    watch = ReleaseWatch()
    watch.tick(now(), alerts.open_ones(), fence=transaction.atomic)
    watch.tick(now(), alerts.open_ones(), fence=transaction.atomic)
    assert Alert.objects.filter(kind=INSTALLED, resolved_at=None).count() == 1
    lift_quarantine(
        release_id=scene.release.pk, reason="a false alarm", by=scene.ada, now=now(), via="page"
    )
    watch.tick(now(), alerts.open_ones(), fence=nullcontext)
    assert not Alert.objects.filter(kind=INSTALLED, resolved_at=None).exists()

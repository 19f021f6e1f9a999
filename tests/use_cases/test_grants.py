"""Signed approvals: used up by what they allow, once, for exactly what was approved."""

import base64
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import CommandError, call_command
from django.db.models import F

from batches.models import Alert, Batch, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control, launch, retrying
from plans.approvals import approval, grants
from plans.approvals.grant_claims import LOOSEN, Bound, GrantClaims
from plans.approvals.grant_signing import SealedGrant, opened, seal
from plans.console_keys import public_key, signing_key
from plans.drafting import drafting
from plans.log_in.proof_of_content import content_digest
from plans.log_in.step_up import BoundProof, StepUp, StepUpRequired
from plans.models import (
    Approval,
    ApprovalRequest,
    Event,
    Grant,
    Plan,
    PlanRevision,
    PlanTenant,
    Release,
    RoleBinding,
    User,
)
from plans.openings import freezing
from plans.refusal import NotAllowed, Refused
from plans.releases.signature import new_key
from tests.builders import (
    BATCHES,
    a_draft,
    a_started,
    an_approved,
    called,
    check_invariants,
    kinds,
    policy_text,
)
from tests.builders import (
    opened as opened_batch,
)
from tests.use_cases.adjusted import change
from tests.web.api_scene import now, person

MANUAL = policy_text(batches=BATCHES, more="advance: manual")
GATED = MANUAL.replace("max_pending_minutes: 60}", "max_pending_minutes: 60, gate_roles: [gate]}")
TOTP = ("pwd", "totp")


def claims_of(grant: Grant) -> GrantClaims:
    return opened(SealedGrant(grant.payload, grant.sig, grant.kid), public_key)


def start(scene, plan, **more) -> Plan:
    return launch.start(plan_id=plan.pk, by=scene.olga, now=more.get("at") or now(), via="page")


def why_not(scene, plan, **more) -> str:
    """Return the code with which a start is refused; nothing of it may be left."""
    with pytest.raises(grants.GrantNotGood) as refused:
        start(scene, plan, **more)
    fresh = Plan.objects.get(pk=plan.pk)
    assert (str(fresh.state), fresh.started_at) == ("approved", None)
    assert not Batch.objects.filter(plan=plan).exists()
    assert not PlanTenant.objects.filter(plan=plan, reserved=True).exists()
    return refused.value.code


def resealed(grant: Grant, **changes: Any) -> None:
    """Sign the grant anew with other members, as somebody with the console's own key could."""
    key = signing_key(grants.KEY)
    body = claims_of(grant).to_json() | {"kid": key.kid} | changes
    sealed = seal(GrantClaims(**body | {"amr": tuple(body["amr"])}), key.sign)
    Grant.objects.filter(pk=grant.pk).update(payload=sealed.payload, sig=sealed.sig, kid=sealed.kid)


def last_event(plan: Plan, kind: str) -> Event:
    return Event.objects.filter(stream__key=plan.stream_key, kind=kind).latest("seq")


def test_a_start_uses_up_one_signed_approval_of_each_role(scene):
    plan = an_approved(scene)
    given = list(Grant.objects.filter(plan=plan))
    assert [grant.consumed_at for grant in given] == [None, None]
    start(scene, plan)
    used = list(Grant.objects.filter(plan=plan))
    assert {grant.op for grant in used} == {f"plan:{plan.pk}:start:r1"}
    assert all(grant.consumed_at is not None for grant in used)
    told = last_event(plan, "plan_started").payload["grants"]
    assert {one["jti"] for one in told} == {str(grant.jti) for grant in used}
    check_invariants(plan)


def test_a_grant_says_who_agreed_to_what_how_and_until_when(scene):
    plan = an_approved(scene)
    revision = drafting.current_revision(plan)
    first, second = (claims_of(grant) for grant in Grant.objects.filter(plan=plan))
    assert (first.action, first.plan_id, first.batch) == ("start", str(plan.pk), None)
    assert (first.plan_digest, first.tenants_digest, first.policy_digest) == (
        revision.plan_digest,
        revision.tenants_digest,
        revision.policy_digest,
    )
    assert first.artifact_sha256 == plan.release.digest
    assert first.requester == str(scene.mara.pk)
    assert {first.approver, second.approver} == {str(scene.aram.pk), str(scene.sona.pk)}
    assert {first.quorum, second.quorum} == {"1of2", "2of2"}
    assert first.amr == ("pwd",)
    assert first.aud == grants.audience()


def test_fault_27_a_used_approval_does_not_start_anything_again(scene):
    plan = an_approved(scene)
    start(scene, plan)
    # As if somebody put the rows back by hand.
    Batch.objects.filter(plan=plan).delete()
    PlanTenant.objects.filter(plan=plan).update(reserved=False)
    Plan.objects.filter(pk=plan.pk).update(state="approved", started_at=None, started_by=None)
    assert why_not(scene, plan) == "grant_used"


@pytest.mark.parametrize("column", ["payload", "sig"])
def test_fault_27_a_changed_approval_starts_nothing(scene, column):
    plan = an_approved(scene)
    grant = Grant.objects.filter(plan=plan)[0]
    data = bytearray(base64.b64decode(getattr(grant, column)))
    data[5] ^= 1
    Grant.objects.filter(pk=grant.pk).update(**{column: base64.b64encode(data).decode()})
    assert why_not(scene, plan) == "grant_bad_signature"
    alert = Alert.objects.get(plan=plan, kind="grant_refused")
    assert "signature does not belong" in alert.sentence


def test_fault_27_an_approval_signed_by_another_key_starts_nothing(scene):
    plan = an_approved(scene)
    Grant.objects.filter(plan=plan).update(kid="0123456789abcdef")
    assert why_not(scene, plan) == "grant_unknown_key"


def test_fault_27_a_row_without_a_signed_approval_starts_nothing(scene):
    plan = an_approved(scene)
    Grant.objects.filter(plan=plan, approver=scene.sona).delete()
    assert why_not(scene, plan) == "grant_missing"


def test_fault_27_the_approval_of_another_plan_starts_nothing(scene):
    plan = an_approved(scene, keys=["acorn"])
    other = an_approved(scene, keys=["birch"], external_id="other")
    mine = plan.approval_requests.get()
    Grant.objects.filter(plan=plan).delete()
    Grant.objects.filter(plan=other).update(plan=plan, request=mine)
    assert why_not(scene, plan) == "grant_wrong_content"


def test_fault_27_an_approval_kept_under_another_id_starts_nothing(scene):
    plan = an_approved(scene)
    first, second = Grant.objects.filter(plan=plan)
    Grant.objects.filter(pk=second.pk).update(payload=first.payload, sig=first.sig)
    assert why_not(scene, plan) == "grant_malformed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"action": LOOSEN}, "grant_wrong_action"),
        ({"action": "start_irreversible"}, "grant_wrong_action"),
        ({"aud": "upgradeconsole/another"}, "grant_wrong_audience"),
        ({"subject": ""}, "grant_wrong_content"),
        ({"batch": 1}, "grant_wrong_content"),
        ({"exp": 1_000_000_000}, "grant_expired"),
        ({"nbf": 4_000_000_000}, "grant_not_yet_valid"),
    ],
)
def test_fault_27_a_genuine_grant_for_something_else_starts_nothing(scene, changes, code):
    plan = an_approved(scene)
    resealed(Grant.objects.filter(plan=plan)[0], **changes)
    assert why_not(scene, plan) == code


def test_fault_27_tenants_that_were_swapped_after_the_approval_start_nothing(scene):
    plan = an_approved(scene, keys=["acorn", "birch"])
    other = a_draft(scene, keys=["cedar"], external_id="other")
    cedar = PlanTenant.objects.get(plan=other).tenant
    place = PlanTenant.objects.filter(plan=plan).first()
    PlanTenant.objects.filter(pk=place.pk).update(tenant=cedar)
    assert why_not(scene, plan) == "grant_wrong_content"


def test_fault_27_tenants_that_changed_batches_after_the_approval_start_nothing(scene):
    plan = an_approved(scene)
    last = PlanTenant.objects.filter(plan=plan).last()
    PlanTenant.objects.filter(pk=last.pk).update(batch_number=1, position=F("position") + 50)
    assert why_not(scene, plan) == "grant_wrong_content"


def test_fault_27_a_policy_text_that_was_changed_in_its_row_starts_nothing(scene):
    plan = an_approved(scene)
    revision = drafting.current_revision(plan)
    text = revision.policy_text.replace("error_rate: 5", "error_rate: 50")
    assert text != revision.policy_text
    PlanRevision.objects.filter(pk=revision.pk).update(policy_text=text)
    assert why_not(scene, plan) == "grant_wrong_content"


@pytest.mark.parametrize("roles", [[], ["system_admin"]])
def test_fault_27_a_request_whose_roles_were_changed_in_its_row_starts_nothing(scene, roles):
    """How many have to agree is said by the policy that was signed, not by the request."""
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    if roles:
        approval.approve(
            plan_id=plan.pk, approver=scene.aram, now=now(), via="page", step_up=StepUp(TOTP, now())
        )
    ApprovalRequest.objects.filter(plan=plan).update(
        roles=roles, closed_at=now(), outcome=Approval.APPROVED
    )
    Plan.objects.filter(pk=plan.pk).update(state="approved")
    assert why_not(scene, plan) == "grant_missing"


def test_a_plan_whose_rows_were_changed_is_not_approved_either(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    PlanTenant.objects.filter(plan=plan).update(excluded=True)
    with pytest.raises(approval.NoOpenRequest, match="changed since"):
        approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")


def test_fault_27_an_approver_who_left_does_not_count(scene):
    plan = an_approved(scene)
    User.objects.filter(pk=scene.aram.pk).update(is_active=False)
    assert why_not(scene, plan) == "approver_gone"


def test_fault_27_an_approver_whose_role_ended_does_not_count(scene):
    plan = an_approved(scene)
    RoleBinding.objects.filter(user=scene.aram).update(expires_at=now())
    assert why_not(scene, plan) == "approver_not_permitted"


def test_fault_27_an_approver_who_turns_out_to_have_edited_does_not_count(scene):
    plan = an_approved(scene)
    PlanRevision.objects.filter(plan=plan).update(author=scene.aram)
    assert why_not(scene, plan) == "approver_is_author"


def test_fault_27_one_person_for_two_roles_does_not_count(scene):
    plan = an_approved(scene)
    RoleBinding.objects.create(user=scene.aram, kind=RoleBinding.APPROVAL, role="role_admin")
    by_sona = Grant.objects.get(plan=plan, approver=scene.sona)
    resealed(by_sona, approver=str(scene.aram.pk))
    assert why_not(scene, plan) == "approver_twice"


def test_fault_27_whoever_submitted_does_not_approve(scene):
    tara = person("Tara", console="release_manager", approval="system_admin")
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=tara, now=now(), via="page")
    with pytest.raises(approval.ApproverIsAuthor, match="asked for this approval"):
        approval.approve(plan_id=plan.pk, approver=tara, now=now(), via="page")


def test_fault_27_an_edit_makes_the_signed_approvals_void(scene):
    plan = an_approved(scene)
    draft = drafting.PlanDraft(
        "pay", "1.5.0", "safe-rollout", "fleet", drafting.TenantChoice(keys=("acorn",)), "pay-7"
    )
    drafting.revise_plan(plan_id=plan.pk, draft=draft, editor=scene.mara, now=now(), via="page")
    voided = list(Grant.objects.filter(plan=plan))
    assert {grant.voided_why for grant in voided} == {"the plan was changed"}
    grant = voided[0]
    with pytest.raises(grants.GrantNotGood) as refused:
        grants.spend(grant, _bound(claims_of(grant)), op="again", now=now())
    assert refused.value.code == "grant_void"


def _bound(claims: GrantClaims) -> Bound:
    return Bound(**{name: getattr(claims, name) for name in Bound.__dataclass_fields__})


def test_a_no_makes_the_yes_before_it_void(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    approval.reject(plan_id=plan.pk, approver=scene.sona, reason="no", now=now(), via="page")
    assert Grant.objects.get(plan=plan).voided_why == "Sona rejected it"


def test_a_start_that_fails_uses_nothing_up(scene):
    running = an_approved(scene, keys=["acorn"], external_id="first")
    start(scene, running)
    plan = an_approved(scene, keys=["acorn", "birch"])
    with pytest.raises(launch.TenantsTaken):
        start(scene, plan)
    assert Grant.objects.filter(plan=plan).unused().count() == 2


def test_approvals_count_for_a_time_after_the_deadline_and_then_the_plan_expires(scene):
    plan = an_approved(scene)
    deadline = plan.approval_requests.get().deadline
    last = deadline + timedelta(minutes=240)
    expires = {grant.expires_at for grant in Grant.objects.filter(plan=plan)}
    assert all(last - timedelta(seconds=1) <= at <= last for at in expires)
    assert plan.pk not in approval.due_to_expire(last - timedelta(seconds=2))
    assert plan.pk in approval.due_to_expire(last)
    expired = approval.expire(plan_id=plan.pk, now=last)
    assert str(expired.state) == "expired"
    assert "approvals counted until" in last_event(plan, "plan_expired").sentence
    assert {grant.voided_why for grant in Grant.objects.filter(plan=plan)} == {
        "the plan has expired"
    }


def test_an_approved_plan_that_waits_for_its_window_can_be_started_then(scene):
    at = now().replace(hour=12, minute=0, second=0, microsecond=0)
    more = 'windows: [{kind: allow, from: "03:00", to: "04:00", timezone: UTC}]'
    plan = an_approved(scene, policy=policy_text(more=more), at=at)
    opens = at.replace(hour=3) + timedelta(days=1)
    with pytest.raises(launch.NotYet):
        start(scene, plan, at=at)
    assert plan.pk not in approval.due_to_expire(opens)
    assert str(start(scene, plan, at=opens + timedelta(minutes=30)).state) == "running"


def test_how_long_approvals_count_is_the_policys(scene):
    text = policy_text().replace(
        "max_pending_minutes: 60}", "max_pending_minutes: 60, start_within_minutes: 5}"
    )
    plan = an_approved(scene, policy=text)
    late = plan.approval_requests.get().deadline + timedelta(minutes=5)
    assert plan.pk in approval.due_to_expire(late)
    assert why_not(scene, plan, at=late) == "grant_expired"


def test_a_plan_approved_before_approvals_were_signed_says_what_to_do(scene):
    plan = an_approved(scene)
    Grant.objects.filter(plan=plan).delete()
    with pytest.raises(grants.GrantNotGood, match="submit it again"):
        start(scene, plan)
    assert plan.pk not in approval.due_to_expire(now() + timedelta(days=30))


def test_a_release_without_a_way_back_takes_an_approval_of_its_own(scene):
    Release.objects.update(irreversible=True)
    plan = an_approved(scene, policy=policy_text(more="rollback: {irreversible: freeze}"))
    assert {g.action for g in Grant.objects.filter(plan=plan)} == {"start_irreversible"}
    Release.objects.update(irreversible=False)
    assert why_not(scene, plan) == "grant_wrong_action"
    Release.objects.update(irreversible=True)
    assert str(start(scene, plan).state) == "running"


def test_a_loosening_uses_up_the_approvals_that_put_it_in_force(scene):
    plan = a_started(scene, policy=policy_text())
    waiting = change(scene, plan, limits={"failure_rate": 20}).waiting
    for who in (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=who, now=now(), via="page")
    used = Grant.objects.filter(request=waiting.request)
    assert {grant.op for grant in used} == {f"plan:{plan.pk}:loosen:r{waiting.revision.number}"}
    assert {claims_of(grant).action for grant in used} == {"loosen"}
    assert len(last_event(plan, "plan_adjusted").payload["grants"]) == 2


def test_fault_27_a_loosening_whose_first_approval_was_changed_is_not_in_force(scene):
    plan = a_started(scene, policy=policy_text())
    waiting = change(scene, plan, limits={"failure_rate": 20}).waiting
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    resealed(Grant.objects.get(request=waiting.request), plan_digest="e" * 64)
    with pytest.raises(grants.GrantNotGood, match="another content"):
        approval.approve(plan_id=plan.pk, approver=scene.sona, now=now(), via="page")
    assert Plan.objects.get(pk=plan.pk).revision == 1


# Acts of one person.


def promote(plan, by, **more) -> Plan:
    return control.promote(plan_id=plan.pk, by=by, now=now(), via="page", **more)


def test_a_manual_gate_takes_a_grant_for_exactly_that_batch(scene):
    plan = a_started(scene, policy=MANUAL)
    promote(plan, scene.olga)
    grant = Grant.objects.get(plan=plan, action="promote")
    claims = claims_of(grant)
    assert (claims.batch, claims.quorum, grant.op) == (1, "1of1", f"plan:{plan.pk}:promote:b1")
    assert (claims.approver, claims.requester) == (str(scene.olga.pk), str(scene.olga.pk))
    batch = Batch.objects.get(plan=plan, number=1)
    assert claims.tenants_digest == grants.keys_digest(control.tenants_of(batch))
    assert last_event(plan, "batch_promoted").payload["grants"][0]["jti"] == str(grant.jti)


def test_gate_roles_open_the_gate_instead_of_those_who_may_promote(scene):
    plan = a_started(scene, policy=GATED)
    with pytest.raises(NotAllowed, match="lets gate open this gate") as refused:
        promote(plan, scene.olga)
    assert refused.value.code == "holds_no_role"
    RoleBinding.objects.create(user=scene.mara, kind=RoleBinding.APPROVAL, role="gate")
    with pytest.raises(NotAllowed, match="You wrote or edited") as refused:
        promote(plan, scene.mara)
    assert refused.value.code == "approver_is_author"
    gina = person("Gina", approval="gate")
    promote(plan, gina)
    assert claims_of(Grant.objects.get(action="promote")).role == "gate"


def test_overriding_a_freeze_takes_a_grant_for_that_freeze(scene):
    plan = an_approved(scene)
    freeze = freezing.declare_freeze(
        name="Friday",
        reason="the shops are full",
        overriders=("release_manager",),
        by=scene.olga,
        now=now(),
        via="page",
    )
    freezing.override_freeze(
        plan_id=plan.pk, freeze_id=freeze.pk, reason="a hole", by=scene.mara, now=now(), via="page"
    )
    claims = claims_of(Grant.objects.get(plan=plan, action="override_freeze"))
    assert (claims.subject, claims.role) == (str(freeze.pk), "release_manager")


def test_leaving_quarantine_takes_a_grant_and_another_try_does_not(scene):
    plan = a_started(scene, policy=policy_text())
    batch = opened_batch(plan)
    called(batch, "failed")
    keys = control.tenants_of(batch)
    retrying.retry(plan_id=plan.pk, by=scene.olga, now=now(), via="page", tenant_keys=keys[:1])
    assert not Grant.objects.filter(action="unquarantine").exists()
    TenantUpgrade.objects.filter(plan=plan, tenant_key=keys[1]).update(
        state="rolled_back", set_aside=TenantUpgrade.QUARANTINED
    )
    retrying.retry(plan_id=plan.pk, by=scene.olga, now=now(), via="page", tenant_keys=[keys[1]])
    claims = claims_of(Grant.objects.get(action="unquarantine"))
    assert claims.tenants_digest == grants.keys_digest([keys[1]])


def test_pause_rollback_and_hold_take_no_grant(scene):
    plan = a_started(scene, policy=policy_text())
    called(opened_batch(plan))
    before = Grant.objects.count()
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    assert Grant.objects.count() == before
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"


# The second factor.


def acts_that_step_up(scene) -> dict[str, Any]:
    """Return every act that takes a second factor, each ready to be done."""
    waiting = a_draft(scene, keys=["acorn"], external_id="waiting")
    approval.submit(plan_id=waiting.pk, by=scene.mara, now=now(), via="page")
    gate = a_started(scene, policy=MANUAL, keys=["birch"], external_id="gate")
    held = an_approved(scene, keys=["cedar"], external_id="held")
    freeze = freezing.declare_freeze(
        name="Friday", reason="full", overriders=("release_manager",), by=scene.olga, now=now(),
        via="page",
    )  # fmt: skip
    return {
        "approve": lambda **how: approval.approve(plan_id=waiting.pk, approver=scene.aram, **how),
        "promote": lambda **how: control.promote(plan_id=gate.pk, by=scene.olga, **how),
        "override": lambda **how: freezing.override_freeze(
            plan_id=held.pk, freeze_id=freeze.pk, reason="a hole", by=scene.mara, **how
        ),
    }


@pytest.mark.parametrize("name", ["approve", "promote", "override"])
def test_without_a_fresh_second_factor_nothing_is_signed(scene, settings, name):
    act = acts_that_step_up(scene)[name]
    before = Grant.objects.count()
    settings.REQUIRE_MFA = True
    at = now()
    for how in (None, StepUp(("pwd",), at), StepUp(TOTP, at - timedelta(minutes=5, seconds=1))):
        with pytest.raises(StepUpRequired) as refused:
            act(now=at, via="page", step_up=how)
        assert (refused.value.status, refused.value.code) == (403, "step_up_required")
    assert Grant.objects.count() == before
    act(now=at, via="page", step_up=StepUp(TOTP, at - timedelta(minutes=4)))
    claims = claims_of(Grant.objects.latest("issued_at"))
    assert claims.amr == TOTP
    assert claims.auth_time == int((at - timedelta(minutes=4)).timestamp())


def test_a_proof_of_a_session_is_good_for_its_own_content_and_one_grant(scene, settings):
    settings.REQUIRE_MFA = True
    plan, other = an_approved(scene), a_draft(scene, external_id="pay-8")
    bound = grants.bound_by(plan, "promote", batch=1)
    proof = BoundProof(uuid.uuid4(), ("webauthn",), now())
    session = StepUp(("webauthn",), now(), {content_digest(bound): proof})
    assert grants.proof_for(session, plan, bound, now=now()) == proof
    for meant in (
        grants.bound_by(plan, "promote", batch=2),
        grants.bound_by(plan, "unquarantine", batch=1),
        grants.bound_by(other, "promote", batch=1),
    ):
        with pytest.raises(StepUpRequired) as refused:
            grants.proof_for(session, plan, meant, now=now())
        assert refused.value.about.bound == meant
    Grant.objects.filter(pk=Grant.objects.filter(plan=plan)[0].pk).update(jti=proof.jti)
    with pytest.raises(StepUpRequired):
        grants.proof_for(session, plan, bound, now=now())


def test_the_event_of_a_yes_names_its_grant_and_how_it_was_proved(scene):
    plan = an_approved(scene)
    payload = last_event(plan, "plan_approved").payload
    assert payload["jti"] == str(Grant.objects.get(plan=plan, approver=scene.sona).jti)
    assert payload["amr"] == ["pwd"]
    assert kinds(plan)[-1] == "plan_approved"


def test_the_commands_verify_grants_without_the_database(scene, tmp_path, capsys):
    plan = an_approved(scene)
    given = [grant.to_json() for grant in Grant.objects.filter(plan=plan)]
    file = tmp_path / "grants.json"
    file.write_text(json.dumps({"report": {"grants": [{"grant": one} for one in given]}}))
    call_command("grant_verify", str(file))
    assert "All 2 hold." in capsys.readouterr().out
    given[0]["sig"] = given[1]["sig"]
    file.write_text(json.dumps(given))
    with pytest.raises(CommandError, match="1 of 2"):
        call_command("grant_verify", str(file))
    assert "grant_bad_signature" in capsys.readouterr().out
    file.write_text("[]")
    with pytest.raises(CommandError, match="no approval grant"):
        call_command("grant_verify", str(file))


def test_a_public_key_from_elsewhere_verifies_them_too(scene, tmp_path, capsys):
    plan = an_approved(scene)
    grant = Grant.objects.filter(plan=plan)[0]
    file, pem = tmp_path / "grants.json", tmp_path / "key.pem"
    file.write_text(json.dumps(grant.to_json()))
    key = public_key(grant.kid)
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    call_command("grant_verify", str(file), "--public-key", str(pem), "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[0])["jti"] == str(grant.jti)
    pem.write_text(new_key().public_pem)
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("grant_verify", str(file), "--public-key", str(pem))


def test_refusals_are_refused_like_all_others():
    assert issubclass(grants.GrantNotGood, Refused)

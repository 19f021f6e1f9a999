"""Approval: two roles, two people, never the author, and void after any edit."""

from datetime import timedelta

import pytest

from plans import flags
from plans.approvals import approval
from plans.drafting import drafting
from plans.models import Approval, ApprovalRequest, Plan, RoleBinding
from plans.models.driven import NotPossibleNow
from plans.refusal import NotAllowed, Refused
from plans.releases.registering import revoke_key
from tests.builders import a_draft, an_approved, kinds
from tests.web.api_scene import now, person


def submitted(scene, **choice) -> Plan:
    plan = a_draft(scene, **choice)
    return approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")


def approve(plan, approver, **more) -> Plan:
    return approval.approve(plan_id=plan.pk, approver=approver, now=now(), via="page", **more)


def revise(scene, plan, editor=None) -> Plan:
    draft = drafting.PlanDraft(
        "pay", "1.5.0", "safe-rollout", "fleet", drafting.TenantChoice(keys=("acorn",)), "pay-7"
    )
    return drafting.revise_plan(
        plan_id=plan.pk, draft=draft, editor=editor or scene.mara, now=now(), via="page"
    )


def test_a_plan_is_approved_when_both_roles_have_agreed(scene):
    plan = submitted(scene)
    assert str(approve(plan, scene.aram).state) == "awaiting_approval"
    plan = approve(plan, scene.sona)
    assert (str(plan.state), plan.approved_at is not None) == ("approved", True)
    assert ApprovalRequest.objects.get(plan=plan).outcome == "approved"
    assert kinds(plan)[-2:] == ["approval_given", "plan_approved"]


def test_one_person_with_both_roles_counts_once(scene):
    RoleBinding.objects.create(user=scene.aram, kind=RoleBinding.APPROVAL, role="role_admin")
    plan = submitted(scene)
    approve(plan, scene.aram)
    with pytest.raises(approval.AlreadyDecided):
        approve(plan, scene.aram)
    assert str(Plan.objects.get().state) == "awaiting_approval"


def test_two_people_of_the_same_role_are_not_two_roles(scene):
    other = person("Tara", approval="system_admin")
    plan = submitted(scene)
    approve(plan, scene.aram)
    with pytest.raises(approval.HoldsNoRole, match="role_admin"):
        approve(plan, other)


def test_a_person_stands_for_the_role_that_fewer_hold(scene):
    person("Tara", approval="system_admin")
    RoleBinding.objects.create(user=scene.sona, kind=RoleBinding.APPROVAL, role="system_admin")
    approve(submitted(scene), scene.sona)
    assert Approval.objects.get().role == "role_admin"


def test_fault_27_the_author_never_approves(scene):
    RoleBinding.objects.create(user=scene.mara, kind=RoleBinding.APPROVAL, role="system_admin")
    with pytest.raises(approval.ApproverIsAuthor):
        approve(submitted(scene), scene.mara)


def test_fault_27_whoever_once_edited_the_plan_never_approves_it(scene):
    RoleBinding.objects.create(user=scene.aram, kind=RoleBinding.CONSOLE, role="release_manager")
    plan = revise(scene, a_draft(scene), editor=scene.aram)
    plan = revise(scene, plan)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    with pytest.raises(approval.ApproverIsAuthor):
        approve(plan, scene.aram)


def test_an_administrator_without_the_role_does_not_approve(scene):
    with pytest.raises(approval.HoldsNoRole):
        approve(submitted(scene), scene.ada)


def test_fault_27_a_role_that_has_expired_counts_no_more(scene):
    RoleBinding.objects.filter(user=scene.aram).update(expires_at=now() - timedelta(minutes=1))
    with pytest.raises(approval.HoldsNoRole):
        approve(submitted(scene), scene.aram)


def test_a_role_for_other_tenants_does_not_count(scene):
    RoleBinding.objects.filter(user=scene.aram).update(selector={"region": "eu"})
    with pytest.raises(approval.HoldsNoRole):
        approve(submitted(scene), scene.aram)


def test_fault_27_after_the_time_nobody_can_approve_and_the_plan_expires(scene):
    plan = submitted(scene)
    late = now() + timedelta(minutes=61)
    with pytest.raises(approval.NoOpenRequest, match="submit the plan again"):
        approval.approve(plan_id=plan.pk, approver=scene.aram, now=late, via="page")
    assert approval.due_to_expire(late) == [plan.pk]
    assert str(approval.expire(plan_id=plan.pk, now=late).state) == "expired"
    assert ApprovalRequest.objects.get().outcome == "expired"


def test_a_plan_that_was_approved_in_the_last_moment_does_not_expire(scene):
    plan = an_approved(scene)
    with pytest.raises(Refused, match="not run out"):
        approval.expire(plan_id=plan.pk, now=now() + timedelta(minutes=61))
    assert str(Plan.objects.get().state) == "approved"


@pytest.mark.parametrize("approvals", [0, 1, 2])
def test_fault_27_any_edit_makes_every_approval_void(scene, approvals):
    plan = submitted(scene)
    for approver in (scene.aram, scene.sona)[:approvals]:
        approve(plan, approver)
    plan = revise(scene, plan)
    assert (str(plan.state), plan.revision, plan.approved_at) == ("draft", 2, None)
    with pytest.raises(approval.NoOpenRequest):
        approve(plan, scene.aram)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    approve(plan, scene.aram)
    assert str(approve(plan, scene.sona).state) == "approved"


def test_an_edit_gives_the_plan_another_digest(scene):
    plan = a_draft(scene)
    before = drafting.current_revision(plan).plan_digest
    assert drafting.current_revision(revise(scene, plan)).plan_digest != before


def test_a_no_needs_a_reason_and_ends_it(scene):
    plan = submitted(scene)
    with pytest.raises(Refused, match="Say why"):
        approval.reject(plan_id=plan.pk, approver=scene.aram, reason=" ", now=now(), via="page")
    plan = approval.reject(
        plan_id=plan.pk, approver=scene.aram, reason="not on a Friday", now=now(), via="page"
    )
    assert str(plan.state) == "rejected"
    with pytest.raises(approval.NoOpenRequest):
        approve(plan, scene.sona)


def test_while_the_switch_is_off_nothing_is_submitted(scene):
    plan = a_draft(scene)
    flags.turn(name=flags.POLICY, on=False, reason="freeze", by=scene.ada, now=now(), via="page")
    with pytest.raises(Refused, match="plugin-upgrade-policy is off"):
        approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    flags.turn(name=flags.POLICY, on=True, reason="", by=scene.ada, now=now(), via="page")
    assert str(submitted(scene, external_id="pay-8").state) == "awaiting_approval"


def test_fault_28_a_release_whose_key_was_revoked_is_not_submitted(scene):
    plan = a_draft(scene)
    revoke_key(key_id=scene.key.key_id, reason="leaked", by=None, now=now(), via="command")
    with pytest.raises(Refused, match="may not be used"):
        approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")


def test_an_operator_does_not_submit(scene):
    plan = a_draft(scene)
    with pytest.raises(NotAllowed, match="release manager"):
        approval.submit(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_a_draft_is_not_approved(scene):
    with pytest.raises(approval.NoOpenRequest):
        approve(a_draft(scene), scene.aram)


def test_a_cancelled_plan_waits_for_nobody(scene):
    plan = submitted(scene)
    approval.cancel(plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page")
    assert approval.waiting_for(scene.aram, now=now()) == []
    with pytest.raises(NotPossibleNow, match="cancelled"):
        approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")


def test_the_inbox_shows_a_request_to_those_who_can_still_decide(scene):
    plan = submitted(scene)
    waiting = [scene.aram, scene.sona, scene.mara, scene.nils]
    assert [bool(approval.waiting_for(one, now=now())) for one in waiting] == [
        True,
        True,
        False,
        False,
    ]
    approve(plan, scene.aram)
    assert approval.waiting_for(scene.aram, now=now()) == []

"""Glass is broken loudly: one act without the approvers, told to all, reviewed by somebody else."""

from datetime import timedelta
from typing import Any

import pytest

from batches.alerting import alerts
from batches.break_glass.acting_alone import act_now, break_glass, could_have_agreed
from batches.break_glass.review import review, tell_overdue
from batches.models import Alert, Batch
from batches.rollout import control
from batches.watch.chores import CHORES
from plans import flags
from plans.approvals import approval
from plans.approvals.break_glass_reviewers import to_review
from plans.approvals.grant_signing import SealedGrant, opened
from plans.console_keys import public_key
from plans.log_in.step_up import StepUp, StepUpRequired
from plans.models import (
    Adjustment,
    ApprovalRequest,
    BreakGlass,
    Event,
    Grant,
    Plan,
    RoleBinding,
    User,
)
from plans.openings import freezing
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from reports.telling.announcing import announce
from reports.telling.notifications import message_for
from tests.builders import (
    BATCHES,
    a_draft,
    a_started,
    an_approved,
    check_invariants,
    kinds,
    policy_text,
)
from tests.use_cases.adjusted import change
from tests.web.api_scene import now, person

WHY = "the hole is being used right now"
GATED = policy_text(batches=BATCHES, more="advance: manual").replace(
    "max_pending_minutes: 60}", "max_pending_minutes: 60, gate_roles: [gate]}"
)


@pytest.fixture
def bo(scene) -> User:
    """Return somebody who may break glass, and view."""
    made = person("Bo", console="operator")
    RoleBinding.objects.create(user=made, kind=RoleBinding.CONSOLE, role="break_glass")
    return made


def handed_in(scene, **choice) -> Plan:
    plan = a_draft(scene, **choice)
    return approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")


def break_it(plan, by, act="start", **more: Any) -> BreakGlass:
    options: dict[str, Any] = {"reason": WHY, "now": now(), "via": "page"} | more
    return break_glass(plan_id=plan.pk, act=act, by=by, **options)


def state_of(plan) -> str:
    return str(Plan.objects.get(pk=plan.pk).state)


def events(plan, kind) -> list[Event]:
    rows = Event.objects.filter(kind=kind, stream__key__in=(plan.stream_key, "system"))
    return list(rows.order_by("stream__key"))


def test_a_plan_starts_without_its_approvers(scene, bo):
    plan = handed_in(scene)
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    broken = break_it(plan, bo)
    assert state_of(plan) == "running"
    assert ApprovalRequest.objects.get(plan=plan).outcome == "broken_glass"
    assert Grant.objects.get(plan=plan, approver=scene.aram).voided_at is not None
    grant = broken.grant
    claims = opened(SealedGrant(grant.payload, grant.sig, grant.kid), public_key)
    assert (claims.action, claims.quorum, claims.approver) == (
        "break_glass_start",
        "0of2",
        str(bo.pk),
    )
    assert claims.subject.startswith("reason sha256:")
    assert Grant.objects.get(pk=grant.pk).op == f"plan:{plan.pk}:start:r1"
    assert kinds(plan)[-3:] == ["plan_started", "alert_firing", "glass_broken"]
    check_invariants(plan)


def test_everybody_who_could_have_agreed_is_told_and_nobody_else(scene, bo):
    plan = handed_in(scene)
    tara = person("Tara", approval="system_admin")
    person("Gone", approval="system_admin", is_active=False)
    RoleBinding.objects.create(user=scene.mara, kind=RoleBinding.APPROVAL, role="role_admin")
    broken = break_it(plan, bo)
    assert set(broken.told) == {str(one.pk) for one in (scene.aram, scene.sona, tara)}
    alert = Alert.objects.get(plan=plan, kind="break_glass")
    made = announce(alert=alert, status="firing", now=now())
    mails = {d.target: message_for(d) for d in made.deliveries.filter(channel="mail")}
    assert {"aram@example.org", "sona@example.org", "tara@example.org"} <= set(mails)
    assert "gone@example.org" not in mails
    body = mails["aram@example.org"].body
    assert WHY in body
    assert "you could have agreed to this" in body
    told = events(plan, "glass_broken")
    assert [one.stream.key for one in told] == [plan.stream_key, "system"]
    assert "GLASS BROKEN: Bo started the plan" in told[0].sentence
    assert WHY in told[0].sentence


def test_where_nobody_could_have_agreed_the_reviewers_are_told(scene, bo):
    plan = handed_in(scene)
    RoleBinding.objects.filter(kind=RoleBinding.APPROVAL).delete()
    break_it(plan, bo)
    made = announce(alert=Alert.objects.get(kind="break_glass"), status="firing", now=now())
    targets = set(made.deliveries.filter(channel="mail").values_list("target", flat=True))
    assert {"rita@example.org", "ada@example.org"} <= targets


def test_it_takes_a_right_of_its_own(scene):
    plan = handed_in(scene)
    for who in (scene.olga, scene.mara, scene.ada, scene.aram, scene.rita, scene.nils):
        with pytest.raises(NotAllowed, match="act without the approvers"):
            break_it(plan, who)
    assert state_of(plan) == "awaiting_approval"


def test_it_takes_a_right_over_all_tenants(scene):
    bo = person("Bo")
    RoleBinding.objects.create(
        user=bo, kind=RoleBinding.CONSOLE, role="break_glass", selector={"region": "eu"}
    )
    plan = handed_in(scene, keys=["acorn", "cedar"])
    with pytest.raises(NotAllowed):
        break_it(plan, bo)


def test_it_takes_a_fresh_second_factor(scene, bo, settings):
    plan = handed_in(scene)
    settings.REQUIRE_MFA = True
    at = now()
    for how in (None, StepUp(("pwd",), at), StepUp(("totp",), at - timedelta(minutes=6))):
        with pytest.raises(StepUpRequired):
            break_it(plan, bo, now=at, step_up=how)
    assert state_of(plan) == "awaiting_approval"
    broken = break_it(plan, bo, now=at, step_up=StepUp(("totp",), at))
    assert broken.grant.methods == ["totp"]


@pytest.mark.parametrize("reason", ["", "   ", "urgent", "x" * 19, "a        b        c     d"])
def test_it_takes_a_reason_of_twenty_characters(scene, bo, reason):
    plan = handed_in(scene)
    with pytest.raises(BadInput, match="at least 20 characters"):
        break_it(plan, bo, reason=reason)
    assert state_of(plan) == "awaiting_approval"
    assert not BreakGlass.objects.exists()


def test_another_act_is_refused_by_name(scene, bo):
    with pytest.raises(BadInput, match="start, promote, loosen"):
        break_it(handed_in(scene), bo, act="rollback")


def test_only_the_approvers_are_passed_over(scene, bo):
    plan = handed_in(scene)
    freezing.declare_freeze(name="Friday", reason="full", by=scene.olga, now=now(), via="page")
    with pytest.raises(Refused, match="Frozen by 'Friday'"):
        break_it(plan, bo)
    assert state_of(plan) == "awaiting_approval"
    assert not Grant.objects.filter(plan=plan).exists()
    assert ApprovalRequest.objects.get(plan=plan).closed_at is None


def test_while_the_orchestrator_is_off_glass_starts_nothing(scene, bo):
    plan = handed_in(scene)
    flags.turn(name=flags.ORCHESTRATOR, on=False, reason="x", by=scene.ada, now=now(), via="page")
    with pytest.raises(Refused, match="is off"):
        break_it(plan, bo)


@pytest.mark.parametrize("stage", ["draft", "running"])
def test_only_a_plan_that_was_handed_in_is_started(scene, bo, stage):
    plan = a_draft(scene) if stage == "draft" else a_started(scene)
    with pytest.raises(Refused, match="only a plan that was handed in"):
        break_it(plan, bo)
    with pytest.raises(Refused, match="only a plan that was handed in"):
        act_now(plan, "start", by=bo, now=now())


def test_an_approved_plan_whose_approvals_do_not_count_any_more_is_started(scene, bo):
    plan = an_approved(scene)
    User.objects.filter(pk=scene.aram.pk).update(is_active=False)
    break_it(plan, bo)
    assert state_of(plan) == "running"
    assert not Grant.objects.filter(plan=plan).unused().exists()


def test_a_gate_is_opened_without_its_roles(scene, bo):
    gina = person("Gina", approval="gate")
    plan = a_started(scene, policy=GATED)
    with pytest.raises(NotAllowed):
        control.promote(plan_id=plan.pk, by=bo, now=now(), via="page")
    broken = break_it(plan, bo, act="promote", batch_number=1)
    assert (broken.batch, broken.roles, broken.told) == (1, ["gate"], [str(gina.pk)])
    assert Batch.objects.get(plan=plan, number=1).promoted_by == bo
    with pytest.raises(Refused, match="has promoted batch 1"):
        break_it(plan, bo, act="promote", batch_number=1)


def test_a_loosening_is_in_force_without_its_approvers(scene, bo):
    plan = a_started(scene, policy=policy_text())
    with pytest.raises(Refused, match="No loosening waits"):
        break_it(plan, bo, act="loosen")
    waiting = change(scene, plan, limits={"failure_rate": 20}).waiting
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    foreseen = act_now(plan, "loosen", by=bo, now=now())
    assert "failure" in foreseen.sentence
    break_it(plan, bo, act="loosen")
    applied = Adjustment.objects.get(pk=waiting.pk)
    assert (applied.state, applied.applied_at is not None) == ("applied", True)
    assert Plan.objects.get(pk=plan.pk).revision == waiting.revision.number
    adjusted = events(plan, "plan_adjusted")[0]
    assert "WITHOUT THE APPROVERS by Bo" in adjusted.sentence
    check_invariants(plan)


def test_before_the_act_it_is_said_to_whom_and_past_whom(scene, bo):
    plan = handed_in(scene)
    foreseen = act_now(plan, "start", by=bo, now=now())
    assert foreseen.roles == ("system_admin", "role_admin")
    assert set(foreseen.told) == {"Aram", "Sona"}
    assert "6 tenants" in foreseen.sentence


# The review.


def reviewed(broken, by, verdict="justified", comment="It was right.", at=None) -> BreakGlass:
    return review(
        break_glass_id=broken.pk,
        by=by,
        verdict=verdict,
        comment=comment,
        now=at or now(),
        via="page",
    )


def test_somebody_else_reviews_it_and_the_alert_ends_with_that(scene, bo):
    plan = handed_in(scene)
    broken = break_it(plan, bo)
    alerts.resolve_all(plan=plan, now=now())
    assert Alert.objects.get(kind="break_glass").resolved_at is None
    done = reviewed(broken, scene.rita, "not_justified", "Aram could be reached.")
    assert (done.reviewed_by, done.verdict) == (scene.rita, "not_justified")
    assert Alert.objects.get(kind="break_glass").resolved_at is not None
    told = events(plan, "glass_reviewed")
    assert len(told) == 2
    assert "not justified. Aram could be reached." in told[0].sentence
    with pytest.raises(Refused, match="Rita has reviewed this"):
        reviewed(broken, scene.aram)


def test_who_may_review(scene, bo):
    plan = handed_in(scene)
    broken = break_it(plan, bo)
    at = now()
    inbox = {who.name for who in User.objects.all() if to_review(who, now=at)}
    assert inbox == {"Aram", "Sona", "Rita", "Ada"}
    for who in (bo, scene.mara, scene.olga, scene.nils):
        with pytest.raises(NotAllowed):
            reviewed(broken, who)
    # Also with the role: nobody reviews what they did, or what they wrote.
    for who in (bo, scene.mara):
        RoleBinding.objects.create(user=who, kind=RoleBinding.APPROVAL, role="system_admin")
        with pytest.raises(NotAllowed, match="somebody else reviews it"):
            reviewed(broken, who)
    assert str(reviewed(broken, scene.aram).verdict) == "justified"


@pytest.mark.parametrize(
    ("verdict", "comment", "why"),
    [("fine", "ok", "verdict: write one of"), ("justified", " ", "comment")],
)
def test_a_review_says_what_was_found(scene, bo, verdict, comment, why):
    broken = break_it(handed_in(scene), bo)
    with pytest.raises(BadInput, match=why):
        reviewed(broken, scene.rita, verdict, comment)


def test_what_is_not_there_cannot_be_reviewed(scene, bo):
    broken = break_it(handed_in(scene), bo)
    BreakGlass.objects.all().delete()
    with pytest.raises(NotFound):
        reviewed(broken, scene.rita)


def test_a_review_that_is_overdue_is_an_alert_until_it_is_done(scene, bo):
    plan = handed_in(scene)
    broken = break_it(plan, bo)
    due = broken.review_due
    assert due - broken.at == timedelta(hours=24)
    tell_overdue(due - timedelta(seconds=1))
    assert not Alert.objects.filter(kind="break_glass_review_overdue").exists()
    for _twice in range(2):
        tell_overdue(due)
    alert = Alert.objects.get(kind="break_glass_review_overdue")
    made = announce(alert=alert, status="firing", now=due)
    targets = set(made.deliveries.filter(channel="mail").values_list("target", flat=True))
    assert {"aram@example.org", "sona@example.org", "rita@example.org"} <= targets
    assert "bo@example.org" not in targets
    reviewed(broken, scene.sona, at=due + timedelta(hours=1))
    assert Alert.objects.get(pk=alert.pk).resolved_at is not None
    assert "Sona reviewed late what Bo did" in events(plan, "glass_reviewed")[0].sentence
    tell_overdue(due + timedelta(hours=2))
    assert Alert.objects.filter(kind="break_glass_review_overdue").count() == 1


def test_the_watch_looks_for_overdue_reviews(scene):
    assert CHORES["break-glass reviews"] is tell_overdue


def test_nobody_who_wrote_it_could_have_agreed(scene, bo):
    plan = handed_in(scene)
    could = could_have_agreed(plan, ["system_admin"], scene.aram, now())
    assert could == []

"""The approval panel, the acts beside it, and the inbox."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from batches.models import Rollback
from batches.rollout import planning
from plans.approvals import approval
from plans.approvals.approval import expire
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Plan, Release, RoleBinding
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release
from tests.web.api_scene import POLICY_TEXT, Scene, configure, now, person
from tests.web.page_scene import browser, draft, said, state_of, submitted, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def act(client: Client, plan: Plan, name: str, **fields: str):
    page = reverse("live-plan", args=[plan.pk])
    url = reverse(f"plan-{name}", args=[plan.pk])
    return client.post(url, fields, follow=True, HTTP_REFERER=page)


def digest_of(plan: Plan) -> str:
    return plan.approval_requests.get(closed_at=None).plan_digest


def page_of(client: Client, plan: Plan) -> str:
    return text_of(client.get(reverse("live-plan", args=[plan.pk])))


def test_two_people_approve_and_the_last_one_hears_that_it_is_approved(scene):
    plan = submitted(scene)
    digest = digest_of(plan)
    first = act(browser(scene.aram), plan, "approve", digest=digest, comment="Looks right")
    assert "Your approval counts." in said(first)
    last = act(browser(scene.sona), plan, "approve", digest=digest)
    assert "The plan is approved." in said(last)
    assert state_of(plan) == "approved"
    assert "Looks right" in page_of(browser(scene.olga), plan)


def test_an_approval_counts_only_for_the_content_that_was_seen(scene):
    plan = submitted(scene)
    seen = digest_of(plan)
    revise(scene, plan, tenants=TenantChoice(keys=("acorn",)))
    planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    answer = act(browser(scene.aram), plan, "approve", digest=seen)
    assert "The plan has changed since you looked" in said(answer)
    assert not plan.approval_requests.get(closed_at=None).approvals.exists()


def revise(scene: Scene, plan: Plan, **fields: Any) -> None:
    values: dict[str, Any] = {
        "plugin": "pay",
        "to_version": "1.5.0",
        "policy": "safe-rollout",
        "deployer": "fleet",
        "tenants": TenantChoice(all=True),
    }
    planning.revise_plan(
        plan_id=plan.pk,
        draft=PlanDraft(**values | fields),
        editor=scene.mara,
        now=now(),
        via="page",
    )


def test_rejecting_needs_a_reason_and_shows_it_to_the_author(scene):
    plan = submitted(scene)
    aram = browser(scene.aram)
    assert "Say why" in said(act(aram, plan, "reject", digest=digest_of(plan), reason=" "))
    act(aram, plan, "reject", digest=digest_of(plan), reason="Not before the audit")
    assert state_of(plan) == "rejected"
    shown = page_of(browser(scene.mara), plan)
    assert "Not before the audit" in shown
    assert "Rejected by Aram" in shown
    assert f"{reverse('plan-new')}?from={plan.pk}" in shown


def test_deciding_twice_is_refused_with_a_sentence(scene):
    plan = submitted(scene)
    aram = browser(scene.aram)
    act(aram, plan, "approve", digest=digest_of(plan))
    again = act(aram, plan, "approve", digest=digest_of(plan))
    assert "already given your verdict" in text_of(again)
    assert plan.approval_requests.get().approvals.count() == 1


def test_who_cannot_decide_reads_why_and_sees_no_form(scene):
    plan = submitted(scene)
    form = reverse("plan-approve", args=[plan.pk])
    for reader, why in ((scene.mara, "You wrote or edited this plan"), (scene.olga, "do not hold")):
        shown = page_of(browser(reader), plan)
        assert why in shown
        assert form not in shown
    assert form in page_of(browser(scene.sona), plan)


def test_the_author_cannot_approve_by_posting_either(scene):
    plan = submitted(scene)
    answer = act(browser(scene.mara), plan, "approve", digest=digest_of(plan))
    assert answer.status_code == 403
    assert not plan.approval_requests.get().approvals.exists()


@pytest.mark.parametrize("name", ["approve", "reject", "cancel", "archive"])
def test_every_act_is_a_post_on_a_plan_that_one_may_see(scene, name):
    plan = submitted(scene)
    url = reverse(f"plan-{name}", args=[plan.pk])
    assert browser(scene.aram).get(url).status_code == 405
    assert browser(scene.nils).post(url).status_code == 404
    assert Client().post(url).status_code == 302
    assert state_of(plan) == "awaiting_approval"


def test_a_draft_is_cancelled_then_archived(scene):
    plan = draft(scene)
    mara = browser(scene.mara)
    assert "cancelled" in said(act(mara, plan, "cancel", reason="Other plan"))
    assert "archived" in said(act(mara, plan, "archive"))
    assert state_of(plan) == "archived"
    assert "winter" not in text_of(mara.get("/plans/"))
    assert "winter" in text_of(mara.get("/plans/?state=archived"))


def test_an_operator_may_not_cancel(scene):
    plan = draft(scene)
    assert act(browser(scene.olga), plan, "cancel").status_code == 403


def test_the_approvers_see_what_changed_since_they_were_asked(scene):
    plan = submitted(scene, note="First words")
    other = POLICY_TEXT.replace("percentage: 34", "percentage: 40").replace(
        "percentage: 66", "percentage: 60"
    )
    save_policy_text(text=other, source="test", by=None, now=now(), via="command")
    register_release(envelope=scene.envelope("pay", "1.6.0"), by=None, now=now(), via="command")
    revise(scene, plan, to_version="1.6.0", tenants=TenantChoice(labels={"region": "eu"}))
    planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    shown = page_of(browser(scene.aram), plan)
    assert "Changes since revision 1, which was submitted" in shown
    assert '<del class="muted">pay 1.5.0</del>' in shown
    assert "pay 1.6.0</ins>" in shown
    assert '<li class="is-removed">- - {name: canary, percentage: 34' in shown
    assert '<li class="is-added">+ - {name: canary, percentage: 40' in shown
    assert "Tenants removed" in shown
    assert '<p class="mono">cedar</p>' in shown


def test_a_first_request_has_nothing_to_compare_with(scene):
    assert "Changes since" not in page_of(browser(scene.aram), submitted(scene))


def test_the_inbox_holds_enough_to_decide(scene):
    plan = submitted(scene, note="Read me")
    shown = text_of(browser(scene.aram).get("/approvals/"))
    for words in ("winter", "pay", "1.5.0", "3 in 2 batches", "safe-rollout", "62 s of 120 s"):
        assert words in shown
    assert "Read me" in shown
    assert reverse("live-plan", args=[plan.pk]) in shown


def taken_back(plan: Plan) -> None:
    """Let the plan be one that the console had to take back."""
    Rollback.objects.create(
        plan=plan,
        scope="plan",
        trigger="breach",
        via="watch",
        reason="error_rate 9 % is over its limit",
        triggered_at=now(),
        clock_from=now(),
        deadline=now(),
        finished_at=now(),
        touched=2,
    )


def test_whoever_decides_sees_what_to_weigh_here_and_in_the_inbox(scene):
    taken_back(submitted(scene, "autumn"))
    plan = submitted(scene, note="Why now")
    told = (
        "1.5.0 was taken back before, from 2 tenants of autumn: The console rolled back the plan:"
        " error_rate 9 % is over its limit."
    )
    page = page_of(browser(scene.aram), plan)
    assert told in page
    assert "3: 1 first, then 2; soaks 2 min in all" in page
    assert page.count("Why now") == 1
    assert told in text_of(browser(scene.aram).get("/approvals/"))


def test_a_plan_without_a_risk_says_what_was_looked_at(scene):
    plan = submitted(scene)
    # Which version its tenants run is not known here; that is said above.
    assert plan.old_versions
    page = page_of(browser(scene.olga), plan)
    assert (
        "Besides what is said above, nothing stands out. Looked at: whether the release is trusted"
        in page
    )
    Plan.objects.update(old_versions=[])
    assert "> <span>Nothing stands out. Looked at" in page_of(browser(scene.olga), plan)


def test_a_plan_that_expired_says_why_and_what_to_do(scene):
    plan = submitted(scene)
    later = now() + timedelta(days=30)
    expire(plan_id=plan.pk, now=later)
    page = page_of(browser(scene.mara), plan)
    assert "not everybody had approved by" in page
    assert "<em>Plan again</em> asks anew" in page
    assert "It was not approved" in page_of(browser(scene.rita), plan)


def test_a_plan_that_was_taken_back_twice_is_told_once_by_what_began_it(scene):
    autumn = submitted(scene, "autumn")
    taken_back(autumn)
    first = Rollback.objects.get()
    later = first.triggered_at + timedelta(minutes=5)
    Rollback.objects.create(
        plan=autumn,
        scope="plan",
        trigger="retry",
        reason="another try",
        triggered_at=later,
        clock_from=later,
        deadline=later,
        finished_at=later,
        touched=1,
    )
    page = page_of(browser(scene.aram), submitted(scene))
    assert "from 2 tenants of autumn: The console rolled back" in page
    assert page.count("was taken back before") == 1


def test_a_release_in_quarantine_stands_first_here_and_in_the_inbox(scene):
    plan = submitted(scene)
    Release.objects.update(state=Release.QUARANTINED, state_why="It leaks.")

    for page in (
        page_of(browser(scene.aram), plan),
        text_of(browser(scene.aram).get("/approvals/")),
    ):
        assert (
            "Approved or not, it does not start: release 1.5.0 is in quarantine: It leaks." in page
        )
        assert "nothing stands out" not in page.lower()


def test_nobody_reads_of_a_rollback_in_a_plan_that_is_not_theirs_to_see(scene):
    taken_back(submitted(scene, "autumn", tenants=TenantChoice(keys=("cedar",))))
    plan = submitted(scene, tenants=TenantChoice(keys=("acorn", "birch")))
    few = person("Few")
    RoleBinding.objects.create(
        user=few, kind=RoleBinding.APPROVAL, role="system_admin", selector={"region": "eu"}
    )
    page = page_of(browser(few), plan)
    assert "What to weigh" in page
    assert "autumn" not in page


def test_the_inbox_is_empty_for_the_author_and_after_the_verdict(scene):
    plan = submitted(scene)
    assert not browser(scene.mara).get("/approvals/").context["waiting"]
    approval.approve(plan_id=plan.pk, approver=scene.aram, comment="Fine", now=now(), via="page")
    inbox = browser(scene.aram).get("/approvals/")
    assert not inbox.context["waiting"]
    assert [verdict.comment for verdict in inbox.context["decided"]] == ["Fine"]


def test_a_missing_deployer_does_not_hide_the_inbox(scene, settings):
    submitted(scene)
    settings.DEPLOYERS_FILE.write_text("deployers:\n  other: {kind: simulated}\n")
    answer = browser(scene.aram).get("/approvals/")
    assert "there is no deployer" in text_of(answer)


def test_a_stranger_has_no_inbox(scene):
    assert browser(scene.nils).get("/approvals/").status_code == 403
    assert browser(scene.aram).post("/approvals/").status_code == 405

"""The page that changes a running plan, its preview, and who decides about a loosening where."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from batches.pages.adjust_forms import AdjustForm
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Adjustment, Plan
from tests.live.live_scene import upgraded
from tests.use_cases.adjusted import change, looked, read_back
from tests.web.api_scene import Scene, configure, handed_in, now
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings: Any, tmp_path: Any) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def plan(scene: Scene) -> Plan:
    return upgraded(scene)


def values(plan: Plan, **changes: Any) -> dict[str, Any]:
    """Return the form as the page shows it, with these changes."""
    form = AdjustForm(plan)
    shown = {name: form[name].value() for name in form.fields}
    shown["split"] = "on"
    return {name: "" if value is None else value for name, value in (shown | changes).items()}


def sent(client: Client, plan: Plan, name: str = "plan-adjust", **changes: Any) -> Any:
    given = values(plan, **({"reason": "OPS-7", "act": "apply"} | changes))
    return client.post(reverse(name, args=[plan.pk]), given, follow=True)


def live(client: Client, plan: Plan) -> str:
    return text_of(client.get(reverse("live-plan", args=[plan.pk])))


def policy_now() -> Any:
    return policy_of(current_revision(Plan.objects.get()))


def test_the_page_shows_the_values_and_the_live_page_leads_to_it(scene, plan):
    mara = browser(scene.mara)
    assert reverse("plan-adjust", args=[plan.pk]) in live(mara, plan)
    page = text_of(mara.get(reverse("plan-adjust", args=[plan.pk])))
    assert "error_rate" in page
    assert "at most 5 %" in page
    assert "has begun" in page
    assert 'name="batch_1_percentage"' in page
    assert 'name="batch_0_percentage"' not in page


def test_what_is_tighter_is_in_force_and_said_so(scene, plan):
    answer = sent(browser(scene.mara), plan, rail_0_number="2", batch_1_soak_minutes="2")
    assert "In force from the next look on." in said(answer)
    assert policy_now().guardrails[0].at_most == 2
    assert policy_now().batches[1].soak_seconds == 120
    assert Plan.objects.get().revision == 2


def test_a_text_can_be_edited_as_a_whole(scene, plan):
    text = current_revision(plan).policy_text.replace("error_rate: 5", "error_rate: 4")
    sent(browser(scene.mara), plan, text=text.replace("\n", "\r\n"))
    assert policy_now().guardrails[0].at_most == 4


def test_values_and_text_together_are_refused(scene, plan):
    text = current_revision(plan).policy_text.replace("error_rate: 5", "error_rate: 4")
    answer = sent(browser(scene.mara), plan, text=text, rail_0_number="2")
    assert "not both" in text_of(answer)
    assert Plan.objects.get().revision == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reason": ""}, "This field is required"),
        ({}, "nothing would change"),
        ({"rail_0_number": "many"}, "Enter a number"),
        ({"limit_rollback_seconds": "500"}, "limits.rollback_seconds"),
        ({"rail_0_number": "2", "ends": "60"}, "only a loosening ends by itself"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_changes(scene, plan, changes, named):
    assert named in text_of(sent(browser(scene.mara), plan, **changes))
    assert Plan.objects.get().revision == 1


def test_the_preview_warns_of_a_rollback_at_the_next_look(scene, plan):
    read_back(plan)
    looked(plan, 3, 3, 3, end=now() + timedelta(seconds=20))
    answer = sent(browser(scene.mara), plan, "plan-adjust-preview", rail_0_number="2", reason="")
    page = text_of(answer)
    assert "This would roll the plan back at the next look" in page
    assert "3 of the last 3 looks would have failed" in page
    assert Plan.objects.get().revision == 1


def test_the_preview_waits_for_a_change_and_works_without_scripts(scene, plan):
    mara = browser(scene.mara)
    assert "Change a value" in text_of(sent(mara, plan, "plan-adjust-preview"))
    page = text_of(sent(mara, plan, act="preview", rail_0_number="9"))
    assert "Waits for system_admin and role_admin" in page


@pytest.mark.parametrize("who", ["olga", "rita", "aram"])
def test_only_release_managers_see_and_use_it(scene, plan, who):
    client = browser(getattr(scene, who))
    assert reverse("plan-adjust", args=[plan.pk]) not in live(client, plan)
    assert client.get(reverse("plan-adjust", args=[plan.pk])).status_code == 403
    assert sent(client, plan, rail_0_number="2").status_code == 403
    assert sent(client, plan, "plan-adjust-preview", rail_0_number="2").status_code == 403
    assert Plan.objects.get().revision == 1


def test_a_stranger_sees_nothing_and_a_preview_is_a_post(scene, plan):
    nils = browser(scene.nils)
    assert nils.get(reverse("plan-adjust", args=[plan.pk])).status_code == 404
    mara = browser(scene.mara)
    assert mara.get(reverse("plan-adjust-preview", args=[plan.pk])).status_code == 405


def test_a_plan_that_does_not_run_leads_back_to_its_page(scene):
    waits = handed_in(scene)
    answer = browser(scene.mara).get(reverse("plan-adjust", args=[waits.pk]), follow=True)
    assert "only a running or paused one is adjusted" in said(answer)


def decide(client: Client, plan: Plan, verdict: str, **fields: str) -> Any:
    return client.post(reverse(f"plan-{verdict}", args=[plan.pk]), fields, follow=True)


def test_a_loosening_is_shown_decided_on_and_then_counted_down(scene, plan):
    sent(browser(scene.mara), plan, rail_0_number="9", ends="60")
    aram, sona = browser(scene.aram), browser(scene.sona)
    page = live(aram, plan)
    assert "A loosening waits for approval" in page
    assert "You stand for system_admin" in page
    assert "You stand for" not in live(browser(scene.olga), plan)
    inbox = text_of(aram.get(reverse("approval-inbox")))
    assert "at most 9" in inbox
    assert "1 h once it is in force" in inbox
    digest = Adjustment.objects.get().revision.plan_digest
    assert "Your approval counts." in said(decide(aram, plan, "approve", digest=digest))
    assert "You have already given your verdict" in live(aram, plan)
    answer = decide(sona, plan, "approve", digest=digest)
    assert "The change is approved and in force." in said(answer)
    assert policy_now().guardrails[0].at_most == 9
    page = live(browser(scene.olga), plan)
    assert "Loosened for" in page
    assert "data-until" in page


def test_a_loosening_is_rejected_on_the_live_page(scene, plan):
    sent(browser(scene.mara), plan, rail_0_number="9")
    digest = Adjustment.objects.get().revision.plan_digest
    answer = decide(browser(scene.aram), plan, "reject", digest=digest, reason="no")
    assert "The change is rejected" in said(answer)
    assert Adjustment.objects.get().state == "rejected"
    assert "A loosening waits" not in live(browser(scene.aram), plan)


def test_an_approval_counts_only_for_the_change_that_was_seen(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9})
    seen = Adjustment.objects.get().revision.plan_digest
    change(scene, plan, guardrails={"error_rate": 50})
    answer = decide(browser(scene.aram), plan, "approve", digest=seen)
    assert "The plan has changed since you looked" in said(answer)
    assert not Plan.objects.get().approval_requests.get(closed_at=None).approvals.exists()


def test_the_charts_draw_a_limit_over_the_time_in_which_it_held(scene, plan):
    change(scene, plan, guardrails={"error_rate": 2})
    told = browser(scene.mara).get(reverse("live-plan-charts", args=[plan.pk])).json()
    [chart] = told["charts"]
    old, new = chart["limits"]
    at = Adjustment.objects.get().applied_at
    assert (old["value"], old["from"], new["value"], new["until"]) == (5, None, 2, None)
    assert (
        old["until"] == new["from"] == at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    assert [mark["kind"] for mark in told["marks"]][-1] == "adjusted"


def test_a_limit_that_stays_is_one_line_over_all_changes(scene, plan):
    change(scene, plan, limits={"failure_rate": 3})
    told = browser(scene.mara).get(reverse("live-plan-charts", args=[plan.pk])).json()
    [limit] = told["charts"][0]["limits"]
    assert (limit["from"], limit["until"]) == (None, None)


def test_the_preview_says_what_the_evidence_test_would_do(scene, plan):
    looked(plan, 1, 2)
    text = current_revision(plan).policy_text
    changed = text.replace(
        "    rollback_thresholds",
        "    evidence: {kpis: [error_rate], action: pause}\n    rollback_thresholds",
    )
    assert changed != text
    shown = text_of(
        sent(browser(scene.mara), plan, "plan-adjust-preview", act="preview", text=changed)
    )
    assert "What the evidence test would say now" in shown
    assert "worse than x1.2 + 0.5 points" in shown
    assert "judged anew on" in shown

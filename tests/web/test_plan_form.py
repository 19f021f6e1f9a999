"""The list of plans and the form with its preview."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from plans.approvals import approval
from plans.drafting.drafting import TenantChoice, current_revision
from plans.models import Plan, RoleBinding
from plans.policies.keeping import save_policy_text
from tests.web.api_scene import POLICY_TEXT, Scene, configure, now, person
from tests.web.page_scene import browser, draft, said, submitted, text_of

pytestmark = pytest.mark.django_db

NEW = "/plans/new/"
PREVIEW = "/plans/preview/"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def mara(scene: Scene) -> Client:
    return browser(scene.mara)


def filled(**fields: str) -> dict[str, str]:
    return {
        "release": "pay@1.5.0",
        "policy": "safe-rollout",
        "deployer": "fleet",
        "tenants": "all",
    } | fields


def test_saving_makes_a_draft_of_all_tenants(mara):
    answer = mara.post(NEW, filled(act="save", external_id="winter", note="Why now"), follow=True)
    plan = Plan.objects.get(external_id="winter")
    assert (plan.state, plan.note, plan.plan_tenants.count()) == ("draft", "Why now", 3)
    assert "Saved as a draft" in said(answer)


def test_saving_and_submitting_asks_the_approvers_at_once(mara):
    answer = mara.post(NEW, filled(act="submit"), follow=True)
    assert Plan.objects.get().state == "awaiting_approval"
    assert "the approvers see it" in said(answer)


def test_a_plan_that_could_not_come_back_in_time_stays_a_draft_and_says_why(mara, settings):
    settings.DEPLOYERS_FILE.write_text(
        "deployers:\n  fleet: {kind: simulated, parallelism: 1, expected_seconds: 90}\n"
    )
    answer = mara.post(NEW, filled(act="submit"), follow=True)
    assert Plan.objects.get().state == "draft"
    assert "not submitted: The first batch is too large" in said(answer)


def test_tenants_are_chosen_by_labels_or_by_keys(mara):
    mara.post(NEW, filled(tenants="labels", labels="region=eu", external_id="by-label"))
    mara.post(NEW, filled(tenants="keys", keys="acorn, cedar", external_id="by-key"))
    chosen = {
        plan.external_id: sorted(plan.plan_tenants.values_list("tenant__key", flat=True))
        for plan in Plan.objects.all()
    }
    assert chosen == {"by-label": ["acorn", "birch"], "by-key": ["acorn", "cedar"]}


def test_what_is_wrong_stands_beside_the_form_and_nothing_is_saved(mara):
    answer = mara.post(NEW, filled(tenants="keys", keys="acorn oak elm"))
    assert "there is no tenant &#x27;oak&#x27;" in text_of(answer)
    assert "there is no tenant &#x27;elm&#x27;" in text_of(answer)
    assert not Plan.objects.exists()


@pytest.mark.parametrize("labels", ["", "region", "=eu"])
def test_labels_that_say_nothing_are_refused(mara, labels):
    answer = mara.post(NEW, filled(tenants="labels", labels=labels))
    assert answer.context["form"].errors["labels"]
    assert not Plan.objects.exists()


def test_the_preview_tells_batches_guardrails_the_way_back_and_who_approves(mara):
    shown = text_of(mara.post(PREVIEW, filled()))
    assert "canary" in shown
    assert "62 s, fits" in shown
    assert 'above 5 %: <span class="strong">the whole plan is taken back' in shown
    assert "system_admin, role_admin" in shown
    assert "Open: the policy has no windows." in shown
    assert not Plan.objects.exists()


def test_the_preview_tells_all_problems_at_once(mara):
    shown = text_of(mara.post(PREVIEW, filled(tenants="keys", keys="oak elm")))
    assert "oak" in shown
    assert "elm" in shown
    assert "cannot be planned yet" in shown


def test_an_unfinished_form_is_no_error_in_the_preview(mara):
    answer = mara.post(PREVIEW, {"release": "", "policy": "", "tenants": "all"})
    assert answer.status_code == 200
    assert "Not enough to show yet" in text_of(answer)


def test_without_scripts_the_form_previews_by_a_button(mara):
    answer = mara.post(NEW, filled(act="preview"))
    assert "62 s, fits" in text_of(answer)
    assert not Plan.objects.exists()


def test_changing_a_submitted_plan_warns_and_makes_a_new_draft(scene, mara):
    plan = submitted(scene)
    edit = reverse("plan-edit", args=[plan.pk])
    assert "Approvals given so far become void" in text_of(mara.get(edit))
    mara.post(edit, filled(tenants="keys", keys="acorn"))
    plan = Plan.objects.get()
    assert (plan.state, plan.revision, plan.external_id) == ("draft", 2, "winter")
    assert current_revision(plan).tenant_choice["keys"] == ["acorn"]


def test_a_cancelled_plan_cannot_be_changed_only_planned_again(scene, mara):
    plan = draft(scene, note="again", tenants=TenantChoice(labels={"region": "eu"}))
    approval.cancel(plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page")
    answer = mara.get(reverse("plan-edit", args=[plan.pk]), follow=True)
    assert "can no longer be changed" in said(answer)
    values = mara.get(f"{NEW}?from={plan.pk}").context["form"].initial
    assert (values["release"], values["labels"], values["note"]) == (
        "pay@1.5.0",
        "region=eu",
        "again",
    )
    assert "external_id" not in values


@pytest.mark.parametrize("name", ["olga", "aram", "rita", "nils"])
def test_only_release_managers_draft(scene, name):
    client = browser(getattr(scene, name))
    assert client.get(NEW).status_code == 403
    assert client.post(NEW, filled()).status_code == 403
    assert client.post(PREVIEW, filled()).status_code == 403
    assert not Plan.objects.exists()


def test_a_stranger_learns_nothing_of_a_plan(scene):
    plan = draft(scene)
    client = browser(scene.nils)
    assert client.get(reverse("plan-edit", args=[plan.pk])).status_code == 404
    assert client.post(reverse("plan-submit", args=[plan.pk])).status_code == 404
    assert client.get("/plans/").status_code == 403
    assert Client().get("/plans/").status_code == 302


def test_preview_and_submit_are_posts_and_the_list_is_not(scene, mara):
    plan = draft(scene)
    assert mara.get(PREVIEW).status_code == 405
    assert mara.get(reverse("plan-submit", args=[plan.pk])).status_code == 405
    assert mara.post("/plans/").status_code == 405


def test_submitting_twice_says_that_it_waits_already(scene, mara):
    plan = submitted(scene)
    page = reverse("live-plan", args=[plan.pk])
    answer = mara.post(reverse("plan-submit", args=[plan.pk]), follow=True, HTTP_REFERER=page)
    assert plan.approval_requests.count() == 1
    assert "is not possible now" in said(answer)


def test_the_list_shows_state_versions_policy_and_owner(scene, mara):
    submitted(scene, owner_name="Olga Ops")
    shown = text_of(mara.get("/"))
    for words in ("winter", "Awaiting approval", "1.5.0", "safe-rollout", "Olga Ops", "3 tenants"):
        assert words in shown


def test_the_list_is_filtered_by_state_plugin_and_text(scene, mara):
    draft(scene, "first", note="danish rounding")
    submitted(scene, "second")
    assert [line.plan.external_id for line in mara.get("/plans/?q=danish").context["lines"]] == [
        "first"
    ]
    waiting = mara.get("/plans/?state=awaiting_approval").context["lines"]
    assert [line.plan.external_id for line in waiting] == ["second"]
    assert not mara.get("/plans/?plugin=other").context["lines"]


def test_the_counts_above_the_list_are_those_of_the_states(scene, mara):
    submitted(scene, "one")
    submitted(scene, "two", tenants=TenantChoice(keys=("acorn",)))
    counts = {tile.state: tile.n for tile in mara.get("/").context["tiles"]}
    assert counts == {"live": 0, "awaiting_approval": 2, "approved": 0, "needs_hand": 0}


def test_the_list_takes_as_many_queries_for_nine_plans_as_for_one(scene, mara):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            mara.get("/")
        return len(captured)

    draft(scene, "plan-0")
    queries()
    alone = queries()
    for number in range(1, 9):
        draft(scene, f"plan-{number}")
    assert queries() == alone


def test_a_person_bound_to_a_region_sees_only_plans_inside_it(scene):
    draft(scene, "europe", tenants=TenantChoice(labels={"region": "eu"}))
    draft(scene, "world")
    eve = person("Eve")
    RoleBinding.objects.create(
        user=eve, kind=RoleBinding.CONSOLE, role="viewer", selector={"region": "eu"}
    )
    lines = browser(eve).get("/").context["lines"]
    assert [line.plan.external_id for line in lines] == ["europe"]


def previewed(client: Client) -> str:
    return text_of(client.post(PREVIEW, filled()))


def test_the_preview_says_what_the_evidence_test_compares_and_what_follows(scene, mara):
    assert "<h3>Evidence</h3>" not in previewed(mara)
    tested = POLICY_TEXT.replace(
        "    rollback", "    evidence: {kpis: [error_rate], action: rollback}\n    rollback", 1
    )
    save_policy_text(text=tested, source="test", by=None, now=now(), via="command")
    shown = previewed(mara)
    assert "<h3>Evidence</h3>" in shown
    assert "worse than x1.2 + 0.5 points" in shown
    assert "the whole plan is taken back" in shown


def steps_of(client: Client) -> dict[str, Any]:
    return {step.title: step for step in client.get("/plans/").context["steps"]}


def test_before_the_first_plan_the_list_says_what_is_missing_and_who_can_do_it(scene, settings):
    settings.BASE_DIR = settings.DICTIONARY_FILE.parent / "installed"
    shipped = settings.BASE_DIR / "config" / "deployers.yaml"
    shipped.parent.mkdir(parents=True)
    settings.DEPLOYERS_FILE = settings.DEPLOYERS_FILE.rename(shipped)
    RoleBinding.objects.filter(role="operator").update(ended_at=now())
    steps = steps_of(browser(scene.mara))
    assert {title for title, step in steps.items() if not step.done} == {
        "Say how your platform upgrades, restores and reads a tenant",
        "Let people in, and give them their roles",
        "Draft the first plan",
    }
    platform = steps["Say how your platform upgrades, restores and reads a tenant"]
    people = steps["Let people in, and give them their roles"]
    assert "still the shipped example" in platform.told
    assert (people.told, people.page) == ("Nobody is operator yet.", "")
    assert steps_of(browser(scene.ada))[people.title].page == "admin:plans_user_changelist"


def test_a_file_that_cannot_be_read_is_a_step_that_says_why(scene, settings):
    settings.DICTIONARY_FILE.write_text("{}}")
    step = steps_of(browser(scene.mara))["Say where your metrics are and what they mean"]
    assert not step.done
    assert str(settings.DICTIONARY_FILE) in step.told


def test_with_a_plan_there_are_no_first_steps(scene):
    draft(scene)
    answer = browser(scene.mara).get("/plans/")
    assert not answer.context["steps"]
    assert "Before the first plan" not in text_of(answer)

"""The question before each act: whom it is about, in the dialog and as a page, and then the act."""

from typing import Any

import pytest
from django.test import Client

from batches.models import Batch, Rollback, TenantUpgrade
from plans.models import Plan, Release, User
from tests.live.live_scene import Scene, configure, many_tenants, now, upgraded
from tests.web.api_scene import approved

pytestmark = pytest.mark.django_db
AS_SCRIPT: dict[str, Any] = {"headers": {"accept": "application/json"}}
IN_DIALOG: dict[str, Any] = {"headers": {"x-dialog": "1"}}
ACTS = {
    "retry": "batch=1",
    "exclude": "tenant={waiting}",
    "skip": "batch=2",
    "skip-rest": "",
    "rollback": "tenant={bad}&tenant={good}",
}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    many_tenants(4)
    return Scene()


@pytest.fixture
def plan(scene) -> Plan:
    """Return a plan with a soaking batch of three, one of which is in quarantine."""
    plan = upgraded(scene)
    TenantUpgrade.objects.filter(pk=some(plan, 1)[0].pk).update(
        state="rolled_back",
        exhausted_at=now(),
        set_aside="quarantined",
        set_aside_at=now(),
        set_aside_why="503 of <the> node",
    )
    return plan


def some(plan: Plan, number: int) -> list[TenantUpgrade]:
    return list(TenantUpgrade.objects.filter(plan=plan, batch__number=number))


def asking(plan: Plan, act: str) -> str:
    bad, good, *_more = some(plan, 1)
    query = ACTS[act].format(
        waiting=some(plan, 2)[0].tenant_key, bad=bad.tenant_key, good=good.tenant_key
    )
    return f"/plans/{plan.pk}/ask/{act}/?{query}"


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("act", ACTS)
def test_each_act_is_asked_before_with_names_and_numbers(scene, plan, act):
    dialog = browser(scene.olga).get(asking(plan, act), **IN_DIALOG).content.decode()
    assert "<html" not in dialog
    assert "data-closes" in dialog
    whole = browser(scene.olga).get(asking(plan, act)).content.decode()
    assert "<html" in whole
    assert f'href="/plans/{plan.pk}/" autofocus>Cancel' in whole
    assert "tenant" in dialog


@pytest.mark.parametrize("act", ACTS)
def test_asking_changes_nothing_and_is_no_post(scene, plan, act):
    before = list(TenantUpgrade.objects.values_list("pk", "state"))
    olga = browser(scene.olga)
    olga.get(asking(plan, act))
    assert list(TenantUpgrade.objects.values_list("pk", "state")) == before
    assert olga.post(asking(plan, act)).status_code == 405


@pytest.mark.parametrize("act", ACTS)
def test_who_may_not_is_told_and_a_stranger_sees_nothing(scene, plan, act):
    rita = browser(scene.rita).get(asking(plan, act), **IN_DIALOG)
    assert (rita.status_code, "You may not" in rita.json()["sentence"]) == (403, True)
    assert browser(scene.nils).get(asking(plan, act)).status_code == 404
    assert Client().get(asking(plan, act)).status_code == 302


@pytest.mark.parametrize("act", [act for act in ACTS if act != "rollback"])
def test_a_stranger_and_an_auditor_do_nothing(scene, plan, act):
    where = f"/plans/{plan.pk}/do/{act}/"
    body = {"batch": "2", "tenant": some(plan, 2)[0].tenant_key, "reason": "x"}
    assert browser(scene.nils).post(where, body, **AS_SCRIPT).status_code == 404
    assert browser(scene.rita).post(where, body, **AS_SCRIPT).status_code == 403
    assert browser(scene.olga).get(where).status_code == 405


def test_an_act_that_does_not_exist_is_not_found(scene, plan):
    olga = browser(scene.olga)
    assert olga.get(f"/plans/{plan.pk}/ask/explode/").status_code == 404
    assert olga.post(f"/plans/{plan.pk}/do/explode/").status_code == 404


def test_what_is_not_possible_is_a_sentence(scene, plan):
    olga = browser(scene.olga)
    where = f"/plans/{plan.pk}/ask/skip/"
    begun = olga.get(f"{where}?batch=1", **IN_DIALOG)
    assert (begun.status_code, "Batch 1 is soaking" in begun.json()["sentence"]) == (409, True)
    assert olga.get(where, **IN_DIALOG).status_code == 422
    page = olga.get(f"{where}?batch=1", follow=True)
    assert "only a batch that waits can be skipped" in page.content.decode()


def test_a_release_without_a_way_back_is_not_asked_to_go_back(scene, plan):
    olga = browser(scene.olga)
    page = olga.get(f"/plans/{plan.pk}/").content.decode()
    assert "Roll this batch back" in page
    assert "Roll chosen back" in page
    assert "After it, all could be back within" in page
    Release.objects.update(irreversible=True)
    page = olga.get(f"/plans/{plan.pk}/").content.decode()
    assert "Roll this batch back" not in page
    assert "Roll chosen back" not in page
    assert "After it, all could be back within" not in page
    told = olga.get(asking(plan, "rollback"), **IN_DIALOG)
    assert (told.status_code, "stop it here" in told.json()["sentence"]) == (409, True)


def test_only_a_pause_with_a_clock_threatens_to_take_back(scene, plan):
    olga = browser(scene.olga)
    Plan.objects.update(state="paused", resume_by=now())
    assert "taken back as after any pause" in str(
        olga.get(asking(plan, "skip-rest"), **IN_DIALOG).content
    )
    Plan.objects.update(resume_by=None)
    told = str(olga.get(asking(plan, "skip-rest"), **IN_DIALOG).content)
    assert "stays paused: resume it." in told


def test_a_skip_asked_and_confirmed_can_be_brought_back(scene, plan):
    olga = browser(scene.olga)
    assert f"{len(some(plan, 2))} tenants will not be upgraded" in str(
        olga.get(asking(plan, "skip"), **IN_DIALOG).content
    )
    do = f"/plans/{plan.pk}/do/"
    refused = olga.post(f"{do}skip/", {"batch": "2"}, **AS_SCRIPT)
    assert (refused.status_code, "say why" in refused.json()["sentence"]) == (422, True)
    olga.post(f"{do}skip/", {"batch": "2", "reason": "frozen"}, **AS_SCRIPT)
    assert str(Batch.objects.get(plan=plan, number=2).state) == "skipped"
    told = olga.get(f"/plans/{plan.pk}/ask/unskip/?batch=2", **IN_DIALOG).content.decode()
    assert "in the batch&#x27;s own place" in told
    olga.post(f"{do}unskip/", {"batch": "2"})
    assert str(Batch.objects.get(plan=plan, number=2).state) == "pending"


def test_a_jump_names_what_it_skips_and_what_the_quote_says(scene):
    plan = Plan.objects.get(pk=upgraded(scene).pk)
    Batch.objects.filter(plan=plan, number=1).update(state="pending")
    TenantUpgrade.objects.filter(plan=plan).update(state="pending", touched_at=None)
    told = browser(scene.olga).get(f"/plans/{plan.pk}/ask/jump/?batch=2", **IN_DIALOG)
    text = told.content.decode()
    assert "Batch 1 with" in text
    assert "would be back within" in text


def test_the_failed_of_a_batch_are_called_again_from_its_rung(scene, plan):
    olga = browser(scene.olga)
    page = olga.get(f"/plans/{plan.pk}/").content.decode()
    assert "Call 1 failed again" in page
    olga.post(f"/plans/{plan.pk}/do/retry/", {"batch": "1"}, **AS_SCRIPT)
    assert some(plan, 1)[0].state == "pending"
    assert "Call 1 failed again" not in olga.get(f"/plans/{plan.pk}/parts/").content.decode()


def test_chosen_tenants_go_back_and_those_without_a_new_version_are_named_apart(scene, plan):
    olga = browser(scene.olga)
    told = olga.get(asking(plan, "rollback"), **IN_DIALOG).content.decode()
    assert "Roll 1 tenant back?" in told
    assert "Of those chosen, 1 tenant runs no new version" in told
    olga.post(f"/plans/{plan.pk}/rollback/", {"tenant": some(plan, 1)[1].tenant_key}, **AS_SCRIPT)
    assert Rollback.objects.get().scope == "tenants"


def test_the_newest_batch_goes_back_from_its_rung(scene, plan):
    olga = browser(scene.olga)
    told = olga.get(f"/plans/{plan.pk}/ask/rollback/?batch=1", **IN_DIALOG).content.decode()
    assert 'name="scope" value="batch"' in told
    assert "Roll this batch back" in olga.get(f"/plans/{plan.pk}/").content.decode()


def test_the_quarantine_is_shown_with_its_reason_and_its_ways_out(scene, plan):
    page = browser(scene.olga).get(f"/plans/{plan.pk}/").content.decode()
    assert "1 tenant in quarantine" in page
    assert "503 of &lt;the&gt; node" in page
    assert "Leave the chosen out" in page
    looking = browser(scene.rita).get(f"/plans/{plan.pk}/").content.decode()
    assert "1 tenant in quarantine" in looking
    assert "Leave the chosen out" not in looking
    assert 'name="tenant"' not in looking


def test_the_table_shows_the_quarantine_alone_when_asked(scene, plan):
    rows = browser(scene.olga).get(f"/plans/{plan.pk}/tenants/?state=quarantined")
    text = rows.content.decode()
    assert text.count('<th scope="row">') == 1
    assert some(plan, 1)[0].tenant_key in text


def test_an_ended_plan_offers_a_new_plan_for_those_in_quarantine(scene, plan):
    Plan.objects.filter(pk=plan.pk).update(state="completed", ended_at=now())
    mara = browser(scene.mara)
    link = f"/plans/new/?from={plan.pk}&amp;tenants=quarantined"
    assert link in mara.get(f"/plans/{plan.pk}/").content.decode()
    form = mara.get(link.replace("&amp;", "&")).content.decode()
    assert f">\n{some(plan, 1)[0].tenant_key}</textarea>" in form


def test_a_plan_that_has_not_started_offers_nothing_of_it(scene):
    plan = approved(scene)
    page = browser(scene.olga).get(f"/plans/{plan.pk}/").content.decode()
    assert "data-asks" not in page


def test_the_page_says_which_batch_it_lets_begin(scene, plan):
    Batch.objects.filter(plan=plan, number=1).update(state="passed")
    Batch.objects.filter(plan=plan, number=2).update(advance="manual")
    olga = browser(scene.olga)
    assert (
        '<input type="hidden" name="batch" value="2">'
        in olga.get(f"/plans/{plan.pk}/").content.decode()
    )
    olga.post(f"/plans/{plan.pk}/promote/", {"batch": "2"}, **AS_SCRIPT)
    again = browser(scene.mara).post(f"/plans/{plan.pk}/promote/", {"batch": "2"}, **AS_SCRIPT)
    assert "Olga has promoted batch 2" in again.json()["sentence"]

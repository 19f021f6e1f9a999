"""The pages of policies: list, text and meaning, check and save."""

import pytest
from django.test import Client

from plans.models import Policy
from plans.policies.keeping import save_policy_text
from plans.policies.newest import REHEARSALS
from tests.web.api_scene import POLICY_TEXT, Scene, configure, now
from tests.web.page_scene import browser, draft, said, text_of

pytestmark = pytest.mark.django_db

CHECK = "/policies/check/"
WRONG = """policies:
  a:
    batches:
      - {name: canary, percentage: 90, soak_minutes: 1}
    evidence: {kpis: []}
"""


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def rita(scene: Scene) -> Client:
    return browser(scene.rita)


def newer() -> str:
    return POLICY_TEXT.replace("error_rate: 5", "error_rate: 3")


def test_the_list_shows_the_newest_of_each_policy(rita):
    save_policy_text(text=newer(), source="test", by=None, now=now(), via="command")
    (line,) = rita.get("/policies/").context["rows"]
    assert line["versions"] == 2
    assert line["steps"] == "canary 34 %, rest 66 %"
    assert line["policy"].guardrails[0].at_most == 3


def test_a_policy_shows_its_text_its_meaning_and_who_uses_it(scene, rita):
    draft(scene)
    answer = rita.get("/policies/safe-rollout/")
    shown = text_of(answer)
    assert "<li>policies:</li>" in shown
    assert "error_rate above 5" in shown
    assert "system_admin and role_admin must agree, a different person for each" in shown
    assert Policy.objects.get().digest in shown
    assert answer.context["plans"] == 1


def test_an_earlier_version_is_shown_as_what_it_is(rita):
    first = Policy.objects.get().digest
    save_policy_text(text=newer(), source="test", by=None, now=now(), via="command")
    assert "This is an earlier version" in text_of(
        rita.get(f"/policies/safe-rollout/?digest={first}")
    )
    assert "This is an earlier version" not in text_of(rita.get("/policies/safe-rollout/"))


def test_the_check_tells_every_problem_with_its_line_and_saves_nothing(rita):
    answer = rita.post(CHECK, {"text": WRONG})
    assert [problem.line for problem in answer.context["problems"]] == [4, 5]
    assert 'class="is-bad" id="line-5"' in text_of(answer)
    assert Policy.objects.count() == 1


def test_a_good_text_is_told_in_words_and_only_some_may_save_it(scene, rita):
    checked = text_of(rita.post(CHECK, {"text": newer()}))
    assert "Nothing is wrong with this file." in checked
    assert 'value="save"' not in checked
    assert 'value="save"' in text_of(browser(scene.ada).post(CHECK, {"text": newer()}))
    assert Policy.objects.count() == 1


def test_an_administrator_saves_what_was_checked(scene):
    answer = browser(scene.ada).post(CHECK, {"text": newer(), "act": "save"}, follow=True)
    assert "Saved: safe-rollout." in said(answer)
    assert Policy.objects.first().created_by == scene.ada


def test_a_text_with_problems_is_not_saved_by_anybody(scene):
    browser(scene.ada).post(CHECK, {"text": WRONG, "act": "save"})
    assert Policy.objects.count() == 1


def test_others_cannot_save_by_posting_it(scene):
    answer = browser(scene.mara).post(CHECK, {"text": newer(), "act": "save"})
    assert answer.status_code == 403
    assert Policy.objects.count() == 1


def test_strangers_and_wrong_addresses_find_nothing(scene, rita):
    assert rita.get("/policies/nothing/").status_code == 404
    assert rita.post("/policies/").status_code == 405
    assert browser(scene.nils).get("/policies/").status_code == 403
    assert Client().get("/policies/").status_code == 302


def test_policies_of_rehearsals_are_shown_only_when_asked_for(rita):
    rehearsal = POLICY_TEXT.replace("safe-rollout", "rollback-drill-breach")
    save_policy_text(text=rehearsal, source=REHEARSALS, by=None, now=now(), via="watch")
    page = rita.get("/policies/")
    assert [line["row"].name for line in page.context["rows"]] == ["safe-rollout"]
    assert "show 1 of them" in text_of(page)
    everything = rita.get("/policies/?rehearsals=1")
    names = {line["row"].name: line["rehearsal"] for line in everything.context["rows"]}
    assert names == {"rollback-drill-breach": True, "safe-rollout": False}

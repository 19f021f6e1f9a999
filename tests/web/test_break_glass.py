"""Breaking glass by page, REST, and its review."""

from typing import Any

import pytest
from django.urls import reverse

from plans.models import BreakGlass, Grant, Plan, RoleBinding, User
from tests.builders import a_draft
from tests.web.api_scene import Scene, configure, handed_in, now, person, post, url
from tests.web.page_scene import browser, said, state_of, submitted, text_of

pytestmark = pytest.mark.django_db
WHY = "the hole is being used right now"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def bo(scene) -> User:
    made = person("Bo", console="operator")
    RoleBinding.objects.create(user=made, kind=RoleBinding.CONSOLE, role="break_glass")
    return made


def page(plan: Plan) -> str:
    return reverse("break-glass", args=[plan.pk])


def fields(**changes: str) -> dict[str, str]:
    return {"act": "start", "reason": WHY, "sure": "on"} | changes


def broken(bo: User, plan: Plan) -> BreakGlass:
    browser(bo).post(page(plan), fields())
    return BreakGlass.objects.get()


def test_the_page_asks_first_and_acts_on_post(scene, bo):
    plan = submitted(scene)
    asked = text_of(browser(bo).get(page(plan), {"act": "start"}))
    assert "Passed over" in asked
    assert "Aram, Sona" in asked
    assert state_of(plan) == "awaiting_approval"
    answer = browser(bo).post(page(plan), fields(), follow=True)
    assert "Done without the approvers" in said(answer)
    assert state_of(plan) == "running"
    shown = text_of(answer)
    assert "Glass broken: Bo started this plan" in shown
    assert WHY in shown


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reason": "urgent"}, "at least 20 characters"),
        ({"sure": ""}, "Say that you mean it"),
    ],
)
def test_what_is_missing_is_said_beside_it(scene, bo, changes, why):
    plan = submitted(scene)
    assert why in text_of(browser(bo).post(page(plan), fields(**changes)))
    assert state_of(plan) == "awaiting_approval"


def test_what_is_not_possible_now_is_said(scene, bo):
    plan = a_draft(scene)
    assert "only a plan that was handed in" in text_of(
        browser(bo).get(page(plan), {"act": "start"})
    )
    answer = text_of(browser(bo).post(page(plan), fields()))
    assert "only a plan that was handed in" in answer
    assert browser(bo).get(page(plan), {"act": "rollback"}).status_code == 404
    assert browser(bo).get(page(plan)).status_code == 404


def test_without_the_right_there_is_no_way_in(scene, bo):
    plan = submitted(scene)
    for who in (scene.olga, scene.mara, scene.ada):
        assert browser(who).post(page(plan), fields()).status_code == 403
        assert page(plan) not in text_of(browser(who).get(reverse("live-plan", args=[plan.pk])))
    assert browser(scene.nils).post(page(plan), fields()).status_code == 404
    assert browser(bo).put(page(plan)).status_code == 405
    assert state_of(plan) == "awaiting_approval"
    assert page(plan) in text_of(browser(bo).get(reverse("live-plan", args=[plan.pk])))


def test_without_a_second_factor_the_page_refuses(scene, bo, settings):
    plan = submitted(scene)
    settings.REQUIRE_MFA = True
    answer = browser(bo).post(page(plan), fields())
    assert answer.status_code == 403
    assert state_of(plan) == "awaiting_approval"


def test_the_review_is_in_the_inbox_and_on_its_page(scene, bo):
    plan = submitted(scene)
    act = broken(bo, plan)
    for who in (scene.aram, scene.rita):
        inbox = text_of(browser(who).get(reverse("approval-inbox")))
        assert "Done without the approvers: review it" in inbox
    assert "review it" not in text_of(browser(scene.olga).get(reverse("approval-inbox")))
    listed = reverse("break-glass-list")
    form = reverse("break-glass-review", args=[act.pk])
    assert form in text_of(browser(scene.rita).get(listed))
    assert form not in text_of(browser(bo).get(listed))
    answer = browser(scene.rita).post(
        form, {"verdict": "justified", "comment": "Yes."}, follow=True
    )
    assert "Reviewed" in said(answer)
    assert "justified" in text_of(answer)
    again = browser(scene.aram).post(form, {"verdict": "justified", "comment": "Yes."}, follow=True)
    assert "Rita has reviewed this" in said(again)


def test_a_review_is_a_post_by_somebody_else_who_may_see_it(scene, bo):
    act = broken(bo, submitted(scene))
    form = reverse("break-glass-review", args=[act.pk])
    given = {"verdict": "justified", "comment": "Yes."}
    assert browser(scene.rita).get(form).status_code == 405
    for who in (bo, scene.mara, scene.olga):
        assert browser(who).post(form, given).status_code == 403
    assert browser(scene.nils).post(form, given).status_code in {403, 404}
    assert "verdict" in said(browser(scene.rita).post(form, {"comment": "x"}, follow=True))
    assert BreakGlass.objects.get().reviewed_at is None


def test_a_stranger_sees_none_of_it(scene, bo):
    broken(bo, submitted(scene))
    assert browser(scene.nils).get(reverse("break-glass-list")).status_code == 403


# REST.


def test_rest_breaks_glass_lists_it_and_reviews_it(scene, bo):
    handed_in(scene)
    given = {"act": "start", "reason": WHY}
    answer = post(scene.client(bo), url("break-glass"), given)
    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert (made["act"], made["roles"], made["verdict"]) == (
        "start",
        ["system_admin", "role_admin"],
        "",
    )
    assert Plan.objects.get().state == "running"
    listed = scene.client(scene.rita).get("/api/v1/break-glass/").json()
    assert [one["id"] for one in listed] == [made["id"]]
    review = f"/api/v1/break-glass/{made['id']}/review"
    done = post(scene.client(scene.rita), review, {"verdict": "justified", "comment": "Yes."})
    assert (done.status_code, done.json()["reviewed_by"]) == (200, "Rita")
    again = post(scene.client(scene.aram), review, {"verdict": "justified", "comment": "Yes."})
    assert (again.status_code, again.json()["code"]) == (409, "already_reviewed")


def test_rest_refuses_what_it_does_not_allow(scene, bo):
    handed_in(scene)
    given: dict[str, Any] = {"act": "start", "reason": WHY}
    client = scene.client(bo)
    assert client.get(url("break-glass")).status_code == 405
    assert post(scene.client(scene.olga), url("break-glass"), given).status_code == 403
    assert post(scene.client(scene.nils), url("break-glass"), given).status_code == 404
    assert post(client, url("break-glass"), given | {"reason": "urgent"}).status_code == 400
    assert post(client, url("break-glass"), given | {"act": "rollback"}).status_code == 400
    assert post(client, url("break-glass"), given | {"force": True}).status_code == 400
    narrow = scene.client(bo, scopes=["operate"])
    assert post(narrow, url("break-glass"), given).status_code == 403
    assert Plan.objects.get().state == "awaiting_approval"


def test_rest_wants_the_code_where_a_second_factor_is_required(scene, bo, settings):
    handed_in(scene)
    settings.REQUIRE_MFA = True
    answer = post(scene.client(bo), url("break-glass"), {"act": "start", "reason": WHY})
    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")


def test_a_stranger_reviews_nothing_over_rest(scene, bo):
    act = broken(bo, submitted(scene))
    review = f"/api/v1/break-glass/{act.pk}/review"
    given = {"verdict": "justified", "comment": "Yes."}
    assert post(scene.client(scene.nils), review, given).status_code == 404
    assert scene.client(scene.nils).get("/api/v1/break-glass/").status_code == 403
    assert post(scene.client(bo), review, given).status_code == 403
    unknown = "/api/v1/break-glass/0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11/review"
    assert post(scene.client(scene.rita), unknown, given).status_code == 404


def test_the_grant_of_a_break_is_listed_with_the_others(scene, bo):
    plan = submitted(scene)
    act = broken(bo, plan)
    shown = scene.client(scene.rita).get(f"/api/v1/plans/{plan.pk}/grants").json()
    assert [one["jti"] for one in shown] == [str(act.grant_id)]
    assert shown[0]["action"] == "break_glass_start"
    assert Grant.objects.get().consumed_at is not None
    assert now() < act.review_due

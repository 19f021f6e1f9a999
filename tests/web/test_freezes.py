"""Freezes over REST and on pages: declare, list, lift, let a plan through; stop a plan."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from plans.models import Freeze, FreezeOverride, Plan, Release
from plans.openings.freezing import declare_freeze
from plans.policies.keeping import save_policy_text
from tests.web.api_scene import (
    POLICY_TEXT,
    Scene,
    approved,
    configure,
    handed_in,
    now,
    post,
    started,
    touched,
    url,
)
from tests.web.page_scene import browser, said, submitted, text_of

pytestmark = pytest.mark.django_db
FREEZES = "/api/v1/freezes/"
NEW = {"name": "Black Friday", "reason": "the shops are full"}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def frozen(scene: Scene, **more) -> Freeze:
    given: dict[str, Any] = NEW | {"by": scene.mara, "now": now(), "via": "page"}
    return declare_freeze(**given | more)


def lift_url(freeze: Freeze) -> str:
    return f"{FREEZES}{freeze.pk}/lift"


# REST.


def test_a_freeze_is_declared_listed_and_lifted(scene):
    olga = scene.client(scene.olga)
    ends = (now() + timedelta(hours=3)).isoformat()
    made = post(olga, FREEZES, NEW | {"ends_at": ends, "overriders": ["release_manager"]})
    assert made.status_code == 201
    assert made.json()["stage"] == "current"
    listed = olga.get(FREEZES, {"stage": "current"}).json()["results"]
    assert [row["freeze"] for row in listed] == [made.json()["freeze"]]
    assert olga.get(FREEZES, {"stage": "lifted"}).json()["results"] == []
    lifted = post(olga, lift_url(Freeze.objects.get()), {"reason": "over"})
    assert (lifted.status_code, lifted.json()["lifted_by"]) == (200, "Olga")
    again = post(olga, lift_url(Freeze.objects.get()), {"reason": "over"})
    assert (again.status_code, again.json()["code"]) == (409, "freeze_is_over")


def test_a_freeze_that_cannot_be_is_refused_with_every_problem(scene):
    wrong = {"name": "x", "reason": "y", "plugin": "nope", "overriders": ["emperor"]}
    answer = post(scene.client(scene.olga), FREEZES, wrong)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 2
    unknown = post(scene.client(scene.olga), FREEZES, NEW | {"until": "later"})
    assert unknown.status_code in {400, 422}
    assert not Freeze.objects.exists()


@pytest.mark.parametrize("who", ["rita", "aram"])
def test_who_may_not_freeze_may_look(scene, who):
    client = scene.client(getattr(scene, who))
    assert post(client, FREEZES, NEW).status_code == 403
    assert client.get(FREEZES).status_code == 200
    assert post(client, lift_url(frozen(scene)), {"reason": "x"}).status_code == 403


def test_a_stranger_sees_no_freeze(scene):
    nils = scene.client(scene.nils)
    assert nils.get(FREEZES).status_code == 403
    assert post(nils, lift_url(frozen(scene)), {"reason": "x"}).status_code == 403


def test_a_token_for_reading_declares_nothing(scene):
    client = scene.client(scene.olga, scopes=["read"])
    assert post(client, FREEZES, NEW).status_code == 403
    assert client.get(FREEZES).status_code == 200


def test_methods_and_names_that_are_not_there(scene):
    olga = scene.client(scene.olga)
    assert olga.put(FREEZES, NEW, format="json").status_code == 405
    assert olga.get(lift_url(frozen(scene))).status_code == 405
    assert post(olga, f"{FREEZES}{uuid.uuid4()}/lift", {"reason": "x"}).status_code == 404
    assert olga.get(FREEZES, {"stage": "molten"}).status_code == 400


def test_the_plan_tells_what_it_waits_for_and_who_let_it_through(scene):
    approved(scene)
    freeze = frozen(scene, overriders=["release_manager"])
    mara = scene.client(scene.mara)
    waits = mara.get(url()).json()["opening"]
    assert not waits["is_open"]
    assert [(f["name"], f["overriders"]) for f in waits["freezes"]] == [
        ("Black Friday", ["release_manager"])
    ]
    start = post(mara, url("start"))
    assert (start.status_code, start.json()["code"]) == (409, "frozen")
    given = {"freeze": str(freeze.pk), "reason": "a hole is being used"}
    assert post(scene.client(scene.olga), url("override-freeze"), given).status_code == 403
    passed = post(mara, url("override-freeze"), given)
    assert passed.status_code == 200
    assert passed.json()["opening"]["is_open"]
    assert [row["by"] for row in passed.json()["overrides"]] == ["Mara"]
    again = post(mara, url("override-freeze"), given)
    assert (again.status_code, again.json()["code"]) == (409, "already_let_through")
    assert post(mara, url("start")).status_code == 200


def test_letting_through_says_what_is_wrong(scene):
    approved(scene)
    mara = scene.client(scene.mara)
    given = {"freeze": str(uuid.uuid4()), "reason": "x"}
    assert post(mara, url("override-freeze"), given).status_code == 404
    assert post(mara, url("override-freeze"), {"reason": "x"}).status_code == 400
    assert post(scene.client(scene.nils), url("override-freeze"), given).status_code == 404
    assert mara.get(url("override-freeze")).status_code == 405


def test_a_plan_is_stopped_over_rest(scene):
    touched(started(scene))
    olga = scene.client(scene.olga)
    assert "stop" in olga.get(url()).json()["possible"]
    assert post(olga, url("stop")).status_code == 400
    assert post(scene.client(scene.rita), url("stop"), {"reason": "x"}).status_code == 403
    stopped = post(olga, url("stop"), {"reason": "enough"})
    assert (stopped.status_code, stopped.json()["state"]) == (200, "stopped")
    assert stopped.json()["stopped_at"]
    assert post(olga, url("stop"), {"reason": "enough"}).status_code == 409
    assert post(scene.client(scene.nils), url("stop"), {"reason": "x"}).status_code == 404
    assert olga.get(url("stop")).status_code == 405


def one_way(scene: Scene) -> None:
    Release.objects.update(irreversible=True)
    text = POLICY_TEXT.replace("approvals:", "    rollback: {irreversible: freeze}\napprovals:", 1)
    save_policy_text(text=text, source="test", by=None, now=now(), via="command")


def test_rest_says_that_a_release_cannot_be_taken_back(scene):
    one_way(scene)
    answer = post(
        scene.client(scene.mara),
        "/internal/version/upgrade/plan",
        {
            "external_id": "pay-7", "plugin": "pay", "to_version": "1.5.0",
            "policy": "safe-rollout", "tenants": "all", "submit": True,
        },
    )  # fmt: skip
    assert (answer.status_code, answer.json()["quote_seconds"]) == (201, None)
    for approver in (scene.aram, scene.sona):
        post(scene.client(approver), url("approve"))
    post(scene.client(scene.olga), url("start"))
    touched(Plan.objects.get())
    olga = scene.client(scene.olga)
    shown = olga.get(url()).json()
    assert shown["irreversible"]
    assert "rollback" not in shown["possible"]
    refused = post(olga, url("rollback"), {"reason": "bad"})
    assert (refused.status_code, refused.json()["code"]) == (409, "irreversible")
    assert "stop it here" in refused.json()["detail"]
    assert refused.json()["possible"] == ["pause", "stop"]
    paused = post(olga, url("pause"), {"reason": "look"})
    assert (paused.json()["state"], paused.json()["resume_by"]) == ("paused", None)


def test_a_policy_that_refuses_such_releases_refuses_it_again_at_the_start(scene):
    approved(scene)
    Release.objects.update(irreversible=True)
    answer = post(scene.client(scene.olga), url("start"))
    assert (answer.status_code, answer.json()["code"]) == (409, "irreversible")


# Pages.


def test_the_page_declares_and_lifts(scene):
    olga = browser(scene.olga)
    form = NEW | {"overriders": ["release_manager"], "labels": "region=eu", "tenants": "cedar"}
    answer = olga.post(reverse("freeze-new"), form, follow=True)
    freeze = Freeze.objects.get()
    assert "'Black Friday' is declared" in said(answer)
    assert (freeze.tenants, freeze.labels) == (["cedar"], {"region": "eu"})
    assert "cedar and tenants with region=eu" in text_of(answer)
    lifted = olga.post(reverse("freeze-lift", args=[freeze.pk]), {"reason": "over"}, follow=True)
    assert "is lifted" in said(lifted)
    assert "lifted by Olga: over" in text_of(lifted)
    again = olga.post(reverse("freeze-lift", args=[freeze.pk]), {"reason": "over"}, follow=True)
    assert "was lifted already" in said(again)


def test_the_form_says_beside_the_field_what_is_wrong(scene):
    olga = browser(scene.olga)
    wrong = NEW | {"tenants": "nobody", "labels": "eu", "ends_at": "2020-01-01T00:00"}
    answer = olga.post(reverse("freeze-new"), wrong)
    assert "is no label; write it like region=eu" in text_of(answer).replace("&#x27;", "'")
    answer = olga.post(reverse("freeze-new"), wrong | {"labels": ""})
    errors = answer.context["form"].errors
    assert set(errors) == {"tenants", "ends_at"}
    assert not Freeze.objects.exists()


@pytest.mark.parametrize("who", ["rita", "aram", "nils"])
def test_who_may_not_freeze_finds_no_form(scene, who):
    client = browser(getattr(scene, who))
    assert client.get(reverse("freeze-new")).status_code == 403
    lift = client.post(reverse("freeze-lift", args=[frozen(scene).pk]), {"reason": "x"})
    assert lift.status_code == 403
    listed = client.get(reverse("freeze-list"))
    assert listed.status_code == (403 if who == "nils" else 200)


def test_pages_refuse_wrong_methods_and_unknown_freezes(scene):
    olga = browser(scene.olga)
    assert olga.get(reverse("freeze-lift", args=[frozen(scene).pk])).status_code == 405
    assert olga.post(reverse("freeze-list")).status_code == 405
    lift = olga.post(reverse("freeze-lift", args=[uuid.uuid4()]), {"reason": "x"})
    assert lift.status_code == 404


def test_the_plan_page_shows_the_freeze_and_lets_through_who_may(scene):
    plan = approved(scene)
    freeze = frozen(scene, overriders=["release_manager"])
    page = reverse("live-plan", args=[plan.pk])
    let_through = reverse("live-plan-override-freeze", args=[plan.pk])
    shown = text_of(browser(scene.olga).get(page)).replace("&#x27;", "'")
    assert "Frozen by 'Black Friday': the shops are full" in shown
    assert "Override the freeze" not in shown
    mara = browser(scene.mara)
    assert "Override the freeze" in text_of(mara.get(page))
    given = {"freeze": str(freeze.pk), "reason": "a hole is being used"}
    answer = mara.post(let_through, given, follow=True)
    assert "was let through" in said(answer)
    assert "Freeze overridden: Mara let this plan through" in text_of(answer)
    assert FreezeOverride.objects.count() == 1
    assert mara.get(let_through).status_code == 405
    assert mara.post(let_through, {"freeze": "nonsense", "reason": "x"}).status_code == 404
    assert browser(scene.nils).post(let_through, given).status_code == 404


@pytest.mark.parametrize(("minutes", "told"), [(41.5, True), (60 * 30, False)])
def test_the_plan_page_says_how_soon_it_closes(scene, minutes, told):
    plan = approved(scene)
    frozen(scene, begins_at=now() + timedelta(minutes=minutes))
    page = text_of(browser(scene.olga).get(reverse("live-plan", args=[plan.pk])))
    assert ("The window closes in 41 minutes" in page) is told
    assert "when the freeze" in page


def test_the_page_stops_a_plan_with_a_reason(scene):
    plan = started(scene)
    touched(plan)
    stop = reverse("live-plan-stop", args=[plan.pk])
    olga = browser(scene.olga)
    assert "Stop here" in text_of(olga.get(reverse("live-plan", args=[plan.pk])))
    assert "say why" in said(olga.post(stop, {"reason": ""}, follow=True))
    answer = olga.post(stop, {"reason": "enough"}, follow=True)
    assert "Stopped here" in said(answer)
    assert "Stopped where it stood." in text_of(answer)
    assert "not possible now" in said(olga.post(stop, {"reason": "enough"}, follow=True))
    assert browser(scene.nils).post(stop, {"reason": "x"}).status_code == 404
    assert olga.get(stop).status_code == 405


def test_approvers_and_operators_read_that_there_is_no_way_back(scene):
    one_way(scene)
    plan = submitted(scene)
    inbox = text_of(browser(scene.aram).get("/approvals/"))
    assert "This release cannot be taken back." in inbox
    page = text_of(browser(scene.aram).get(reverse("live-plan", args=[plan.pk])))
    assert "Whoever agrees, agrees to that" in page
    assert "Cannot be taken back: when something goes wrong it stops" in page
    assert "Roll back…" not in page


def test_the_form_previews_windows_freezes_and_the_missing_way_back(scene):
    one_way(scene)
    frozen(scene)
    form = {
        "release": "pay@1.5.0", "policy": "safe-rollout", "deployer": "fleet", "tenants": "all",
    }  # fmt: skip
    shown = text_of(browser(scene.mara).post(reverse("plan-preview"), form))
    shown = shown.replace("&#x27;", "'")
    assert "This release cannot be taken back." in shown
    assert "Frozen by 'Black Friday': the shops are full." in shown


def test_a_reversible_plan_says_nothing_of_it(scene):
    plan = handed_in(scene)
    page = text_of(browser(scene.aram).get(reverse("live-plan", args=[plan.pk])))
    assert "cannot be taken back" not in page


def test_a_plan_is_let_through_until_a_time(scene):
    plan = approved(scene)
    freeze = frozen(scene, overriders=["release_manager"])
    let_through = reverse("live-plan-override-freeze", args=[plan.pk])
    mara = browser(scene.mara)
    assert 'type="datetime-local"' in text_of(mara.get(reverse("live-plan", args=[plan.pk])))
    given = {"freeze": str(freeze.pk), "reason": "a hole is being used"}
    for wrong in (
        "tomorrow",
        "2026-13-40T10:00",
        "2001-01-01T10:00",
        "9999-12-31T23:59-12:00",
    ):
        refused = mara.post(let_through, given | {"expires_at": wrong}, follow=True)
        assert "expires_at" in said(refused)
    assert not FreezeOverride.objects.exists()
    answer = mara.post(let_through, given | {"expires_at": "2099-06-01T10:00"}, follow=True)
    assert "was let through" in said(answer)
    assert FreezeOverride.objects.get().expires_at == datetime(2099, 6, 1, 10, tzinfo=UTC)

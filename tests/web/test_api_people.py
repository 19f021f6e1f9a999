"""REST: who asks, and resetting what somebody has lost."""

import pytest
from django.core.cache import cache
from django.test import Client

from plans.log_in.second_factors import has_factor
from plans.models import Event
from tests.web.api_scene import Scene, configure, post
from tests.web.factors import App, logged_in

pytestmark = pytest.mark.django_db
OLGAS = "/api/v1/people/olga@example.org/reset-factors"
WHY = {"reason": "Lost the phone; rang back"}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    scene = Scene()
    settings.REQUIRE_MFA = True
    return scene


def test_one_sees_who_one_is_and_what_one_lacks(scene):
    body = scene.client(scene.aram).get("/api/v1/me/").json()

    assert body["email"] == "aram@example.org"
    assert body["approval_roles"] == ["system_admin"]
    assert body["must_enrol"] is True
    assert body["step_up"] is None


def test_a_session_sees_its_step_up(scene):
    body = logged_in(scene.aram, App(scene.aram)).get("/api/v1/me/").json()

    assert body["must_enrol"] is False
    assert body["factors"] == ["recovery_codes", "totp"]
    assert body["recovery_codes_left"] == 10
    assert body["step_up"]["methods"] == ["totp"]


def test_nobody_is_nobody(scene):
    assert Client().get("/api/v1/me/").status_code == 401


def test_an_administrator_resets_with_a_code_of_their_own(scene):
    App(scene.olga)
    mine = App(scene.ada)
    client = scene.client(scene.ada)

    refused = post(client, OLGAS, WHY)
    done = post(client, OLGAS, {**WHY, "code": mine.code()})

    assert refused.status_code == 403
    assert refused.json()["code"] == "step_up_required"
    assert done.status_code == 200, done.json()
    assert sorted(done.json()["factors"]) == ["recovery_codes", "totp"]
    assert not has_factor(scene.olga)
    assert Event.objects.get(kind="factor_reset").via == "api"


def test_or_in_a_session_that_has_stepped_up(scene):
    App(scene.olga)
    ada = logged_in(scene.ada, App(scene.ada))

    answer = ada.post(OLGAS, WHY, content_type="application/json")

    assert answer.status_code == 200, answer.content
    assert not has_factor(scene.olga)


def test_a_code_counts_once_here_too(scene):
    App(scene.olga)
    App(scene.mara)
    mine = App(scene.ada)
    client, code = scene.client(scene.ada), mine.code()
    post(client, OLGAS, {**WHY, "code": code})

    again = post(client, "/api/v1/people/mara@example.org/reset-factors", {**WHY, "code": code})

    assert again.json()["code"] == "wrong_code"
    assert has_factor(scene.mara)


@pytest.mark.parametrize("who", ["olga", "rita", "nils", "mara"])
def test_nobody_else_resets_and_nobody_learns_a_name(scene, who):
    client = scene.client(getattr(scene, who))

    real = post(client, OLGAS, WHY)
    invented = post(client, "/api/v1/people/no@example.org/reset-factors", WHY)

    assert (real.status_code, invented.status_code) == (403, 403)
    assert real.json()["detail"] == invented.json()["detail"]


def test_a_narrowed_token_does_not_reset(scene):
    assert post(scene.client(scene.ada, scopes=["manage"]), OLGAS, WHY).status_code == 403


def test_whom_nobody_knows_is_not_found(scene):
    mine = App(scene.ada)
    client = scene.client(scene.ada)
    where = "/api/v1/people/no@example.org/reset-factors"

    assert post(client, where, {**WHY, "code": mine.code()}).status_code == 404


def test_only_a_post_with_a_reason_resets(scene):
    App(scene.olga)
    client = scene.client(scene.ada)

    assert client.get(OLGAS).status_code == 405
    assert post(client, OLGAS, {}).status_code == 400
    assert has_factor(scene.olga)

"""People make, see and revoke their own tokens, on the page and over REST; few see all."""

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from rest_framework.test import APIClient

from plans.models import ApiToken, RoleBinding
from plans.people.machine_access import make_token
from tests.web.access_scene import EU, OTHER, OWN, TwoSides
from tests.web.api_scene import Scene, configure, now, post
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
PAGE, NEW, API = "/tokens/", "/tokens/new/", "/api/v1/tokens/"
PLANS = "/api/v1/plans/"
GIVEN = {"name": "pipeline", "days": 7, "scopes": ["read"], "labels": "region=eu"}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def bearing(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def test_a_token_is_made_shown_once_and_listed_without_its_secret(scene):
    client = browser(scene.mara)
    assert client.get(NEW).status_code == 200
    made = client.post(NEW, GIVEN)
    secret = made.context["secret"]
    assert secret in text_of(made)
    assert made["Cache-Control"] == "no-store"
    token = ApiToken.objects.get()
    assert (token.user, token.made_by, token.scopes) == (scene.mara, scene.mara, ["read"])
    assert token.selector == EU
    page = text_of(client.get(PAGE))
    assert "pipeline" in page
    assert "for region=eu" in page
    assert "never" in page
    assert secret not in page
    assert bearing(secret).get(PLANS).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"labels": "region"}, "Write each label once"),
        ({"labels": "region=eu,region=us"}, "Write each label once"),
        ({"days": 1000}, "less than or equal to 366"),
        ({"scopes": ["fly"]}, "not one of the available choices"),
        ({"name": " "}, "required"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(scene, wrong, says):
    assert says in text_of(browser(scene.mara).post(NEW, GIVEN | wrong))
    assert not ApiToken.objects.exists()


def test_last_use_is_shown_with_time_and_address(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=scene.olga, now=now(), via="page")
    start = now()
    for seconds, address, stamped in (
        (0, "192.0.2.7", 0), (30, "192.0.2.7", 0), (40, "2001:db8::1", 40), (50, "2001:db8::1", 40),
    ):  # fmt: skip
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            bearing(made.secret).get(PLANS, REMOTE_ADDR=address)
        token = ApiToken.objects.get()
        assert abs((token.last_used_at - start).total_seconds() - stamped) < 1
        assert token.last_used_from == address
    assert "from 2001:db8::1" in text_of(browser(scene.olga).get(PAGE))


def test_a_person_sees_and_revokes_their_own_only(scene):
    mine = make_token(user=scene.olga, name="mine", days=1, by=scene.olga, now=now(), via="page")
    client = browser(scene.mara)
    assert "mine" not in text_of(client.get(PAGE))
    assert client.get(f"{PAGE}?of=everybody").status_code == 403
    assert client.post(f"{PAGE}{mine.token.pk}/revoke/").status_code == 404
    assert post(scene.client(scene.mara), f"{API}{mine.token.pk}/revoke").status_code == 404
    done = browser(scene.olga).post(f"{PAGE}{mine.token.pk}/revoke/", follow=True)
    assert "is revoked" in said(done)
    assert bearing(mine.secret).get(PLANS).status_code == 401
    again = browser(scene.olga).post(f"{PAGE}{mine.token.pk}/revoke/", follow=True)
    assert "revoked already" in said(again)


def test_administrators_see_and_revoke_everybodys(scene):
    hers = make_token(user=scene.olga, name="hers", days=1, by=scene.olga, now=now(), via="page")
    page = text_of(browser(scene.ada).get(f"{PAGE}?of=everybody"))
    assert "hers" in page
    assert "of Olga" in page
    listed = scene.client(scene.ada).get(API, {"of": "everybody"}).json()["results"]
    assert {one["person"] for one in listed} >= {"olga@example.org"}
    assert post(scene.client(scene.ada), f"{API}{hers.token.pk}/revoke").status_code == 200
    assert ApiToken.objects.get(pk=hers.token.pk).revoked_by == scene.ada


def test_over_rest_a_token_is_made_listed_and_revoked(scene):
    client = APIClient()
    client.force_login(scene.mara)
    given = {"name": "pipeline", "days": 1, "scopes": ["plan"], "labels": EU}
    made = post(client, API, given)
    assert made.status_code == 201
    told = made.json()
    assert (told["labels"], told["scopes"], told["state"]) == (EU, ["plan"], "good")
    listed = client.get(API).json()["results"]
    assert "secret" not in listed[0]
    assert {one["name"] for one in listed} == {"pipeline"}
    revoked = post(client, f"{API}{told['token']}/revoke")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert post(client, f"{API}{told['token']}/revoke").status_code == 409
    assert bearing(told["secret"]).get(PLANS).status_code == 401
    assert post(client, API, {"name": "x", "days": 0}).status_code == 400
    assert client.get(API, {"of": "nobody"}).status_code == 400


@pytest.mark.parametrize(
    "wider",
    [
        {"scopes": [], "labels": EU, "days": 1},
        {"scopes": [], "labels": {}, "days": 1},
        {"scopes": [], "labels": {"region": "us"}, "days": 1},
        {"scopes": [], "labels": EU, "days": 300},
    ],
)
def test_a_token_makes_no_wider_and_no_longer_one(scene, wider):
    narrow = make_token(
        user=scene.mara, name="x", days=2, selector=EU, by=None, now=now(), via="command"
    )
    answer = post(bearing(narrow.secret), API, {"name": "y", **wider})
    if wider == {"scopes": [], "labels": EU, "days": 1}:
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "wider_than_its_maker")


def test_a_scoped_token_makes_no_token(scene):
    answer = post(scene.client(scene.mara, scopes=["read"]), API, {"name": "y", "days": 1})
    assert answer.status_code == 403


def test_an_administrator_makes_tokens_for_machines_only_and_these_approve_nothing(scene):
    made = make_token(user=scene.aram, name="x", days=1, by=scene.ada, now=now(), via="admin")
    answer = post(bearing(made.secret), "/api/v1/plans/none/approve")
    assert answer.status_code == 404
    scene.olga.set_password("correct horse 9")
    scene.olga.save()
    refused = browser(scene.ada).post(
        "/admin/plans/apitoken/add/", {"user": scene.olga.pk, "name": "x", "days": 1}
    )
    assert refused.status_code == 403
    assert "never log in" in text_of(refused)


def test_a_token_in_an_address_is_refused_although_it_is_good(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    answer = bearing(made.secret).get(PLANS, {"token": made.secret})
    assert answer.status_code == 401
    assert "revoke that token" in answer.json()["detail"]
    assert Client().get(PLANS, {"access_token": made.secret}).status_code == 401


def test_when_every_role_of_its_person_has_ended_a_token_is_dead(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    RoleBinding.objects.filter(user=scene.olga).update(expires_at=now() - timedelta(seconds=1))
    answer = bearing(made.secret).get(PLANS)
    assert answer.status_code == 401
    assert "Every role of Olga has ended" in answer.json()["detail"]


def test_to_a_token_for_some_tenants_others_do_not_exist(settings, tmp_path):
    configure(settings, tmp_path)
    scene = TwoSides()
    client = scene.client(scene.olga, selector=EU)
    plans = {side: f"{PLANS}{scene.plans[side].external_id}/" for side in (OWN, OTHER)}
    assert client.get(plans[OWN]).status_code == 200
    assert client.get(plans[OTHER]).status_code == 404
    assert post(client, f"{plans[OTHER]}pause").status_code == 404
    assert post(client, f"{plans[OWN]}pause").status_code == 200
    listed = {one["external_id"] for one in client.get(PLANS).json()["results"]}
    assert listed == {"in-eu", "waits-in-eu"}

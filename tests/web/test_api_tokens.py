"""Tokens: made once, shown once, kept as a hash, refused when dead, and no wider than made."""

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from plans.models import ApiToken, Event
from plans.people.machine_access import AlreadyRevoked, hashed, make_token, revoke_token
from plans.refusal import BadInput, NotAllowed, NotFound
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db
PLANS = "/api/v1/plans/"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def bearing(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def made_by_command(*arguments: str) -> str:
    out = StringIO()
    call_command("make_token", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def test_the_command_prints_a_token_that_works_and_keeps_only_its_hash(scene):
    secret = made_by_command("olga@example.org", "--name", "pager", "--days", "7")
    token = ApiToken.objects.get()
    assert token.token_hash == hashed(secret)
    assert secret not in str(token.__dict__)
    assert (token.user, token.name) == (scene.olga, "pager")
    assert timedelta(days=6, hours=23) < token.expires_at - now() <= timedelta(days=7)
    assert bearing(secret).get(PLANS).status_code == 200
    assert Event.objects.filter(kind="api_token_made", sentence__contains="pager").exists()
    assert not Event.objects.filter(sentence__contains=secret).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("nobody@example.org",), "no person"), (("olga@example.org", "--days", "0"), "days: 0")],
)
def test_the_command_says_what_is_wrong(scene, arguments, says):
    with pytest.raises(CommandError, match=says):
        made_by_command(*arguments)
    assert not ApiToken.objects.exists()


def test_all_problems_of_a_token_are_told_at_once(scene):
    with pytest.raises(BadInput) as refusal:
        make_token(
            user=scene.olga, name=" ", days=1000, scopes=["fly"], by=None, now=now(), via="admin"
        )
    assert len(refusal.value.problems) == 3


def test_people_make_and_revoke_their_own_and_administrators_those_of_machines(scene):
    with pytest.raises(NotAllowed):
        make_token(user=scene.olga, name="x", days=1, by=scene.mara, now=now(), via="admin")
    with pytest.raises(NotAllowed):
        make_token(user=scene.nils, name="x", days=1, by=scene.nils, now=now(), via="page")
    made = make_token(user=scene.olga, name="x", days=1, by=scene.ada, now=now(), via="admin")
    with pytest.raises(NotFound):
        revoke_token(token_id=made.token.pk, by=scene.mara, now=now(), via="admin")
    revoke_token(token_id=made.token.pk, by=scene.olga, now=now(), via="page")


def test_the_command_narrows_a_token_to_tenants(scene):
    made_by_command("olga@example.org", "--label", "region=eu")
    assert ApiToken.objects.get().selector == {"region": "eu"}
    with pytest.raises(CommandError, match="NAME=VALUE"):
        made_by_command("olga@example.org", "--label", "region")


def test_no_token_and_no_session_is_401_with_a_challenge(scene):
    answer = APIClient().get(PLANS)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize("header", ["Bearer", "Bearer wrong", "Bearer a b"])
def test_a_header_that_is_no_known_token_is_401(scene, header):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert client.get(PLANS).status_code == 401


def test_a_revoked_token_is_refused_and_revoked_only_once(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    revoke_token(token_id=made.token.pk, by=scene.ada, now=now(), via="admin")
    assert bearing(made.secret).get(PLANS).status_code == 401
    with pytest.raises(AlreadyRevoked):
        revoke_token(token_id=made.token.pk, by=scene.ada, now=now(), via="admin")


def test_an_expired_token_is_refused_and_told_so(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    with time_machine.travel(now() + timedelta(days=1, seconds=1), tick=False):
        answer = bearing(made.secret).get(PLANS)
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_the_token_of_somebody_who_left_is_refused(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    scene.olga.is_active = False
    scene.olga.save()
    assert bearing(made.secret).get(PLANS).status_code == 401


def test_a_narrowed_token_does_only_what_it_is_for(scene):
    reader = scene.client(scene.mara, scopes=["read"])
    assert reader.get(PLANS).status_code == 200
    answer = reader.post("/api/v1/releases/", {"envelope": "{}"}, format="json")
    assert answer.status_code == 403
    assert "read only" in answer.json()["detail"]


def test_a_token_reaches_no_further_than_its_person(scene):
    answer = scene.client(scene.rita).post(
        "/api/v1/releases/", {"envelope": scene.envelope("pay", "2.0.0")}, format="json"
    )
    assert answer.status_code == 403


def test_last_use_is_stamped_at_most_once_a_minute(scene):
    made = make_token(user=scene.olga, name="x", days=1, by=None, now=now(), via="command")
    start = now()
    for seconds, stamped in ((0, 0), (30, 0), (61, 61)):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            bearing(made.secret).get(PLANS)
        last = ApiToken.objects.get().last_used_at
        assert abs((last - start).total_seconds() - stamped) < 1


def test_a_browser_session_needs_the_csrf_token_to_act(scene):
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(scene.mara)
    assert browser.get(PLANS).status_code == 200
    answer = browser.post("/api/v1/releases/", {"envelope": "{}"}, format="json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]

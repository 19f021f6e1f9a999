"""Where a request came from stands in its events; refusals that matter are events as well."""

from datetime import timedelta
from io import StringIO

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from plans.models import ApiToken, Event, Plan
from plans.releases.registering import revoke_key
from plans.trail import refusals as refusal_trail
from plans.trail.refusals import MOST_DIFFERENT, Tally
from plans.trail.trace import acting_from
from tests.web.api_scene import (
    HAND_IN,
    Scene,
    approved,
    body,
    configure,
    handed_in,
    now,
    post,
    url,
)
from tests.web.page_scene import browser, submitted

pytestmark = pytest.mark.django_db

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture(autouse=True)
def tally(monkeypatch) -> Tally:
    fresh = Tally()
    monkeypatch.setattr(refusal_trail, "TALLY", fresh)
    return fresh


def refusals() -> list[Event]:
    return list(Event.objects.filter(kind="refused").order_by("pk"))


def test_an_event_by_rest_names_token_trace_address_and_behalf(scene, settings):
    settings.TRUSTED_PROXIES = 1
    client = scene.client(scene.mara)
    answer = client.post(
        HAND_IN,
        body(),
        format="json",
        HTTP_TRACEPARENT=PARENT,
        HTTP_X_FORWARDED_FOR="203.0.113.66, 198.51.100.9",
        HTTP_ON_BEHALF_OF="jo@example.org",
    )
    assert answer.status_code == 201, answer.json()
    assert answer["traceparent"].split("-")[1] == TRACE
    event = Event.objects.get(kind="plan_drafted")
    token = ApiToken.objects.get(user=scene.mara)
    assert (event.actor, event.via, event.trace_id) == (scene.mara, "api", TRACE)
    assert event.token == f"test ({token.prefix})"
    assert event.on_behalf == "jo@example.org"
    assert event.address.address == "198.51.100.9"
    # Without the middleware's help the field-level diff would not know whose token it was.
    assert LogEntry.objects.get(object_pk=str(Plan.objects.get().pk), action=0).actor == scene.mara


def test_an_event_by_page_has_a_trace_and_an_address_and_no_token(scene):
    plan = submitted(scene)
    client = browser(scene.mara)
    answer = client.post(
        reverse("plan-cancel", args=[plan.pk]),
        {"reason": "typo"},
        HTTP_X_FORWARDED_FOR="203.0.113.66",
        HTTP_ON_BEHALF_OF="jo",
    )
    event = Event.objects.get(kind="plan_cancelled")
    assert event.trace_id == answer["traceparent"].split("-")[1]
    assert (event.address.address, event.token, event.on_behalf) == ("127.0.0.1", "", "")


@pytest.mark.parametrize("said", ["x" * 201, "a\x07b"])
def test_a_behalf_that_is_no_name_is_refused(scene, said):
    answer = scene.client(scene.mara).get("/api/v1/plans/", HTTP_ON_BEHALF_OF=said)
    assert answer.status_code == 422
    assert "On-Behalf-Of" in answer.json()["detail"]


def test_a_problem_names_its_trace(scene):
    answer = scene.client(scene.mara).get(url(), HTTP_TRACEPARENT=PARENT)
    assert answer.json()["trace_id"] == TRACE


def test_somebody_without_the_role_is_an_event_of_the_plan(scene):
    plan = approved(scene)
    assert post(scene.client(scene.rita), url("start")).status_code == 403
    (event,) = refusals()
    assert (event.stream.key, event.actor, event.via) == (plan.stream_key, scene.rita, "api")
    assert event.payload["code"] == "not_allowed"
    assert event.payload["what"] == "POST /api/v1/plans/<str:plan>/start"
    assert event.sentence.startswith("Refused: You may not start plans")
    assert Plan.objects.get().state == "approved"


def test_the_author_who_approves_by_page_is_an_event(scene):
    plan = submitted(scene)
    page = reverse("plan-approve", args=[plan.pk])
    digest = plan.approval_requests.get().plan_digest
    browser(scene.mara).post(page, {"digest": digest})
    (event,) = refusals()
    assert (event.payload["code"], event.actor) == ("approver_is_author", scene.mara)


def test_an_approval_of_other_content_is_an_event(scene):
    plan = submitted(scene)
    browser(scene.aram).post(reverse("plan-approve", args=[plan.pk]), {"digest": "ab" * 32})
    (event,) = refusals()
    assert event.payload["code"] in {"plan_changed", "approval_is_stale"}
    assert event.stream.key == plan.stream_key


def test_an_act_by_the_live_page_s_script_is_an_event(scene):
    plan = approved(scene)
    answer = browser(scene.rita).post(
        reverse("live-plan-start", args=[plan.pk]), HTTP_ACCEPT="application/json"
    )
    assert answer.status_code == 403
    assert [event.payload["code"] for event in refusals()] == ["not_allowed"]


def test_a_bad_signature_is_an_event(scene):
    envelope = scene.envelope("pay", "1.6.0").replace('"sig": "', '"sig": "AAAA')
    answer = post(scene.client(scene.mara), "/api/v1/releases/", {"envelope": envelope})
    assert answer.status_code == 422
    (event,) = refusals()
    assert (event.stream.key, event.payload["code"]) == ("system", answer.json()["code"])


def test_a_revoked_token_is_an_event_that_accuses_nobody(scene):
    client = scene.client(scene.mara)
    ApiToken.objects.update(revoked_at=now())
    assert client.get("/api/v1/plans/").status_code == 401
    (event,) = refusals()
    assert (event.actor, event.actor_name) == (None, "somebody unknown")
    assert "which is revoked" in event.sentence
    assert event.address.address == "127.0.0.1"


def test_an_expired_token_is_an_event(scene):
    client = scene.client(scene.mara)
    ApiToken.objects.update(expires_at=now() - timedelta(days=1))
    assert client.get("/api/v1/plans/").status_code == 401
    assert "which is expired" in refusals()[0].sentence


def test_a_failed_log_in_is_an_event_without_what_was_typed(scene):
    Client().post(reverse("account_login"), {"login": "mara@example.org", "password": "hunter22"})
    event = Event.objects.get(kind="login_failed")
    assert event.address.address == "127.0.0.1"
    assert "hunter22" not in str(event.body("system"))
    assert "mara@" not in str(event.body("system"))


def test_a_stranger_learns_nothing_and_the_plan_s_trail_is_not_theirs_to_write(scene):
    plan = handed_in(scene)
    assert post(scene.client(scene.nils), url("approve")).status_code == 404
    assert not Event.objects.filter(kind="refused", stream__key=plan.stream_key).exists()


def test_what_is_merely_wrong_is_no_event(scene):
    client = scene.client(scene.mara)
    assert post(client, HAND_IN, body(policy="unknown")).status_code == 422
    assert post(client, HAND_IN, {}).status_code == 400
    assert client.get(url(plan="nothing")).status_code == 404
    assert refusals() == []


def test_an_attacker_cannot_fill_the_disk(scene):
    approved(scene)
    client = scene.client(scene.rita)
    for _ in range(25):
        assert post(client, url("start")).status_code == 403
    assert [event.payload["times"] for event in refusals()] == [1, 10]
    assert "(10 times within ten minutes)" in refusals()[1].sentence


def test_more_different_ones_than_are_kept_count_as_one(tally):
    at = now()
    for number in range(MOST_DIFFERENT):
        assert tally.count((f"address {number}", "login_failed", ""), at) == (1, False)
    assert tally.count(("one more", "login_failed", ""), at) == (1, True)
    assert tally.count(("and another", "login_failed", ""), at) == (2, True)
    assert tally.count(("address 0", "login_failed", ""), at) == (2, False)
    assert len(tally.counts) == MOST_DIFFERENT + 1
    later = at + refusal_trail.WINDOW
    assert tally.count(("one more", "login_failed", ""), later) == (1, False)


# ---- commands


def test_what_a_person_may_not_do_by_a_command_is_told_of_that_person(scene):
    where = ("--deployer", "fleet", "--plugin", "pay", "--to", "1.5.0", "--tenants", "acorn")
    with (
        acting_from(on_behalf="root@host", trace_id=TRACE),
        pytest.raises(CommandError) as refused,
    ):
        call_command("rollback_drill", *where, "--by", "rita@example.org", "--no-wait")
    (event,) = refusals()
    assert (event.actor, event.via, event.on_behalf) == (scene.rita, "command", "root@host")
    assert event.payload["what"] == "manage.py rollback_drill"
    assert str(refused.value) in event.sentence
    assert not Plan.objects.exists()


def test_a_release_that_a_command_finds_not_to_be_trusted_is_told(scene):
    revoke_key(key_id=scene.key.key_id, reason="lost", by=scene.ada, now=now(), via="page")
    with pytest.raises(CommandError):
        call_command("verify_release", stdout=StringIO(), stderr=StringIO())
    (event,) = refusals()
    assert (event.actor, event.actor_name) == (None, "a command on the machine")
    assert event.payload["what"] == "manage.py verify_release"


def test_a_typing_error_in_a_command_is_no_event(scene):
    for wrong in (
        ["give_role", "nils@example.org", "king"],
        ["reset_mfa", "no@x.org", "--reason=x"],
    ):
        with pytest.raises(CommandError):
            call_command(*wrong)
    assert refusals() == []

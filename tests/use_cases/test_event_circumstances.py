"""Each event says where it came from; the address can be erased and the chain still holds."""

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import transaction

import manage
from batches.alerting import alerts
from batches.rollback.rollback import request_rollback
from batches.rollout import launch
from plans.approvals import approval
from plans.chain import address_digest
from plans.models import Event, EventAddress, Plan
from plans.openings.freezing import declare_freeze
from plans.people.account_changes import change_person
from plans.people.machine_access import make_token
from plans.refusal import BadInput, NotAllowed
from plans.releases.registering import trust_key
from plans.releases.signature import new_key
from plans.trail import addresses, events
from plans.trail.trace import acting_from
from tests.builders import a_draft, an_approved, opened
from tests.web.api_scene import now

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def told(scene, **more) -> Event:
    with transaction.atomic():
        return events.record(
            stream=None, kind="told", sentence="So it was.", actor=scene.mara, via="page",
            now=now(), **more,
        )  # fmt: skip


def test_what_is_known_of_the_act_is_hashed_with_it(scene):
    with acting_from(ip="192.0.2.7", trace_id=TRACE, on_behalf="Jo", token="pipeline", grant="g1"):
        event = told(scene, payload={"reason": "customer calls"})
    assert event.v == 2
    assert (event.trace_id, event.on_behalf, event.token, event.grant, event.reason) == (
        *(TRACE, "Jo", "pipeline", "g1", "customer calls"),
    )
    assert event.ip == address_digest(event.address.salt, "192.0.2.7")
    assert "192.0.2.7" not in str(event.body("system"))
    assert events.check_chain("system").intact


def test_two_events_from_one_address_cannot_be_told_by_their_digests(scene):
    with acting_from(ip="192.0.2.7"):
        assert told(scene).ip != told(scene).ip


def test_where_nothing_is_known_nothing_is_written(scene):
    event = told(scene)
    assert (event.ip, event.trace_id, event.token, event.reason) == ("", "", "", "")
    assert not EventAddress.objects.filter(event=event).exists()


def test_what_the_console_does_by_itself_is_on_behalf_of_who_directed_it_last(scene):
    plan = an_approved(scene)
    with acting_from(ip="192.0.2.7", trace_id=TRACE, on_behalf="Jo", token="pipeline"):
        launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="api")
    opened(plan)
    event = Event.objects.get(kind="batch_opened")
    assert (event.actor, event.on_behalf) == (None, "Olga <olga@example.org>, for Jo")
    # Its trace, and neither its address nor its token: those were of that request.
    assert (event.trace_id, event.ip, event.token) == (TRACE, "", "")
    request_rollback(plan_id=plan.pk, by=scene.mara, reason="odd", now=now(), via="page")
    with transaction.atomic():
        alerts.fire(plan=plan, kind="batch_overrun", sentence="it takes long", now=now())
    event = Event.objects.get(kind="alert_firing")
    assert event.on_behalf == "Mara <mara@example.org>"
    # That act came with no trace: then the plan's own.
    assert event.trace_id == plan.pk.hex
    assert events.check_chain(plan.stream_key).intact


def test_an_approval_directs_nothing(scene):
    plan = an_approved(scene)
    with transaction.atomic():
        alerts.fire(plan=plan, kind="cannot_start", sentence="it cannot", now=now())
    assert Event.objects.get(kind="alert_firing").on_behalf == "Mara <mara@example.org>"


def test_a_use_case_s_reason_stands_in_its_event(scene):
    plan = a_draft(scene)
    approval.cancel(plan_id=plan.pk, by=scene.mara, reason="typo", now=now(), via="page")
    assert Event.objects.get(kind="plan_cancelled").reason == "typo"


def test_no_ones_words_turn_the_sentence_that_they_stand_in(scene):
    plan = a_draft(scene)
    approval.cancel(plan_id=plan.pk, by=scene.mara, reason="\u202egnorw", now=now(), via="page")
    event = Event.objects.filter(kind="plan_cancelled").get()
    assert "gnorw" in event.sentence
    assert "\u202e" not in event.sentence
    # The words themselves stay as they were typed.
    assert event.reason == "\u202egnorw"


def test_names_that_turn_are_refused_at_the_input(scene):
    turning, end = "Black\u202eFriday", now() + timedelta(days=1)
    common: dict[str, Any] = {"by": scene.ada, "now": now(), "via": "page"}
    with pytest.raises(BadInput, match=r"name: take out .*U\+202E"):
        declare_freeze(name=turning, reason="sales", ends_at=end, **common | {"by": scene.mara})
    with pytest.raises(BadInput, match=r"name: take out"):
        make_token(user=scene.olga, name=turning, days=3, **common)
    with pytest.raises(BadInput, match=r"name: take out"):
        change_person(user_id=scene.olga.pk, changes={"name": turning}, **common)
    with pytest.raises(BadInput, match=r"name: take out"):
        trust_key(
            key_id="k9", public_key=new_key().public_pem, name=turning, not_before=now(),
            not_after=end, plugins=(), **common,
        )  # fmt: skip


def test_old_addresses_are_erased_and_the_trail_says_so(scene, settings):
    with acting_from(ip="192.0.2.7"):
        old, young = told(scene), told(scene)
    settings.ADDRESSES_KEPT_DAYS = 30
    assert addresses.forget_old(now=now()) == 0
    assert addresses.forget_old(now=now() + timedelta(days=31)) == 2
    assert not EventAddress.objects.filter(event__in=[old, young]).exists()
    erased = Event.objects.get(kind="trail_addresses_erased")
    assert erased.payload["erased"] == 2
    assert events.check_chain("system").intact
    settings.ADDRESSES_KEPT_DAYS = 0
    assert addresses.forget_old(now=now() + timedelta(days=9999)) == 0


def test_an_administrator_may_have_them_erased_with_a_reason(scene):
    with acting_from(ip="192.0.2.7"):
        told(scene)
    common: dict[str, Any] = {"before": now(), "now": now() + timedelta(seconds=1), "via": "page"}
    with pytest.raises(NotAllowed):
        addresses.erase_addresses(reason="asked for", by=scene.mara, **common)
    with pytest.raises(BadInput, match="reason"):
        addresses.erase_addresses(reason=" ", by=scene.ada, **common)
    assert addresses.erase_addresses(reason="asked for", by=scene.ada, **common) == 1
    assert Event.objects.get(kind="trail_addresses_erased").reason == "asked for"


def test_the_command_erases_them(scene, capsys):
    with acting_from(ip="192.0.2.7"):
        event = told(scene)
    tomorrow = f"{now() + timedelta(days=1):%Y-%m-%d}"
    with pytest.raises(CommandError, match="has not come yet"):
        call_command("erase_addresses", before=tomorrow, reason="asked for")
    with pytest.raises(CommandError, match="--before"):
        call_command("erase_addresses", before="yesterday", reason="asked for")
    call_command("erase_addresses", before=f"{event.at:%Y-%m-%d}", reason="asked for")
    assert "The addresses of 0 events" in capsys.readouterr().out


def test_a_command_is_run_for_an_account_of_the_machine(monkeypatch):
    monkeypatch.setattr("manage.getpass.getuser", lambda: "root")
    monkeypatch.setattr("manage.socket.gethostname", lambda: "console-1")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert manage._account() == "root@console-1"
    monkeypatch.setenv("SUDO_USER", "ada")
    assert manage._account() == "ada as root@console-1"


def test_the_field_level_diff_keeps_no_address_of_its_own(scene):
    plan = a_draft(scene)
    Plan.objects.get(pk=plan.pk).save()
    assert not LogEntry.objects.exclude(remote_addr=None).exists()

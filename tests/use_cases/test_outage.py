"""A database that does not answer: told once by local path, and afterwards in every trail."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core import mail
from django.db import OperationalError

from batches.alerting import local_alerts
from batches.runtime import free_space
from batches.runtime.outage import Outage
from plans.models import Event
from tests.builders import a_started, check_invariants
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db

LOCKED = OperationalError("database is locked")


@pytest.fixture(autouse=True)
def told(settings, tmp_path: Path) -> Path:
    """Return the file of what is told without a database."""
    settings.LOCAL_ALERTS_FILE = tmp_path / "local-alerts.jsonl"
    return settings.LOCAL_ALERTS_FILE


def lines(told: Path) -> list[str]:
    if not told.exists():
        return []
    return [json.loads(line)["sentence"] for line in told.read_text().splitlines()]


def lagged() -> list[Event]:
    return list(Event.objects.filter(kind="watch_lagged").order_by("pk"))


def test_fault_04_an_outage_is_told_once_while_it_lasts_and_once_when_it_is_over(scene, told):
    plan = a_started(scene)
    began = now()
    outage = Outage()
    for seconds in (6, 20, 40):
        outage.failed(LOCKED, began=began, now=began + timedelta(seconds=seconds))
    assert len(lines(told)) == 1
    assert "database is locked" in lines(told)[0]
    outage.answered(now=began + timedelta(seconds=42), leads=True)
    assert lines(told)[1].startswith("over: The database did not answer for 42 s")
    # The plan that was held up and the system each have one event of it.
    assert {event.stream.key for event in lagged()} == {f"plan:{plan.pk}", "system"}
    assert [event.payload["seconds"] for event in lagged()] == [42, 42]
    check_invariants(plan)
    outage.answered(now=began + timedelta(seconds=43), leads=True)
    assert len(lagged()) == 2


def test_a_plan_that_ends_in_the_first_tick_afterwards_says_so_too(scene):
    plan, earlier = a_started(scene), now() - timedelta(hours=1)
    began = now()
    outage = Outage()
    outage.failed(LOCKED, began=began, now=began + timedelta(seconds=6))
    rows = type(plan).objects.filter(pk=plan.pk)
    rows.update(state="rolled_back", ended_at=began + timedelta(seconds=7))
    outage.answered(now=began + timedelta(seconds=8), leads=True)
    assert {event.stream.key for event in lagged()} == {f"plan:{plan.pk}", "system"}
    # One that had ended before was not held up.
    rows.update(ended_at=earlier)
    outage.failed(LOCKED, began=began, now=began + timedelta(seconds=6))
    outage.answered(now=began + timedelta(seconds=8), leads=True)
    assert [event.stream.key for event in lagged()[2:]] == ["system"]


def test_of_several_watches_the_one_that_leads_says_it_in_the_trail(scene, told):
    a_started(scene)
    began = now()
    outage = Outage()
    outage.failed(LOCKED, began=began, now=began + timedelta(seconds=6))
    outage.answered(now=began + timedelta(seconds=7), leads=False)
    assert lagged() == []
    assert len(lines(told)) == 2


def test_a_moment_without_an_answer_is_nobodys_business(scene, told):
    a_started(scene)
    began = now()
    outage = Outage()
    outage.failed(LOCKED, began=began, now=began + timedelta(seconds=1))
    outage.answered(now=began + timedelta(seconds=2), leads=True)
    assert lines(told) == []
    assert lagged() == []


def test_a_second_outage_is_told_like_the_first(scene, told):
    outage = Outage()
    for _time in range(2):
        began = now()
        outage.failed(LOCKED, began=began, now=began + timedelta(seconds=6))
        outage.answered(now=began + timedelta(seconds=7), leads=True)
    assert len(lines(told)) == 4


def test_a_tick_that_found_the_disk_full_lets_the_reserve_go(settings, tmp_path, monkeypatch):
    settings.DATA_DIR, settings.DISK_RESERVE_MB = tmp_path, 1
    monkeypatch.setattr(free_space, "_database_folder", lambda: None)
    free_space.keep_reserve()
    full = OperationalError("database or disk is full")
    Outage().failed(full, began=now(), now=now())
    assert not (tmp_path / free_space.RESERVE_FILE).exists()


def test_what_is_told_locally_goes_by_mail_where_addresses_are_set(settings):
    settings.LOCAL_ALERT_MAIL = ["olga@example.org"]
    local_alerts._mail("database_away", "it is away", settings.LOCAL_ALERT_MAIL)
    (message,) = mail.outbox
    assert message.to == ["olga@example.org"]
    assert "it is away" in message.body


def test_a_folder_that_cannot_be_written_keeps_nobody_from_going_on(settings, tmp_path, caplog):
    settings.LOCAL_ALERTS_FILE = tmp_path / "nowhere" / "local-alerts.jsonl"
    local_alerts.tell("database_away", "it is away")
    assert "ALERT database_away: it is away" in caplog.text

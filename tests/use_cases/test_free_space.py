"""Too little room on the disk: nothing new starts, people are told, the reserve is let go."""

import json
from pathlib import Path

import pytest
from django.db import OperationalError

from batches.alerting import alerts
from batches.decisions.decide import decide
from batches.decisions.plan_facts import plan_facts
from batches.models import Alert, Batch
from batches.rollout.launch import NotYet, open_batch, start
from batches.runtime import free_space
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event
from tests.builders import a_started, an_approved
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db

MORE_THAN_THERE_IS_MB = 10**9


@pytest.fixture(autouse=True)
def data(settings, tmp_path: Path, monkeypatch) -> Path:
    """Keep the reserve and the local alerts in a folder of the test."""
    settings.DATA_DIR = tmp_path
    settings.LOCAL_ALERTS_FILE = tmp_path / "local-alerts.jsonl"
    settings.DISK_RESERVE_MB = 1
    monkeypatch.setattr(free_space, "_database_folder", lambda: None)
    return tmp_path


def open_alerts() -> list[Alert]:
    return list(Alert.objects.filter(kind="disk_low", resolved_at=None))


def test_fault_06_no_plan_starts_and_the_refusal_says_what_to_do(scene, settings):
    plan = an_approved(scene)
    settings.MIN_FREE_MB = MORE_THAN_THERE_IS_MB
    with pytest.raises(NotYet, match="free some space there") as refused:
        start(plan_id=plan.pk, by=None, now=now(), via="test")
    assert refused.value.code == "disk_low"
    settings.MIN_FREE_MB = 1
    start(plan_id=plan.pk, by=None, now=now(), via="test")


def test_fault_06_the_next_batch_waits_and_a_rollback_would_not(scene, settings):
    plan = a_started(scene)
    policy = policy_of(current_revision(plan))
    settings.MIN_FREE_MB = MORE_THAN_THERE_IS_MB
    waits = decide(plan_facts(plan, policy, now()))
    assert waits.do == "wait"
    assert "batch 1 may not begin: the disk of" in waits.sentence
    settings.MIN_FREE_MB = 1
    assert decide(plan_facts(plan, policy, now())).do == "open_batch"
    # Once it was opened, room is no reason any more to leave it half done.
    batch = Batch.objects.get(plan=plan, number=1)
    open_batch(batch_id=batch.pk, now=now())
    settings.MIN_FREE_MB = MORE_THAN_THERE_IS_MB
    assert decide(plan_facts(plan, policy, now())).do != "wait"


def test_the_alert_is_opened_once_and_ends_with_the_cause(scene, settings):
    settings.MIN_FREE_MB = MORE_THAN_THERE_IS_MB
    for _look in range(2):
        free_space.tell(now(), alerts.open_ones())
    (alert,) = open_alerts()
    assert "nothing new starts" in alert.sentence
    assert Event.objects.filter(stream__key="system", kind="alert_firing").count() == 1
    settings.MIN_FREE_MB = 1
    free_space.tell(now(), alerts.open_ones())
    assert open_alerts() == []


def test_the_reserve_is_kept_once_at_its_size_for_its_owner_alone(data):
    assert free_space.keep_reserve()
    kept = (data / free_space.RESERVE_FILE).stat()
    assert kept.st_size == free_space.MEGABYTE
    assert kept.st_mode & 0o777 == 0o600
    assert free_space.keep_reserve()
    assert [path.name for path in data.iterdir()] == [free_space.RESERVE_FILE]


def test_no_reserve_takes_the_last_room(data, settings):
    settings.MIN_FREE_MB = MORE_THAN_THERE_IS_MB
    assert not free_space.keep_reserve()
    assert list(data.iterdir()) == []


def test_who_lets_the_reserve_go_tells_it_and_only_the_first_one_does(data):
    free_space.keep_reserve()
    assert free_space.release_reserve("a write found the disk full")
    assert not free_space.release_reserve("a write found the disk full")
    (line,) = (data / "local-alerts.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "disk_low"
    assert "a write found the disk full" in json.loads(line)["sentence"]


def test_the_reserve_is_let_go_before_the_last_byte_is_gone(data, monkeypatch):
    free_space.keep_reserve()
    free_space.release_when_full()
    assert (data / free_space.RESERVE_FILE).exists()
    monkeypatch.setattr(free_space, "_free_in", lambda folder: free_space.MEGABYTE // 4 - 1)
    free_space.release_when_full()
    assert not (data / free_space.RESERVE_FILE).exists()


@pytest.mark.parametrize(
    ("words", "full"),
    [
        ("database or disk is full", True),
        ('could not extend file "base/1": No space left on device', True),
        ("database is locked", False),
    ],
)
def test_a_full_disk_is_told_from_a_busy_database(words, full):
    assert free_space.says_full(OperationalError(words)) is full

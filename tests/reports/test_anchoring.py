"""Checkpoints get out of the database: into files, to machines that want them, into reports."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django_q.models import OrmQ

from batches.models import Alert
from plans.models import Checkpoint, Event, Stream, TrailCheck
from plans.trail.checkpoints import take_checkpoint
from reports import chores, tasks, telemetry
from reports.models import Announcement, Delivery, Endpoint
from reports.trail import anchor_files, anchoring
from reports.trail.checking import check_and_keep, check_trail
from reports.verify_trail import FORKED, HOLDS
from tests.builders import a_draft
from tests.web.api_scene import Scene, configure, now

pytestmark = pytest.mark.django_db

START = now()


def later(seconds: float):
    return START + timedelta(seconds=seconds)


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


class Threads:
    """Stands for the machine: what is spawned runs when the test says so."""

    def __init__(self) -> None:
        self.waiting = []
        self.clock = 0.0

    def monotonic(self) -> float:
        return self.clock

    def spawn(self, work, *, name: str):
        self.waiting.append(work)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


@pytest.fixture
def machine(monkeypatch) -> Threads:
    made = Threads()
    monkeypatch.setattr(anchoring.surroundings, "here", lambda: made)
    return made


@pytest.fixture
def keeper(machine) -> anchoring.Keeper:
    return anchoring.Keeper()


def settle(keeper, machine, ticks: int = 4) -> None:
    for _ in range(ticks):
        keeper.tick(START)
        machine.run()
        machine.clock += 20


def numbers(folder) -> list[int]:
    return [
        json.loads(line)["number"]
        for path in sorted(Path(folder).glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_each_checkpoint_is_a_line_of_its_day_s_file(scene, settings, keeper, machine):
    for day in (0, 1):
        take_checkpoint(why="test", now=START + timedelta(days=day))
    settle(keeper, machine)
    assert numbers(settings.AUDIT_ANCHOR_DIR) == [1, 2]
    assert len(list(settings.AUDIT_ANCHOR_DIR.glob("*.jsonl"))) == 2
    take_checkpoint(why="test", now=START + timedelta(days=1, seconds=5))
    settle(keeper, machine)
    assert numbers(settings.AUDIT_ANCHOR_DIR) == [1, 2, 3]
    assert check_trail(now=later(0), anchors=[settings.AUDIT_ANCHOR_DIR]).exit != FORKED


def test_a_new_process_goes_on_where_the_files_end(scene, settings, keeper, machine):
    take_checkpoint(why="test", now=START)
    settle(keeper, machine)
    take_checkpoint(why="test", now=later(5))
    settle(anchoring.Keeper(), machine)
    assert numbers(settings.AUDIT_ANCHOR_DIR) == [1, 2]


def test_a_line_that_a_crash_cut_off_is_written_again(scene, settings, keeper, machine):
    first = take_checkpoint(why="test", now=START)
    path = settings.AUDIT_ANCHOR_DIR / f"{first.log}-{START:%Y%m%d}.jsonl"
    path.parent.mkdir()
    path.write_text('{"number":1,"checkp')
    settle(keeper, machine)
    cut, whole = path.read_text().splitlines()
    assert cut == '{"number":1,"checkp'
    assert json.loads(whole)["checkpoint"] == first.text
    assert check_trail(now=START, anchors=[path]).exit == HOLDS


def test_a_folder_that_cannot_be_written_is_an_alert_until_it_can(scene, settings, keeper, machine):
    take_checkpoint(why="test", now=START)
    settings.AUDIT_ANCHOR_DIR.parent.mkdir(exist_ok=True)
    settings.AUDIT_ANCHOR_DIR.write_text("a file in its place")
    settle(keeper, machine)
    alert = Alert.objects.get(kind="audit_anchor_failed", resolved_at=None)
    assert "do not get out of the database" in alert.sentence
    settings.AUDIT_ANCHOR_DIR.unlink()
    settle(keeper, machine)
    alert = Alert.objects.get(pk=alert.pk)
    assert alert.resolved_at is not None
    assert numbers(settings.AUDIT_ANCHOR_DIR) == [1]


def test_a_disk_that_hangs_holds_nobody_up_and_is_an_alert(scene, keeper, machine):
    take_checkpoint(why="test", now=START)
    keeper.tick(START)
    assert len(machine.waiting) == 1
    machine.clock += 61
    keeper.tick(START)
    assert len(machine.waiting) == 1, "no second thread waits for the same disk"
    assert "hangs" in Alert.objects.get(kind="audit_anchor_failed").sentence


def test_anchors_that_know_more_than_the_database_are_an_alert(scene, settings, keeper, machine):
    for seconds in (0, 5):
        take_checkpoint(why="test", now=later(seconds))
    settle(keeper, machine)
    Checkpoint.objects.filter(number=2).delete()
    settle(anchoring.Keeper(), machine)
    assert "know checkpoint 2" in Alert.objects.get(kind="audit_anchor_failed").sentence


def test_a_key_that_cannot_be_used_is_an_alert_and_stops_nothing(scene, settings):
    folder = Path(settings.CONSOLE_KEYS_DIR)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file in its place")
    anchoring.keep_checkpoints(START)
    assert "no checkpoint can be signed" in Alert.objects.get(kind="audit_anchor_failed").sentence


def test_the_watch_s_chore_takes_one_when_it_is_due(scene):
    anchoring.keep_checkpoints(START)
    anchoring.keep_checkpoints(later(1))
    assert Checkpoint.objects.count() == 1
    anchoring.keep_checkpoints(later(301))
    assert list(Checkpoint.objects.values_list("why", flat=True)) == ["first", "time"]


def test_a_machine_that_asked_for_checkpoints_gets_them_and_no_other(scene):
    common = {"url": "http://127.0.0.1:9/a", "active": True}
    Endpoint.objects.create(name="witness", kinds=["audit_checkpoint"], **common)
    Endpoint.objects.create(name="alerts", kinds=[], url="http://127.0.0.1:9/b")
    taken = anchoring.take_and_tell(why="test", now=START)
    (delivery,) = Delivery.objects.all()
    assert delivery.endpoint.name == "witness"
    assert delivery.event()["data"]["checkpoint"] == taken.text
    assert delivery.event()["type"] == "plugin.version.audit.checkpoint"
    assert str(Announcement.objects.get()) == "checkpoint/1 signed"


def test_the_whole_trail_is_checked_once_a_day(scene, monkeypatch):
    monkeypatch.setattr(chores, "_asked", {})
    chores.hand_out_trail_check(START)
    assert not OrmQ.objects.exists(), "there is nothing to compare with yet"
    take_checkpoint(why="test", now=START)
    chores.hand_out_trail_check(later(601))
    chores.hand_out_trail_check(later(602))
    assert OrmQ.objects.count() == 1
    tasks.check_trail()
    tasks.check_trail()
    assert TrailCheck.objects.count() == 1
    monkeypatch.setattr(chores, "_asked", {})
    chores.hand_out_trail_check(now())
    assert OrmQ.objects.count() == 1
    monkeypatch.setattr(chores, "_asked", {})
    chores.hand_out_trail_check(now() + timedelta(hours=25))
    assert OrmQ.objects.count() == 2


def test_what_a_check_found_is_kept_told_and_counted(scene):
    a_draft(scene)
    take_checkpoint(why="test", now=START)
    kept = check_and_keep(now=later(9), via="hands")
    assert (kept.outcome, kept.checkpoints, kept.alarming) == (HOLDS, 1, False)
    assert "every link holds" in Event.objects.get(kind="trail_checked").sentence
    told = telemetry.exposition(later(69)).decode()
    assert "version_upgrade_trail_intact 1.0" in told
    assert "version_upgrade_trail_check_age_seconds 60.0" in told
    assert "version_upgrade_trail_checkpoint_age_seconds 69.0" in told


def test_a_broken_trail_is_an_alert(scene, settings, tmp_path):
    settings.LOCAL_ALERTS_FILE = tmp_path / "local-alerts.jsonl"
    head = Stream.objects.get(key="system")
    Stream.objects.filter(pk=head.pk).update(head_hash="ab" * 32)
    assert check_and_keep(now=later(99), via="hands").alarming
    assert "version_upgrade_trail_intact 0.0" in telemetry.exposition(later(99)).decode()
    assert "the trail does not verify" in Alert.objects.get(kind="trail_broken").sentence
    assert "trail_broken" in settings.LOCAL_ALERTS_FILE.read_text()


def test_what_was_found_is_kept_although_the_trail_takes_no_more_events(scene):
    told = Event.objects.count()
    Stream.objects.filter(key="system").update(head_seq=0)
    kept = check_and_keep(now=later(9), via="hands")
    assert kept.alarming
    assert TrailCheck.objects.get() == kept
    assert Event.objects.count() == told


def test_the_last_number_is_found_from_the_end(tmp_path):
    assert anchor_files.last_number(tmp_path, "ab") == 0
    (tmp_path / "ab-20260101.jsonl").write_text('{"number":1}\n{"number":2}\n')
    (tmp_path / "cd-20260102.jsonl").write_text('{"number":9}\n')
    assert anchor_files.last_number(tmp_path, "ab") == 2
    (tmp_path / "ab-20260102.jsonl").write_text('{"number":3')
    assert anchor_files.last_number(tmp_path, "ab") == 2

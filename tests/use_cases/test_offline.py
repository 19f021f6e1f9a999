"""What was done without the database is taken into the trail, and its plan goes no further."""

import os
from pathlib import Path
from typing import Any

import pytest

from batches.break_glass import offline
from batches.break_glass.offline_file import append, read_plan
from batches.models import Rollback
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan
from tests.builders import a_started, check_invariants, kinds
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data(settings, tmp_path: Path) -> Path:
    """Keep the files in a folder of the test."""
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def plan(scene) -> Plan:
    return a_started(scene)


def a_record(plan: Plan, *, ended: bool = True, key: bytes | None = None) -> Path:
    offline.folder().mkdir(exist_ok=True)
    record = offline.record_of(offline.file_of(plan.pk), now())
    about = {"plan": str(plan.pk), "at": now().isoformat()}
    call = {"line": "call", "tenant": "acorn", "call": 1, **about}
    bodies: list[dict[str, Any]] = [
        {"line": "begun", "by": "Olga", "reason": "the database is gone", **about},
        call,
        {"line": "outcome", "tenant": "acorn", "move": "restored", **about},
        {**call, "tenant": "birch", "call": 2},
        {"line": "outcome", "tenant": "birch", "move": "give_up", "error": "refused", **about},
    ]
    if ended:
        bodies.append({"line": "ended", "restored": ["acorn"], "left": {"birch": "x"}, **about})
    append(record, bodies, key=key or offline.key())
    return record


def state_of(plan: Plan) -> str:
    return str(Plan.objects.get(pk=plan.pk).state)


def test_a_record_stops_its_plan_and_is_told_in_the_trail_once(plan):
    record = a_record(plan)
    for _tick in range(2):
        offline.take_in_records(now())
    assert state_of(plan) == "rolling_back"
    assert "Olga took it back offline: the database is gone" in Rollback.objects.get().reason
    (told,) = Event.objects.filter(kind="offline_rollback")
    assert told.sentence == (
        "Olga took 1 tenant back while the database was away, with 2 calls; 1 was left."
        " Reason: the database is gone."
    )
    assert told.payload["restored"] == ["acorn"]
    assert told.payload["left"] == {"birch": "refused"}
    assert not record.exists()
    assert record.with_suffix(".taken-in").exists()
    check_invariants(plan)


@pytest.mark.parametrize("ended", ["completed", "stopped"])
def test_a_record_of_a_plan_that_had_ended_takes_it_back_too(plan, ended):
    Plan.objects.filter(pk=plan.pk).update(state=ended)
    a_record(plan)
    offline.take_in_records(now())
    assert state_of(plan) == "rolling_back"


def test_a_replay_that_goes_on_stops_its_plan_at_once_and_is_told_at_its_end(plan):
    record = a_record(plan, ended=False)
    offline.take_in_records(now())
    assert state_of(plan) == "rolling_back"
    assert "offline_rollback" not in kinds(plan)
    # One that died is told ten minutes after its last word.
    long_ago = now().timestamp() - offline.ABANDONED_SECONDS - 1
    os.utime(record, (long_ago, long_ago))
    offline.take_in_records(now())
    assert kinds(plan).count("offline_rollback") == 1


def test_a_forged_record_is_put_aside_and_stops_nothing(plan):
    record = a_record(plan, key=b"somebody else's")
    offline.take_in_records(now())
    assert state_of(plan) == "running"
    assert record.with_suffix(".refused").exists()


def test_a_record_of_an_unknown_plan_is_put_aside(plan):
    record = a_record(Plan(pk="11111111-2222-4333-8444-555555555555"))
    offline.take_in_records(now())
    assert record.with_suffix(".refused").exists()
    assert state_of(plan) == "running"


def test_a_file_begins_once_with_what_is_needed_to_take_the_plan_back(plan):
    policy = policy_of(current_revision(plan))
    for _batch in range(2):
        offline.open_file(plan, policy)
    known = read_plan(offline.file_of(plan.pk), key=offline.key())
    assert known.plan == str(plan.pk)
    assert (known.plugin, known.target) == (plan.plugin.key, plan.release.version)
    assert known.call_timeout == policy.limits.call_timeout_seconds
    assert len(offline.file_of(plan.pk).read_text().splitlines()) == 1


def test_a_disk_that_takes_nothing_holds_nobody_up(plan, data, caplog):
    (data / "offline").write_text("in the way")
    offline.open_file(plan, policy_of(current_revision(plan)))
    assert "could not be written" in caplog.text


def test_only_files_of_plans_that_cannot_be_taken_back_any_more_are_removed(plan):
    offline.open_file(plan, policy_of(current_revision(plan)))
    offline.forget_what_is_over()
    assert offline.file_of(plan.pk).exists()
    Plan.objects.filter(pk=plan.pk).update(state="rolled_back")
    offline.forget_what_is_over()
    assert not offline.file_of(plan.pk).exists()

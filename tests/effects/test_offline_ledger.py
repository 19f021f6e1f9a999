"""A plan is taken back from its file alone; each call is in the record before it is sent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from batches.break_glass.offline_file import OfflinePlan, Touched, read_lines
from batches.break_glass.offline_ledger import OfflineLedger
from batches.effects.loop import EffectLoop
from batches.effects.ports import Job
from tests.effects.simulated_world import World

KEY = b"k" * 32
TENANTS = ("acorn", "birch", "cedar")


class Offline:
    """A plan whose three tenants run 2.0, its file, and the loop over them."""

    def __init__(self, record, *, touched_ago: float = 60.0) -> None:
        self.world = World()
        self.record = record
        self.plan = OfflinePlan("plan", "spring", "pay", "fleet", "2.0", 10, 5.0, 180.0)
        for tenant in TENANTS:
            self.world.fleet.tenant(tenant).version = "2.0"
            at = self.world.clock.now() - timedelta(seconds=touched_ago)
            self.plan.touched[tenant] = Touched(tenant, "1.0", {"format": "pdf"}, at)

    def ledger(self) -> OfflineLedger:
        return OfflineLedger(
            self.plan, tenants=TENANTS, record=self.record, key=KEY, clock=self.world.clock
        )

    def take_back(self, *, give_up_after: float = 60.0) -> OfflineLedger:
        clock = self.world.clock
        ledger = self.ledger()
        ledger.begin(by="Olga", reason="the database is gone")
        give_up_at = clock.now() + timedelta(seconds=give_up_after)
        job = Job("plan", "pay", "fleet", 10, 1, 5.0, give_up_at)
        loop = EffectLoop(build=lambda name: self.world.deployer, clock=clock)
        asyncio.run(clock.drive(loop.run(job, ledger)))
        ledger.end()
        return ledger

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in read_lines(self.record, key=KEY)[0] if body["line"] == kind]


@pytest.fixture
def offline(tmp_path) -> Offline:
    return Offline(tmp_path / "record.jsonl")


def test_everybody_is_back_with_version_and_config_of_before(offline):
    ledger = offline.take_back()
    assert sorted(ledger.restored) == list(TENANTS)
    assert ledger.left == {}
    for tenant in TENANTS:
        assert offline.world.version(tenant) == "1.0"
    calls = offline.world.calls("restore")
    assert len(calls) == 3
    assert len({call.key for call in calls}) == 3


def test_the_record_tells_who_why_each_call_and_each_end(offline):
    offline.take_back()
    (begun,) = offline.lines("begun")
    assert (begun["by"], begun["reason"]) == ("Olga", "the database is gone")
    assert sorted(line["tenant"] for line in offline.lines("call")) == list(TENANTS)
    moves = [line["move"] for line in offline.lines("outcome")]
    assert moves.count("restored") == 3
    (ended,) = offline.lines("ended")
    assert ended["restored"] == list(TENANTS)


def test_a_call_that_cannot_be_recorded_is_not_sent(tmp_path):
    offline = Offline(tmp_path / "nowhere" / "record.jsonl")
    with pytest.raises(OSError, match="No such file"):
        offline.take_back()
    assert offline.world.calls() == []


def test_who_cannot_be_taken_back_is_listed_with_the_reason(offline):
    offline.world.fault("birch", "refuse")
    ledger = offline.take_back()
    assert sorted(ledger.restored) == ["acorn", "cedar"]
    assert set(ledger.left) == {"birch"}
    assert offline.lines("ended")[0]["left"].keys() == {"birch"}


def test_a_restore_that_fails_is_tried_again_under_a_new_key(offline):
    offline.world.fault("acorn", "fail", times=1)
    ledger = offline.take_back()
    assert sorted(ledger.restored) == list(TENANTS)
    keys = [call.key for call in offline.world.calls("restore") if call.tenant == "acorn"]
    assert len(keys) == len(set(keys)) == 2


def test_a_call_that_may_still_be_applied_late_is_waited_for(tmp_path):
    offline = Offline(tmp_path / "record.jsonl", touched_ago=2)
    began = offline.world.clock.now()
    offline.take_back()
    # Twice the time-out of five seconds after the first call, two of them were over.
    assert offline.world.clock.now() - began >= timedelta(seconds=8)


def test_a_second_replay_uses_other_keys(offline):
    offline.take_back()
    first = {line["key"] for line in offline.lines("call")}
    for tenant in TENANTS:
        offline.world.fleet.tenant(tenant).version = "2.0"
    offline.record = offline.record.with_name("again.jsonl")
    asyncio.run(offline.world.clock.drive(offline.world.clock.sleep(1)))
    offline.take_back()
    assert not first & {line["key"] for line in offline.lines("call")}

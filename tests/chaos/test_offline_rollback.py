"""The database is away for good, as it seems, and a person takes the plan back without it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rig import APPROVALS, Locked, assert_chain_holds, assert_each_key_worked_once
from tests.journeys.stack import GOOD, OLD, Stack, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  two-steps:
    description: "A batch that soaks for long, then another."
    batches:
      - {{name: canary, percentage: 50, soak_minutes: 10}}
      - {{name: rest, percentage: 50, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, call_timeout_seconds: 2}}
{APPROVALS}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("offline"), policies=POLICIES) as stack:
        stack.turn(latency_seconds=0.1, jitter_seconds=0)
        yield stack


def replay(stack: Stack, file: Path, *options: str) -> tuple[int, str]:
    done = stack.beside(
        "manage.py", "rollback_offline", str(file), "--by", "Olga", *options, seconds=120
    )
    return done.returncode, done.stdout + done.stderr


def test_fault_05_a_plan_is_taken_back_without_the_database_and_the_trail_hears_of_it(stack):
    tenants = stack.take_tenants(6)
    before = dict(zip(tenants, stack.configs(tenants), strict=True))
    plan = stack.begin(tenants, policy="two-steps")
    wait_until(lambda: _soaks(stack, plan), 60, "the canary soaks")
    touched = [tenant for tenant, version in stack.versions(tenants).items() if version == GOOD]
    assert len(touched) == 3
    file = stack.data / "offline" / f"{plan}.jsonl"

    code, said = replay(stack, file, "--reason", "just so")
    assert code != 0
    assert "The database answers: roll back in the console" in said

    with Locked(stack):
        code, said = replay(stack, file, "--reason", "the database hangs")
        assert code == 0, said
        assert "3 of 3 tenants run their old version" in said
        # With version and settings of before, though nothing could be looked up.
        assert set(stack.versions(tenants).values()) == {OLD}
        assert dict(zip(tenants, stack.configs(tenants), strict=True)) == before
        replayed = stack.calls(plan, "restore")
        assert sorted(call["tenant"] for call in replayed) == sorted(touched)

    # The plan must not go on from there: it is stopped, verified, and the trail tells it all.
    stack.wait_for(plan, "rolled_back", seconds=90)
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_chain_holds(stack, plan)
    assert_each_key_worked_once(stack, plan)
    wait_until(lambda: _told(stack, plan), 20, "the trail tells of the offline rollback")
    (event,) = _told(stack, plan)
    assert "Olga took 3 tenants back while the database was away" in event["sentence"]
    assert "the database hangs" in event["sentence"]
    assert sorted(event["payload"]["restored"]) == sorted(touched)
    # No forward call came in between or afterwards.
    assert len(stack.calls(plan, "install")) == 3
    left = {path.suffix for path in (stack.data / "offline").iterdir() if plan in path.name}
    assert ".taken-in" in left


def test_fault_05_a_file_that_was_changed_is_refused_and_nobody_is_called(stack):
    tenants = stack.take_tenants(2)
    plan = stack.begin(tenants, policy="two-steps")
    wait_until(lambda: _soaks(stack, plan), 60, "the canary soaks")
    file = stack.data / "offline" / f"{plan}.jsonl"
    forged = file.with_name("forged.jsonl")
    forged.write_text(file.read_text().replace(json.dumps(OLD), json.dumps("0.0.1")))

    code, said = replay(stack, forged, "--reason", "x", "--although-the-database-answers")

    assert code != 0
    assert "forged.jsonl:2: this line was not written by this installation" in said
    assert stack.calls(plan, "restore") == []
    forged.unlink()
    stack.act(plan, "rollback", reason="Olga cleans up")
    stack.wait_for(plan, "rolled_back")


def _soaks(stack: Stack, plan: str) -> bool:
    return any(batch["state"] == "soaking" for batch in stack.snapshot(plan)["batches"])


def _told(stack: Stack, plan: str) -> list[dict[str, Any]]:
    return [event for event in stack.events(plan) if event["kind"] == "offline_rollback"]

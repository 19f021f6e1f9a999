"""A backup that was made in the middle of a rollout, restored after the machine is lost."""

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.own_fleet import import_all, own_fleet
from tests.chaos.rig import APPROVALS
from tests.journeys.stack import GOOD, OLD, Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LATENCY = 1.0
POLICIES = f"""
policies:
  halves:
    description: "Two at a time, so that there is a long middle."
    batches:
      - {{name: first, percentage: 50, soak_minutes: 0.05}}
      - {{name: second, percentage: 50, soak_minutes: 0.05}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 2, call_timeout_seconds: 4}}
{APPROVALS}"""


def manage(stack: Stack, *command: str) -> str:
    done = stack.beside("manage.py", *command, seconds=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def called_in(copy: Path) -> set[str]:
    """Return the tenants of whose calls the copy knows."""
    with closing(sqlite3.connect(f"file:{copy}/console.sqlite3?immutable=1", uri=True)) as database:
        rows = database.execute(
            "SELECT DISTINCT tenant_key FROM batches_tenantupgrade WHERE touched_at IS NOT NULL"
        )
        return {str(key) for (key,) in rows}


def test_a_restored_console_goes_on_where_its_platform_really_is(tmp_path: Path) -> None:
    copy, keys, restored = (tmp_path / name for name in ("copy", "keys", "restored"))
    with own_fleet(tmp_path / "fleet", tenants=40, latency=LATENCY) as fleet:
        with running(tmp_path / "data", policies=POLICIES, environ=fleet.environ) as lost:
            fleet.take_over(lost)
            import_all(lost, fleet, tmp_path)
            plan = lost.begin(fleet.tenants, policy="halves")
            lost.wait_for_calls(plan, "install", 5)
            manage(lost, "backup", str(copy), "--keys", str(keys))
            # The platform goes on: more is upgraded than the copy knows of.
            lost.wait_for_calls(plan, "install", len(called_in(copy)) + 8)
            lost.cut_the_power()
        # What was on its way reaches the platform all the same.
        time.sleep(2 * LATENCY)
        before = {call["tenant"] for call in lost.calls(plan, "install") if call["applied"]}
        forgotten = before - called_in(copy)
        assert forgotten

        shutil.copytree(copy, restored)
        shutil.copytree(keys, restored, dirs_exist_ok=True)
        # The demonstration's own, which no backup holds: its platform and its people's log-ins.
        shutil.copy(tmp_path / "data/demo-logins.txt", restored)
        with running(restored, policies=POLICIES, environ=fleet.environ) as stack:
            fleet.take_over(stack)
            stack.wait_for(plan, "completed", seconds=120)
            assert set(stack.versions(fleet.tenants).values()) == {GOOD}
            applied = [call["tenant"] for call in stack.calls(plan, "install") if call["applied"]]
            assert before < set(applied)
            assert sorted(applied) == sorted(set(applied)), "applied twice"

            stack.act(plan, "rollback", reason="Olga takes it back")
            stack.wait_for(plan, "rolled_back", seconds=120)
            # Whom it never called, as far as it knows, it leaves; it tells who they are.
            versions = stack.versions(fleet.tenants)
            assert {tenant for tenant in fleet.tenants if versions[tenant] != OLD} == forgotten
            (told,) = stack.rows("SELECT payload FROM batches_alert WHERE kind = 'found_upgraded'")
            assert set(json.loads(told["payload"])["tenants"]) == forgotten
            # As that alert says.
            way_back = stack.begin(sorted(forgotten), policy="halves", to=OLD)
            stack.wait_for(way_back, "completed", seconds=60)
            assert set(stack.versions(fleet.tenants).values()) == {OLD}
            manage(stack, "audit_verify")
            assert "The copy is whole" in manage(stack, "backup", str(copy), "--check")

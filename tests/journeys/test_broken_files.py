"""Somebody saves half a file while an upgrade runs: nothing widens, and the way back stays open."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.stack import GOOD, OLD, Stack, assert_nothing_doubled, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POLICIES = """
policies:
  watched:
    description: "Two steps; the first one soaks long enough to break a file in it."
    batches:
      - {name: canary, percentage: 50, soak_minutes: 0.1, metrics: [error_rate]}
      - {name: rest, percentage: 50, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, parallelism: 2, call_timeout_seconds: 4}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
DICTIONARY, DEPLOYERS = "version_upgrade_dashboards.json", "deployers.yaml"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("broken"), policies=POLICIES) as stack:
        stack.turn(latency_seconds=0.2, jitter_seconds=0)
        yield stack


@contextmanager
def half_saved(stack: Stack, name: str) -> Iterator[Path]:
    """Let a file of the configuration end in its middle for a while."""
    file = stack.data / "config" / name
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[: len(whole) // 2], encoding="utf-8")
    try:
        yield file
    finally:
        file.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("name", [DICTIONARY, DEPLOYERS])
def test_fault_31_a_rollback_runs_though_a_file_is_broken(stack, name):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="watched")
    stack.wait_for_calls(plan, "install", 2)
    restarts = stack.supervised()["watch"]["restarts"]

    with half_saved(stack, name):
        stack.act(plan, "rollback", reason="Olga has seen enough")
        stack.wait_for(plan, "rolled_back")

    assert set(stack.versions(tenants).values()) == {OLD}
    assert_nothing_doubled(stack, plan)
    assert stack.supervised()["watch"]["restarts"] == restarts


@pytest.mark.parametrize("name", [DICTIONARY, DEPLOYERS])
def test_fault_31_nothing_widens_while_a_file_is_broken_and_all_goes_on_when_it_is_mended(
    stack, name
):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="watched")
    stack.wait_for_calls(plan, "install", 4)
    wait_until(lambda: _soaks(stack, plan), 30, "the canary soaks")

    with half_saved(stack, name):
        # Longer than the soak.
        time.sleep(9)
        widened = len(stack.calls(plan, "install"))
        alerts = stack.rows("SELECT kind FROM batches_alert WHERE resolved_at IS NULL")

    assert widened == 4
    assert "configuration" in {alert["kind"] for alert in alerts}
    stack.wait_for(plan, "completed")
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert_nothing_doubled(stack, plan)


def test_fault_31_a_watch_that_starts_while_the_dictionary_is_broken_takes_back_all_the_same(stack):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="watched")
    stack.wait_for_calls(plan, "install", 2)

    with half_saved(stack, DICTIONARY):
        stack.kill("watch")
        stack.act(plan, "rollback", reason="Olga has seen enough")
        stack.wait_for(plan, "rolled_back")

    assert set(stack.versions(tenants).values()) == {OLD}
    assert_nothing_doubled(stack, plan)


def _soaks(stack: Stack, plan: str) -> bool:
    return any(batch["state"] == "soaking" for batch in stack.snapshot(plan)["batches"])

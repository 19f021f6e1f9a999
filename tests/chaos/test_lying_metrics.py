"""Monitoring that is gone, slow, silent, stale or lies: nothing passes on it, nobody goes back."""

import json
from collections.abc import Iterator

import pytest

from tests.chaos.lying_source import LyingSource
from tests.chaos.rig import APPROVALS, assert_ended_right
from tests.journeys.stack import GOOD, HOST, OLD, Stack, free_port, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  watched:
    description: "One batch that passes on good data alone and is held 3 s after these end."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 20}}
    limits: {{look_seconds: 1, missing_metrics_minutes: 0.05}}
  watched-twice:
    description: "The same, its latency from another source."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 5}}
    rollback_thresholds: {{error_rate: 20, latency_ms: 200}}
    limits: {{look_seconds: 1, missing_metrics_minutes: 5}}
{APPROVALS}"""
SLOW = "1.6.0"
# The number of the fault, and what the source does.
FAULTS = [
    ("08", "503"),
    ("09", "hang"),
    ("10", "constant"),
    ("10", "other tenants"),
    ("11", "nan"),
    ("11", "infinite"),
    ("11", "text"),
    ("11", "empty"),
    ("12", "ten minutes old"),
    ("12", "ten minutes ahead"),
]


def dictionary(lying: str, honest: str) -> str:
    """Return a dictionary whose two Kpis come from two sources."""
    source = {"tenant_label": "tenant", "version_label": "version"}
    return json.dumps(
        {
            "kpis": [
                {"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"},
                {"name": "latency_ms", "kind": "histogram", "unit": "ms", "direction": "lower"},
            ],
            "sources": {
                "lying": {"kind": "prometheus_text", "url": lying, "timeout_seconds": 1},
                "honest": {"kind": "prometheus_text", "url": honest, "timeout_seconds": 3},
            },
            "mappings": [
                {
                    "kpi": "error_rate",
                    "source": "lying",
                    "bad": {"metric": "tenant_errors_total"},
                    "total": {"metric": "tenant_requests_total"},
                    **source,
                },
                {
                    "kpi": "latency_ms",
                    "source": "honest",
                    "buckets": {"metric": "tenant_latency_seconds_bucket"},
                    "native_unit": "s",
                    **source,
                },
            ],
            "dashboards": [],
        }
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, LyingSource]]:
    folder, fleet_port = tmp_path_factory.mktemp("lies"), free_port()
    truth = f"http://{HOST}:{fleet_port}/metrics"
    with LyingSource(truth) as source:
        named = folder / "dashboards.json"
        named.write_text(dictionary(source.url, truth))
        with running(
            folder / "data",
            policies=POLICIES,
            fleet_port=fleet_port,
            environ={"UPGRADECONSOLE_DICTIONARY": str(named)},
        ) as stack:
            stack.turn(latency_seconds=0.05, jitter_seconds=0, traffic=5, error_rates={GOOD: 0.0})
            yield stack, source


@pytest.fixture
def source(sources: tuple[Stack, LyingSource]) -> Iterator[LyingSource]:
    _stack, source = sources
    source.mode = "honest"
    yield source
    source.mode = "honest"


@pytest.fixture
def stack(sources: tuple[Stack, LyingSource]) -> Stack:
    return sources[0]


def open_alerts(stack: Stack, plan: str) -> set[str]:
    rows = stack.rows(
        "SELECT kind FROM batches_alert WHERE plan_id = ? AND resolved_at IS NULL",
        plan.replace("-", ""),
    )
    return {row["kind"] for row in rows}


def batch_state(stack: Stack, plan: str) -> str:
    batches = stack.snapshot(plan)["batches"]
    return str(batches[0]["state"])


def wait_until_held(stack: Stack, plan: str, what: str) -> None:
    """Wait until the plan's batch is held; fail with what happened instead."""
    try:
        wait_until(lambda: batch_state(stack, plan) == "held", 60, f"the batch is held ({what})")
    except AssertionError as late:
        raise AssertionError(f"{late}\n{stack.story(plan)}") from None


def goes_on_when_mended(stack: Stack, source: LyingSource, mode: str) -> None:
    """Lie from the first look on: held, told, nobody taken back; the truth alone lets it end."""
    tenants = stack.take_tenants(3)
    # No plan is submitted whose Kpis cannot be read: the lies begin right after that.
    plan = stack.hand_in(tenants, policy="watched")
    source.mode = mode
    stack.approve(plan)

    wait_until_held(stack, plan, mode)
    assert "missing_metrics" in open_alerts(stack, plan)
    assert set(stack.versions(tenants).values()) == {GOOD}
    held = next(e for e in stack.events(plan) if e["kind"] == "batch_held")
    assert "error_rate" in held["sentence"]

    source.mode = "honest"
    wait_until(lambda: "missing_metrics" not in open_alerts(stack, plan), 40, "the data are back")
    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    rolled_back = stack.rows(
        "SELECT 1 FROM batches_rollback WHERE plan_id = ?", plan.replace("-", "")
    )
    assert not rolled_back


@pytest.mark.parametrize("mode", [mode for fault, mode in FAULTS if fault == "08"])
def test_fault_08_a_source_that_is_down(stack, source, mode):
    goes_on_when_mended(stack, source, mode)


@pytest.mark.parametrize("mode", [mode for fault, mode in FAULTS if fault == "09"])
def test_fault_09_a_source_that_is_slow(stack, source, mode):
    goes_on_when_mended(stack, source, mode)


@pytest.mark.parametrize("mode", [mode for fault, mode in FAULTS if fault == "10"])
def test_fault_10_a_source_that_lies(stack, source, mode):
    goes_on_when_mended(stack, source, mode)


@pytest.mark.parametrize("mode", [mode for fault, mode in FAULTS if fault == "11"])
def test_fault_11_a_source_without_a_number(stack, source, mode):
    goes_on_when_mended(stack, source, mode)


@pytest.mark.parametrize("mode", [mode for fault, mode in FAULTS if fault == "12"])
def test_fault_12_a_source_whose_clock_is_wrong(stack, source, mode):
    goes_on_when_mended(stack, source, mode)


def test_fault_09_a_hanging_source_keeps_no_other_guardrail_from_its_work(stack, source):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="watched-twice", to=SLOW)
    wait_until(lambda: batch_state(stack, plan) != "pending", 40, "the batch has begun")

    source.mode = "hang"

    stack.wait_for(plan, "rolled_back", seconds=90)
    (breach,) = [e for e in stack.events(plan) if e["kind"] == "ruling_breached"]
    assert "latency_ms" in breach["sentence"]
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    assert stack.rollback(plan)["missed_at"] is None

"""A real Prometheus between the platform and the console: it asks in PromQL and judges the same."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.stack import (
    BAD,
    GOOD,
    HOST,
    OLD,
    Stack,
    ask,
    assert_nothing_doubled,
    ends_with_us,
    free_port,
    running,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.prometheus, pytest.mark.timeout(480)]

PROMETHEUS = "/usr/bin/prometheus"
POLICIES = """
policies:
  guarded:
    description: "Two steps, errors and latency watched each second."
    batches:
      - {name: canary, percentage: 25, soak_minutes: 0.15, metrics: [error_rate, latency_ms]}
      - {name: rest, percentage: 75, soak_minutes: 0.05}
    rollback_thresholds: {error_rate: 2, latency_ms: 200}
    limits: {look_seconds: 1}
  impatient:
    description: "One batch that is held 3 s after its data end."
    batches:
      - {name: all, percentage: 100, soak_minutes: 0.2}
    rollback_thresholds: {error_rate: 2}
    limits: {look_seconds: 1, missing_metrics_minutes: 0.05}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
SCRAPING = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: fleet
    static_configs: [{{targets: ["{host}:{port}"]}}]
"""


def dictionary(prometheus_url: str) -> str:
    """Return a dictionary in which every Kpi comes from Prometheus."""
    source = {"source": "prom", "tenant_label": "tenant"}
    return json.dumps(
        {
            "kpis": [
                {
                    "name": "error_rate",
                    "kind": "ratio",
                    "unit": "%",
                    "direction": "lower",
                    "range": [0, 100],
                },
                {"name": "latency_ms", "kind": "histogram", "unit": "ms", "direction": "lower"},
            ],
            "sources": {
                "prom": {"kind": "prometheus", "url": prometheus_url, "timeout_seconds": 3}
            },
            "mappings": [
                {
                    "kpi": "error_rate",
                    "bad": {"query": "sum by (tenant) (tenant_errors_total)"},
                    "total": {"query": "sum by (tenant) (tenant_requests_total)"},
                    **source,
                },
                {
                    "kpi": "latency_ms",
                    "buckets": {"query": "sum by (tenant, le) (tenant_latency_seconds_bucket)"},
                    "native_unit": "s",
                    **source,
                },
            ],
            "dashboards": [
                {
                    "title": "Canary against control",
                    "panels": [{"kpi": "error_rate", "split": "canary_control"}],
                }
            ],
        }
    )


@contextmanager
def prometheus(folder: Path, fleet_port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Prometheus that scrapes the fleet; yield its address and its process."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(SCRAPING.format(host=HOST, port=fleet_port))
    with (folder / "prometheus.log").open("wb") as out:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={HOST}:{port}",
                "--log.level=warn",
            ],
            cwd=folder,
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    try:
        yield f"http://{HOST}:{port}", process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Stack, subprocess.Popen[bytes]]]:
    folder = tmp_path_factory.mktemp("prometheus")
    fleet_port = free_port()
    with prometheus(folder, fleet_port) as (url, process):
        named = folder / "dashboards.json"
        named.write_text(dictionary(url))
        environ = {"UPGRADECONSOLE_DICTIONARY": str(named)}
        with running(
            folder / "data", policies=POLICIES, fleet_port=fleet_port, environ=environ
        ) as stack:
            # So few requests are judged that chance alone could break the limit.
            stack.turn(latency_seconds=0.05, jitter_seconds=0, error_rates={GOOD: 0.0})
            wait_until(lambda: scraped(url), 40, "Prometheus has scraped the fleet")
            yield stack, process


@pytest.fixture
def stack(server: tuple[Stack, subprocess.Popen[bytes]]) -> Stack:
    return server[0]


def scraped(url: str) -> bool:
    """Tell whether Prometheus knows the fleet's tenants."""
    try:
        _status, answer = ask("GET", f"{url}/api/v1/query?query=count(tenant_requests_total)")
    except OSError:
        return False
    return bool(answer["data"]["result"])


def test_a_bad_release_seen_through_prometheus_is_taken_back(stack):
    tenants = stack.take_tenants(24)

    plan = stack.begin(tenants, policy="guarded", to=BAD)

    stack.wait_for(plan, "rolled_back", seconds=90)
    assert set(stack.versions(tenants).values()) == {OLD}
    touched = {call["tenant"] for call in stack.calls(plan, "install")}
    # The rest never saw it.
    assert len(touched) == 6
    assert {call["tenant"] for call in stack.calls(plan, "restore")} == touched
    assert_nothing_doubled(stack, plan)
    assert stack.rollback(plan)["trigger"] == "breach"
    # Metric, value and threshold are named.
    (breach,) = [e for e in stack.events(plan) if e["kind"] == "ruling_breached"]
    value = breach["payload"]["value"]
    assert 2 < value < 20
    assert breach["payload"]["threshold"] == 2
    assert f"error_rate {value:.3g} %" in breach["sentence"]
    assert "over its limit of 2 %" in breach["sentence"]
    begun = next(e for e in stack.events(plan) if e["kind"] == "rollback_begun")
    assert breach["sentence"].rstrip(".") in begun["sentence"]
    sources = stack.rows("SELECT DISTINCT source FROM batches_kpisample")
    assert [row["source"] for row in sources] == ["prom"]


def test_a_slow_release_is_found_in_the_buckets(stack):
    tenants = stack.take_tenants(16)

    plan = stack.begin(tenants, policy="guarded", to="1.6.0")

    stack.wait_for(plan, "rolled_back", seconds=90)
    assert set(stack.versions(tenants).values()) == {OLD}
    breaches = [e["sentence"] for e in stack.events(plan) if e["kind"] == "ruling_breached"]
    assert ["latency_ms" in sentence and "200 ms" in sentence for sentence in breaches] == [True]


def test_a_good_release_passes(stack):
    tenants = stack.take_tenants(16)

    plan = stack.begin(tenants, policy="guarded", to=GOOD)

    stack.wait_for(plan, "completed", seconds=90)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert len(stack.calls(plan)) == len(tenants)


def test_fault_09_a_prometheus_that_stands_still_holds_the_batch_until_it_goes_on(stack, server):
    _stack, process = server
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="impatient", to=GOOD)
    stack.wait_for_calls(plan, "install", len(tenants))

    process.send_signal(signal.SIGSTOP)

    wait_until(lambda: _batch(stack, plan)["state"] == "held", 60, "the batch is held")
    assert any(alert["kind"] == "missing_metrics" for alert in stack.snapshot(plan)["alerts"])
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: not stack.snapshot(plan)["alerts"], 60, "the data are back")
    stack.wait_for(plan, "completed", seconds=90)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert_nothing_doubled(stack, plan)


def _batch(stack: Stack, plan: str) -> dict[str, Any]:
    batch: dict[str, Any] = stack.snapshot(plan)["batches"][0]
    return batch

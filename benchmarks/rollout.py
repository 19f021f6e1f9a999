"""Rollouts and rollbacks beside a bare aiohttp script, in the same run, trail and journal on.

`./console bench rollout [--rows good,back,live,faulty,trail,hooks] [--rounds 5] [--large]
[--json FILE]`.
Ratios are to the bare script of the same round (it keeps no journal and reads nothing back); a
rollback is measured from its trigger to the last read-back, by the console's own record of it.
"""

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import scene
from benchmarks.results import Found

DICTIONARY = """
{"kpis": [{"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"}],
 "sources": {"page": {"kind": "prometheus_text", "url": "URL/metrics"}},
 "mappings": [{"kpi": "error_rate", "source": "page", "tenant_label": "tenant",
   "bad": {"metric": "errors_total"}, "total": {"metric": "requests_total"}}], "dashboards": []}
"""
LIVE_POLICY = """
  live:
    batches: [{name: all, percentage: 100, soak_minutes: 60}]
    rollback: {on_manual_pause: {rollback_after_seconds: 0}}
    limits: {parallelism: 100, call_timeout_seconds: 10, look_seconds: 1}
    guardrails: [{kpi: error_rate, at_most: 2, window: 60s, min_samples: 20}]
"""
HOOK = 0.2
IN_FLIGHT = 100
MOST_OVER_RAW = 1.25
LIVE_TENANTS = 25
LIVE_GOAL_SECONDS = 10
FAULT_TIME_OUT = 10.0
GOAL_OVER_FLOOR = 1.5
MOST_FOR_TRAIL = 1.10


@contextmanager
def platform(latency: float) -> Iterator[str]:
    """Start the stub platform; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stub_platform", "--latency", str(latency)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def tell(base: str, what: str, **body: Any) -> None:
    """Post to the stub."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}/{what}", data=data, method="POST", headers=headers)
    urllib.request.urlopen(request).close()


def span(base: str) -> float:
    """Return what the platform saw: seconds from the first change to the last answer."""
    with urllib.request.urlopen(f"{base}/_span") as answer:
        return float(json.load(answer)["seconds"])


def raw_seconds(base: str, tenants: int, in_flight: int = IN_FLIGHT) -> float:
    """Run the bare script in a process of its own."""
    tell(base, "_reset")
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.raw_rollout", base),
            *("--tenants", str(tenants), "--in-flight", str(in_flight)),
        ],
        check=True,
    )
    return span(base)


@dataclass
class Bench:
    """The prepared console and its platform."""

    base: str
    folder: Path
    plans: int = 0

    def name(self) -> str:
        """Return a name that no plan has yet."""
        self.plans += 1
        return f"bench-{self.plans}"

    def configure(self, *, in_flight: int, latency: float, call_timeout: float) -> None:
        """Let the platform, its description and the policy be so from now on; forget the pace."""
        from django.utils import timezone

        from batches.models import DeployerMeasurement
        from plans.policies.keeping import save_policy_text

        tell(self.base, "_set", latency=latency, faults=False)
        (self.folder / "deployers.yaml").write_text(
            scene.DEPLOYERS.format(base=self.base, in_flight=in_flight, latency=latency)
        )
        text = scene.POLICY.format(in_flight=in_flight, call_timeout=call_timeout, more=LIVE_POLICY)
        save_policy_text(text=text, source="bench", by=None, now=timezone.now(), via="command")
        DeployerMeasurement.objects.all().delete()

    def forward(self, tenants: int) -> tuple[Any, float]:
        """Upgrade the first tenants; return the plan and the span that the platform saw."""
        from django.utils import timezone

        from batches.effects.execution import call_batch, new_effect_loop
        from batches.models import Batch, TenantUpgrade
        from batches.rollout import progress
        from batches.rollout.launch import open_batch

        plan = scene.started(self.name(), keys=tuple(f"t{number}" for number in range(tenants)))
        batch = Batch.objects.get(plan=plan)
        open_batch(batch_id=batch.pk, now=timezone.now())
        tell(self.base, "_reset")
        loop = new_effect_loop()

        async def calls() -> None:
            await call_batch(loop, batch_id=batch.pk, plan_id=plan.pk, executor="hands")
            await loop.close()

        asyncio.run(calls())
        seconds = span(self.base)
        assert TenantUpgrade.objects.filter(plan=plan).counts() == {"upgraded": tenants}
        progress.settle_calls(batch_id=batch.pk, now=timezone.now())
        return plan, seconds

    def back(self, plan: Any, tenants: int) -> Any:
        """Take all of a plan back; return the ended record."""
        from django.utils import timezone

        from batches.effects.execution import new_effect_loop, take_back
        from batches.models import Rollback, TenantUpgrade
        from batches.rollback import ending, rollback

        loop = new_effect_loop()
        record = rollback.request_rollback(
            plan_id=plan.pk, by=None, reason="bench", now=timezone.now(), via="command"
        )

        async def restores() -> None:
            await take_back(loop, rollback_id=record.pk, plan_id=plan.pk, executor="watch")
            await loop.close()

        asyncio.run(restores())
        ending.finish(rollback_id=record.pk, now=timezone.now())
        assert TenantUpgrade.objects.filter(plan=plan).counts() == {"rolled_back": tenants}
        return Rollback.objects.get(pk=record.pk)


def good(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """Row 1: a good rollout of one batch."""
    bench.configure(in_flight=IN_FLIGHT, latency=HOOK, call_timeout=10)
    for tenants in (500, 2_000):
        raw, ours = [], []
        for _round in range(rounds):
            raw.append(raw_seconds(bench.base, tenants))
            plan, seconds = bench.forward(tenants)
            ours.append(seconds)
            bench.back(plan, tenants)
        ratios = [one / floor for one, floor in zip(ours, raw, strict=True)]
        told = f"bare script {statistics.median(raw):.2f} s, ours {statistics.median(ours):.2f} s"
        found.add(f"good rollout, {tenants} tenants", "x raw", ratios, MOST_OVER_RAW, told)


def back(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """Row 2: from the decision to the last read-back."""
    bench.configure(in_flight=IN_FLIGHT, latency=HOOK, call_timeout=10)
    for tenants in (175, 700, *((3_500,) if large else ())):
        raw, ours = [], []
        for _round in range(rounds):
            raw.append(raw_seconds(bench.base, tenants))
            plan, _seconds = bench.forward(tenants)
            ours.append(bench.back(plan, tenants).seconds() or 0.0)
        ratios = [one / floor for one, floor in zip(ours, raw, strict=True)]
        told = f"bare script {statistics.median(raw):.2f} s, ours {statistics.median(ours):.2f} s"
        found.add(f"decided to all read back, {tenants}", "x raw", ratios, MOST_OVER_RAW, told)


@contextmanager
def untold() -> Iterator[None]:
    """Let nothing be written into the trail: what the same work costs without it."""
    from plans.trail import events

    with mock.patch.object(events, "record"):
        yield


def trail(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """The trail's part: the same rollout and way back with it and without, in turns."""
    bench.configure(in_flight=IN_FLIGHT, latency=HOOK, call_timeout=10)
    tenants = 2_000
    forth: dict[str, list[float]] = {"with": [], "without": []}
    home: dict[str, list[float]] = {"with": [], "without": []}
    for _round in range(rounds):
        for name, block in (("with", nullcontext()), ("without", untold())):
            with block:
                plan, seconds = bench.forward(tenants)
                forth[name].append(seconds)
                home[name].append(bench.back(plan, tenants).seconds() or 0.0)
    for what, spent in (("good rollout", forth), ("all read back", home)):
        ratios = [one / bare for one, bare in zip(spent["with"], spent["without"], strict=True)]
        told = ", ".join(f"{statistics.median(all_of):.2f} s {n}" for n, all_of in spent.items())
        found.add(f"{what}, {tenants} tenants", "x without trail", ratios, MOST_FOR_TRAIL, told)


def watched(until: Callable[[], bool], seconds: float) -> None:
    """Run a real watch in a thread until something is so."""
    from batches.watch.loop import Watch

    watch = Watch()
    thread = threading.Thread(target=watch.run)
    thread.start()
    ends = time.monotonic() + seconds
    while not until() and time.monotonic() < ends:
        time.sleep(0.1)
    watch.stopping.set()
    thread.join()


def live(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """Row 3: a bad version goes live; and a good one, which must stay."""
    from batches.models import Rollback, TenantUpgrade
    from plans.models import Plan

    bench.configure(in_flight=IN_FLIGHT, latency=HOOK, call_timeout=10)
    keys = tuple(f"t{number}" for number in range(LIVE_TENANTS))
    seconds = []
    for _round in range(rounds):
        tell(bench.base, "_reset")
        tell(bench.base, "_set", bad=scene.NEW, tenants=list(keys))
        plan = scene.started(bench.name(), policy="live", keys=keys)
        rolled_back = Plan.objects.filter(pk=plan.pk, state="rolled_back")
        watched(rolled_back.exists, 120)
        record = Rollback.objects.get(plan=plan)
        began = min(filter(None, _upgraded_at(TenantUpgrade, plan)))
        assert record.verified_at is not None, "the bad version was never taken back"
        seconds.append((record.verified_at - began).total_seconds())
    found.add(
        "bad version live to all back", "s", seconds, LIVE_GOAL_SECONDS, f"{LIVE_TENANTS} tenants"
    )
    minutes = 10 if large else 1
    tell(bench.base, "_reset")
    tell(bench.base, "_set", bad="", tenants=list(keys))
    plan = scene.started(bench.name(), policy="live", keys=keys)
    watched(lambda: Rollback.objects.filter(plan=plan).exists(), 60 * minutes)
    false = Rollback.objects.filter(plan=plan).count()
    found.add(f"false rollbacks of a good version in {minutes} min", "rollbacks", [false], 0)
    if not false:
        bench.back(plan, LIVE_TENANTS)


def _upgraded_at(upgrades: Any, plan: Any) -> list[Any]:
    return list(upgrades.objects.filter(plan=plan).values_list("upgraded_at", flat=True))


def faulty(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """Row 4: restores of which some fail, hang, are cut off or are slow."""
    bench.configure(in_flight=IN_FLIGHT, latency=HOOK, call_timeout=FAULT_TIME_OUT)
    tenants = 500
    floor = FAULT_TIME_OUT + HOOK
    seconds = []
    for _round in range(rounds):
        plan, _seconds = bench.forward(tenants)
        tell(bench.base, "_set", faults=True)
        seconds.append(bench.back(plan, tenants).seconds() or 0.0)
        tell(bench.base, "_set", faults=False)
    told = f"median {statistics.median(seconds):.2f} s, floor {floor:.1f} s, 0 tenants left behind"
    ratios = [one / floor for one in seconds]
    found.add(f"faulty fleet, {tenants} tenants", "x floor", ratios, GOAL_OVER_FLOOR, told)


def hooks(bench: Bench, found: Found, rounds: int, *, large: bool) -> None:
    """Row 6: slow hooks, measured beside quoted."""
    sizes = [(5.0, 12.0, 100, 300), (5.0, 12.0, 100, 1_000), (30.0, 40.0, 100, 200)]
    if large:
        sizes += [(5.0, 12.0, 500, 10_000), (30.0, 40.0, 1_000, 3_000)]
    for latency, time_out, in_flight, tenants in sizes:
        bench.configure(in_flight=in_flight, latency=latency, call_timeout=time_out)
        plan, _seconds = bench.forward(tenants)
        record = bench.back(plan, tenants)
        took = record.seconds() or 0.0
        label = f"hook {latency:g} s, {tenants} tenants, {in_flight} in flight"
        told = f"measured {took:.1f} s, quoted {record.quote_seconds:.1f} s at worst"
        found.add(f"{label}: measured / worst case", "x", [took / record.quote_seconds], 1.0, told)
        ratio = record.quote_seconds / took
        found.add(f"{label}: worst case / measured", "x", [ratio], GOAL_OVER_FLOOR)
        expected = record.expected_seconds / took
        told = f"expected {record.expected_seconds:.1f} s"
        found.add(f"{label}: expected / measured", "x", [expected], GOAL_OVER_FLOOR, told)
        late = int(record.missed_at is not None)
        found.add(f"{label}: later than the promise", "rollbacks", [late], 0)


ROWS = {"good": good, "back": back, "live": live, "faulty": faulty, "trail": trail, "hooks": hooks}


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(prog="bench rollout")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also the sizes that take long")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    if unknown := [row for row in wanted if row not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    found = Found("rollout")
    with platform(HOOK) as base, tempfile.TemporaryDirectory() as name:
        scene.prepare(
            Path(name),
            base=base,
            tenants=10_000 if options.large else 2_000,
            policies=LIVE_POLICY,
            dictionary=DICTIONARY.replace("URL", base),
        )
        # As hands and watch do when they begin.
        gc.collect()
        gc.freeze()
        bench = Bench(base, Path(name))
        for row in wanted:
            ROWS[row](bench, found, options.rounds, large=options.large)
    found.write(options.json)


if __name__ == "__main__":
    main()

"""The watch's tick: its time and CPU with many tenants and many plans, over real sources.

`./console bench watch [--tenants 10000] [--plans 100] [--seconds 60] [--table] [--json FILE]`
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import metric_page, scene
from benchmarks.results import Found, percentile

GOAL_SECONDS = 1.0


@contextmanager
def page(tenants: int) -> Iterator[str]:
    """Serve the metrics of so many tenants; yields the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.metric_page", "--tenants", str(tenants)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def ticks(seconds: float) -> tuple[list[float], list[float]]:
    """Run a real watch; return the seconds of its ticks, and the CPU seconds of its thread."""
    import threading

    from batches.watch.loop import Watch

    took: list[float] = []
    cost: list[float] = []

    class Measured(Watch):
        def tick(self, now, steady=None):
            began, cpu = time.monotonic(), time.thread_time()
            super().tick(now, steady)
            took.append(time.monotonic() - began)
            cost.append(time.thread_time() - cpu)

    watch = Measured()
    ending = threading.Timer(seconds, watch.stopping.set)
    ending.start()
    watch.run()
    ending.cancel()
    # The first tick takes the leases and builds what it remembers.
    return took[1:], cost[1:]


def one(tenants: int, plans: int, seconds: float, look: float) -> tuple[list[float], list[float]]:
    """Measure with `plans` soaking plans that share the tenants."""
    each = max(1, tenants // plans)
    with page(tenants) as url, tempfile.TemporaryDirectory() as folder:
        scene.prepare(
            Path(folder),
            base="http://127.0.0.1:9",
            tenants=tenants,
            policies=metric_page.POLICY.replace("LOOK", f"{look:g}"),
            dictionary=metric_page.DICTIONARY.replace("URL", url),
        )
        for number in range(plans):
            first = number * each
            keys = tuple(f"t{key}" for key in range(first, first + each))
            scene.soaking(f"plan-{number}", policy="watched", keys=keys)
        return ticks(seconds)


def in_own_process(tenants: int, plans: int, seconds: float, look: float, out: Path) -> None:
    """Measure in a fresh process: Django can be set up only once."""
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.watch", "--one", "--json", str(out)),
            *("--tenants", str(tenants), "--plans", str(plans)),
            *("--seconds", str(seconds), "--look", str(look)),
        ],
        check=True,
    )


def main() -> None:
    """Measure the named size, and with --table smaller ones too."""
    parser = argparse.ArgumentParser(prog="bench watch")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--plans", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--look", type=float, default=5)
    parser.add_argument("--table", action="store_true", help="several sizes, up to 100 plans")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    found = Found("watch")
    sizes = [(options.tenants, options.plans)]
    if options.table:
        sizes = [(100, 1), (1_000, 1), (10_000, 1), (1_000, 10), (1_000, 100), (10_000, 100)]
        parts: list[dict[str, object]] = []
        for tenants, plans in sizes:
            with tempfile.NamedTemporaryFile(suffix=".json") as out:
                in_own_process(tenants, plans, options.seconds, options.look, Path(out.name))
                import json

                parts.append(json.loads(Path(out.name).read_text(encoding="utf-8")))
        for part in parts:
            for row in part["results"]:
                found.add(row["name"], row["unit"], row["values"], row["goal"], row["note"])
        found.write(options.json)
        return
    for tenants, plans in sizes:
        took, cost = one(tenants, plans, options.seconds, options.look)
        label = f"{tenants} tenants x 4 Kpis, {plans} live plan{'s'[: plans != 1]}"
        found.add(
            f"tick p95, {label}",
            "s",
            [percentile(took, 0.95)],
            GOAL_SECONDS,
            f"{len(took)} ticks, median {percentile(took, 0.5):.3f} s, longest {max(took):.2f} s",
        )
        busy = sum(cost) / options.seconds
        found.add(
            f"CPU p95 of a tick, {label}",
            "s",
            [percentile(cost, 0.95)],
            None,
            f"the watch's thread uses {100 * busy:.0f} % of a core",
        )
    found.write(options.json)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # Threads of the sources may still wait for an answer.
    os._exit(0)


if __name__ == "__main__":
    main()

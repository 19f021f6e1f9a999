"""The evidence test in simulated rollouts: false alarms under hostile traffic, delays, and cost.

`./console bench evidence [--runs 2000] [--processes 2] [--json FILE]`

Each run simulates three hours of history, calibrates the test with it as the console does, and
then half an hour of looks, 5 s apart, at 2 upgraded and 38 waiting tenants of 10 requests/s each.
"""

import argparse
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from batches.evidence.calibration import Usual, exposure, fleet_rate
from batches.evidence.plan_evidence import PlanEvidence, with_look
from batches.evidence.rules import EvidenceTest, KpiUnderTest
from batches.evidence.sequential_test import (
    Counts,
    Process,
    Tolerance,
    dispersion,
    take_look,
    threshold,
)
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import LookSample, RatioPoint
from benchmarks.results import Found, percentile
from plans.policies.policy import EvidenceRules

RISK, TOLERANCE = 0.01, Tolerance(1.2, 0.005)
LOOK_SECONDS, HORIZON = 5.0, 1800.0
LOOKS = int(HORIZON / LOOK_SECONDS)
BLOCKS, BLOCK_SECONDS = 36, 300.0
FALSE_GOAL, COST_GOAL = 1.5, 200.0

Times = Callable[[float], float]


def steady(_at: float) -> float:
    """Return that nothing changes over time."""
    return 1.0


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic. `at` of its curves is in seconds, 0 when the plan begins.

    `spread`: of the tenants' own rates (sigma of the logarithm). `noise`, `memory`: of each
    tenant's rate over time, an AR(1) of its logarithm from look to look. `burst`: errors come in
    groups of so many. `worst`: the upgraded tenants are those with the most errors.
    `worsening`: how the upgraded tenants' rate changes by the new version, as (ratio, points).
    """

    name: str
    rate: float = 0.005
    per_second: float = 10.0
    tenants: int = 40
    canaries: int = 2
    spread: float = 0.0
    noise: float = 0.0
    memory: float = 0.0
    burst: int = 1
    worst: bool = False
    rates: Times = steady
    traffic: Times = steady
    worsening: tuple[float, float] = (1.0, 0.0)
    begins: float = 0.0
    grows_at: float = math.inf
    uneven: float = 0.0
    """How differently tenants suffer from what `rates` brings (sigma)."""


def incident(at: float, *, begin: float, seconds: float, times: float) -> float:
    """Return how much worse everyone is in a fleet incident."""
    return times if begin <= at < begin + seconds else 1.0


def drift(at: float, *, by: float) -> float:
    """Return a rate that slowly becomes `by` times what it was, over the plan."""
    return 1 + (by - 1) * min(1.0, max(0.0, at / HORIZON))


def swing(at: float, *, by: float, period: float) -> float:
    """Return a rate that comes and goes."""
    return 1 + by * math.sin(2 * math.pi * at / period)


HOSTILE = (
    Scenario("calm"),
    Scenario("little traffic, 0.2 requests/s", per_second=0.2),
    Scenario("rare errors, 0.05 %", rate=0.0005),
    Scenario("many errors, 5 %", rate=0.05),
    Scenario("exactly what is tolerated", worsening=(1.2, 0.005)),
    Scenario("tenants differ (sigma 1)", spread=1.0),
    Scenario("tenants differ much (sigma 1.5), many errors", rate=0.02, spread=1.5),
    Scenario("the noisiest tenants go first", rate=0.02, spread=1.0, worst=True),
    Scenario("errors double over the rollout", rates=partial(drift, by=2)),
    Scenario("errors swing by half in an hour", rates=partial(swing, by=0.5, period=3600)),
    Scenario(
        "fleet incident, 10 times for 5 min",
        rates=partial(incident, begin=600, seconds=300, times=10),
    ),
    Scenario(
        "fleet incident, 20 times for 2 min, tenants suffer differently",
        spread=0.5,
        uneven=0.3,
        rates=partial(incident, begin=900, seconds=120, times=20),
    ),
    Scenario("bursts of ten", burst=10),
    Scenario("bursts of ten, tenants differ", burst=10, spread=1.0),
    Scenario("bursts of three, many errors", burst=3, rate=0.02),
    Scenario("noise of each tenant (sigma 0.5, AR 0.9)", rate=0.02, noise=0.5, memory=0.9),
    Scenario("traffic swings by 80 %", traffic=partial(swing, by=0.8, period=900), spread=0.5),
    Scenario("half of the fleet is upgraded in between", spread=1.0, grows_at=600),
)


def faults() -> Iterator[Scenario]:
    """Return the faults whose delays are measured."""
    for share, begins in ((2, 0), (5, 0), (10, 0), (2, 900), (5, 900)):
        late = f", {begins} s after the beginning" if begins else ""
        yield Scenario(
            f"0.5 -> {share} %{late}",
            tenants=200,
            worsening=(1.0, share / 100 - 0.005),
            begins=begins,
        )


def poisson(mean: float, dice: random.Random) -> int:
    """Return a Poisson number; the normal approximation where it is large."""
    if mean > 200:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count


@dataclass
class Fleet:
    """The tenants of one run, and what is known of them."""

    scenario: Scenario
    dice: random.Random
    own: list[float] = field(default_factory=list)
    suffers: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    phi: float = 1.0
    past: list[tuple[float, float]] = field(default_factory=list)
    canary: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Draw the tenants, live through their history, and choose who goes first."""
        s, dice = self.scenario, self.dice
        for _tenant in range(s.tenants):
            self.own.append(math.exp(dice.gauss(-(s.spread**2) / 2, s.spread)) if s.spread else 1.0)
            self.suffers.append(math.exp(dice.gauss(0, s.uneven)) if s.uneven else 1.0)
            self.noise.append(dice.gauss(0, s.noise) if s.noise else 0.0)
        self._history()
        order = list(range(s.tenants))
        dice.shuffle(order)
        if s.worst:
            order.sort(key=lambda tenant: -self.own[tenant])
        self.canary = order

    def rate(self, tenant: int, at: float) -> float:
        """Return a tenant's share of errors at a moment, without the new version."""
        times = self.scenario.rates(at)
        if times > 1:
            times = 1 + (times - 1) * self.suffers[tenant]
        noise = math.exp(self.noise[tenant]) if self.scenario.noise else 1.0
        return min(0.9, self.scenario.rate * self.own[tenant] * times * noise)

    def errors(self, mean: float) -> int:
        """Return so many errors on average, in bursts."""
        burst = self.scenario.burst
        return burst * poisson(mean / burst, self.dice)

    def breathe(self, looks: int = 1) -> None:
        """Let the noise of every tenant go on by so many looks."""
        s = self.scenario
        if not s.noise:
            return
        memory = s.memory**looks
        fresh = s.noise * math.sqrt(1 - memory**2)
        self.noise = [memory * old + self.dice.gauss(0, fresh) for old in self.noise]

    def _history(self) -> None:
        s = self.scenario
        size = s.per_second * BLOCK_SECONDS
        table: list[list[float]] = [[] for _ in range(s.tenants)]
        steps = 10 if s.noise else 1
        for block in range(BLOCKS):
            at = (block - BLOCKS) * BLOCK_SECONDS
            sums = [0.0] * s.tenants
            for _step in range(steps):
                self.breathe(int(BLOCK_SECONDS / LOOK_SECONDS) // steps)
                for tenant in range(s.tenants):
                    # An incident or a drift begins with the plan, swings were there before.
                    mean = size / steps * self.rate(tenant, at)
                    sums[tenant] += self.errors(mean)
            for tenant in range(s.tenants):
                table[tenant].append(sums[tenant])
        self.phi = dispersion(table, [[size] * BLOCKS] * s.tenants)
        self.past = [(sum(row), size * BLOCKS) for row in table]


def rollout(scenario: Scenario, seed: int) -> float | None:
    """Return after how many seconds the evidence reached 100 %, None where it never did.

    Seconds since the fault began, where there is one.
    """
    dice = random.Random(seed)
    fleet = Fleet(scenario, dice)
    usual = fleet_rate({str(key): pair for key, pair in enumerate(fleet.past)})
    per_request = [exposure(1.0, *pair, usual) for pair in fleet.past]
    state = Process()
    for number in range(1, LOOKS + 1):
        at = number * LOOK_SECONDS
        fleet.breathe()
        canaries = scenario.tenants // 2 if at > scenario.grows_at else scenario.canaries
        size = scenario.per_second * LOOK_SECONDS * scenario.traffic(at)
        sides = []
        for side, tenants in enumerate((fleet.canary[:canaries], fleet.canary[canaries:])):
            requests = poisson(size * len(tenants), dice)
            each = requests / len(tenants)
            mean = sum(each * _with_version(fleet, tenant, at, side == 0) for tenant in tenants)
            expected = sum(each * per_request[tenant] for tenant in tenants)
            sides.append((min(fleet.errors(mean), requests), requests, expected))
        (xc, nc, ec), (xk, nk, ek) = sides
        look = Counts(LOOK_SECONDS, xc, nc, xk, nk, ec or None, ek or None, fleet.phi)
        if not nc or not nk:
            look = replace(look, canary_expected=None, control_expected=None)
        state = take_look(
            state,
            look,
            TOLERANCE,
            horizon_seconds=HORIZON,
            usual_control_errors=ek if ek > 0 else None,
        )
        if state.peak >= threshold(RISK):
            return at - scenario.begins
    return None


def _with_version(fleet: Fleet, tenant: int, at: float, upgraded: bool) -> float:
    rate = fleet.rate(tenant, at)
    if not upgraded or at <= fleet.scenario.begins:
        return rate
    ratio, points = fleet.scenario.worsening
    return rate * ratio + points


def many(scenario: Scenario, seeds: range) -> list[float | None]:
    """Return what became of these runs."""
    return [rollout(scenario, seed) for seed in seeds]


def upper_bound(found: int, runs: int, certainty: float = 0.95) -> float:
    """Return the largest share that `found` of `runs` does not speak against (Clopper-Pearson)."""
    if found >= runs:
        return 1.0
    low, high = found / runs, 1.0
    for _step in range(60):
        middle = (low + high) / 2
        logs = [
            math.lgamma(runs + 1)
            - math.lgamma(k + 1)
            - math.lgamma(runs - k + 1)
            + k * math.log(middle)
            + (runs - k) * math.log1p(-middle)
            for k in range(found + 1)
        ]
        if math.fsum(map(math.exp, logs)) > 1 - certainty:
            low = middle
        else:
            high = middle
    return high


def one_large_look(tenants: int = 10_000, kpis: int = 4) -> float:
    """Return the CPU milliseconds of one look at so many tenants and Kpis, with their history."""
    names = [f"kpi_{number}" for number in range(kpis)]
    test = EvidenceTest(
        EvidenceRules(kpis=tuple(names)),
        kpis={name: KpiUnderTest(KpiDefinition(name, "ratio", "%", "lower")) for name in names},
    )
    keys = [f"tenant-{number}" for number in range(tenants)]
    usual = Usual(dict.fromkeys(keys, (50.0, 10000.0)), 1.5)
    point = RatioPoint(1.0, 200.0)
    upgraded = tenants // 20
    moment = datetime(2031, 3, 5, tzinfo=UTC)
    looks = [
        LookSample(
            name,
            moment,
            canary=dict.fromkeys(keys[:upgraded], point),
            control=dict.fromkeys(keys[upgraded:], point),
        )
        for name in names
    ]
    before = time.process_time()
    state = PlanEvidence()
    for look in looks:
        state = with_look(state, test, look, usual, soak_started=moment)
    PlanEvidence.from_json(state.to_json())
    return 1000 * (time.process_time() - before)


def _runs(pool: ProcessPoolExecutor, scenario: Scenario, runs: int) -> list[float | None]:
    size = max(1, runs // 40)
    # The same seeds whatever the number of processes: a result can be had again.
    chunks = [range(first, min(first + size, runs)) for first in range(0, runs, size)]
    return [one for part in pool.map(partial(many, scenario), chunks) for one in part]


def main() -> None:
    """Measure false alarms, delays and cost."""
    parser = argparse.ArgumentParser(prog="bench evidence")
    parser.add_argument("--runs", type=int, default=2000, help="of each scenario")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    found = Found("evidence")
    with ProcessPoolExecutor(options.processes) as pool:
        for scenario in HOSTILE:
            if options.only not in scenario.name:
                continue
            alarms = [at for at in _runs(pool, scenario, options.runs) if at is not None]
            bound = 100 * upper_bound(len(alarms), options.runs)
            found.add(
                f"false alarms, {scenario.name}",
                "% at most",
                [bound],
                # With few runs even none of them could not show it.
                FALSE_GOAL if 100 * upper_bound(0, options.runs) <= FALSE_GOAL else None,
                f"{len(alarms)} of {options.runs} runs, risk asked {100 * RISK:g} %",
            )
        for scenario in faults():
            if options.only not in scenario.name:
                continue
            delays = _runs(pool, scenario, options.runs)
            # Who was never found counts as later than everything.
            known = [math.inf if at is None else at for at in delays if at is None or at > 0]
            seen = sum(at is not None for at in delays)
            found.add(
                f"found, {scenario.name}",
                "s",
                [percentile(known, 0.5)],
                None,
                f"95th {percentile(known, 0.95):.0f} s; found in {seen} of {len(delays)} runs;"
                " 2 of 200 tenants, 10 requests/s each, a look each 5 s",
            )
    costs = [one_large_look() for _round in range(5)]
    found.add("CPU of one look, 10,000 tenants x 4 Kpis", "ms", costs, COST_GOAL)
    found.write(options.json)


if __name__ == "__main__":
    main()

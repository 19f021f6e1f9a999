"""Evidence -> what is to follow, and its sentence: roll back, hold, soak on, or let the batch pass.

Pure. What is missing never lets a batch pass: it holds, or the soak goes on until a person decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from batches.evidence.calibration import PRIOR_ERRORS, PRIOR_REQUESTS, Usual, fleet_rate
from batches.evidence.plan_evidence import PlanEvidence, tally_of
from batches.evidence.rules import EvidenceTest, KpiUnderTest
from batches.evidence.sequential_test import Process
from batches.evidence.soak_planner import requests_needed
from batches.guardrails.guard_state import Verdict
from batches.guardrails.measurement import shown
from batches.looks.kpi_points import LookSample
from plans.counted_words import counted
from plans.policies.policy_words import tolerated_words

Word = Literal["rollback", "hold", "soak", "promote"]
KEY: Final = "evidence"
"""What the test is called among the guardrails of its plan."""
PASSES_BELOW: Final = 50.0
IDLE_SECONDS: Final = 60.0
_VERDICTS: Final[Mapping[Word, Verdict]] = {
    "rollback": "breached",
    "hold": "no_data",
    "soak": "undecided",
    "promote": "fine",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the test cannot know by itself.

    `canary`, `control`: how many tenants are upgraded and still wait. `short`: by Kpi, why its
    history is too short; then the test only warns.
    """

    canary: int
    control: int
    usual: Mapping[str, Usual] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)


def surroundings_of(
    test: EvidenceTest, known: Mapping[str, tuple[Usual, str]], *, canary: int, control: int
) -> Surroundings:
    """Return the surroundings by what is known per Kpi, and why it is too little where it is."""
    tested = {kpi: known[kpi] for kpi in test.kpis if kpi in known}
    return Surroundings(
        canary=canary,
        control=control,
        usual={kpi: usual for kpi, (usual, _short) in tested.items() if usual.estimated},
        short={kpi: short for kpi, (_usual, short) in tested.items() if short},
    )


@dataclass(frozen=True, slots=True)
class EvidenceRuling:
    """What the test says now. `may_pass`: a batch whose soak is over is not kept by it."""

    word: Word
    verdict: Verdict
    action: Literal["", "rollback", "pause", "warn", "hold"]
    sentence: str
    cause: str
    kpi: str
    percent: float
    may_pass: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """What the last looks at one Kpi had, and the worst tenant among them."""

    seconds: float
    errors: float
    requests: float
    tenants: int
    control_errors: float
    control_requests: float
    worst: tuple[str, float] | None


def rule(state: PlanEvidence, test: EvidenceTest, around: Surroundings) -> EvidenceRuling:
    """Return the ruling on the evidence so far."""
    percent = state.percent(test.risk)
    kpi = state.blame or next(iter(test.kpis), "")
    said = f"{_totals(state.processes.get(kpi), test, kpi)}evidence {percent:.0f} %"
    if state.reached_at is not None:
        action = "warn" if around.short else test.rules.action
        sentence = f"{said}, tolerated {tolerated_words(test.rules)}{_trust(around)}"
        return _ruling("rollback", action, sentence, "", kpi, percent, bool(around.short))
    if test.unusable:
        return _ruling("hold", "", next(iter(test.unusable.values())), "unusable", kpi, percent)
    if not around.canary:
        return _ruling("soak", "", "nobody is upgraded yet", "", kpi, percent)
    if state.incidents:
        ill = state.incidents[0]
        times = state.processes[ill].incident
        sentence = (
            f"{ill}: those who were not upgraded have {times:.1f} times their usual errors too,"
            f" so it is hardly the new version; {said}"
        )
        return _ruling("hold", "hold", sentence, "fleet_incident", ill, percent)
    if not around.control:
        sentence = f"nobody is left to compare with; {said} so far"
        return _ruling("promote", "", sentence, "no_control", kpi, percent, may_pass=True)
    for name in test.kpis:
        if name not in state.processes:
            return _ruling("soak", "", f"{name} was not looked at yet", "", name, percent)
        idle = state.processes[name].idle_seconds
        if idle >= IDLE_SECONDS:
            sentence = (
                f"{name}: no requests in the upgraded or in the waiting tenants for {idle:.0f} s"
            )
            may_pass = bool(around.short)
            return _ruling("hold", "", sentence, "no_traffic", name, percent, may_pass)
    return _soaking(state, test, around, said, kpi, percent)


def _soaking(
    state: PlanEvidence,
    test: EvidenceTest,
    around: Surroundings,
    said: str,
    kpi: str,
    percent: float,
) -> EvidenceRuling:
    if around.short:
        sentence = f"{said}{_trust(around)}"
        return _ruling("promote", "", sentence, "short_history", kpi, percent, may_pass=True)
    if percent >= PASSES_BELOW:
        sentence = f"{said}; a batch passes below {PASSES_BELOW:.0f} %"
        return _ruling("soak", "", sentence, "", kpi, percent)
    for name in test.kpis:
        needed = needed_requests(state, test, around.usual.get(name, Usual()), name)
        if needed is not None and state.compared(name) < needed:
            seen = f"{state.compared(name):,.0f} of {needed:,.0f} requests seen"
            if math.isinf(needed):
                seen = "no requests seen yet"
            sentence = (
                f"{said}; {name}: {seen} that find {test.rules.detect:g} % with"
                f" {test.rules.power:g} % probability"
            )
            return _ruling("soak", "", sentence, "exposure", name, percent)
    return _ruling("promote", "", f"{said}{_trust(around)}", "", kpi, percent, may_pass=True)


def needed_requests(
    state: PlanEvidence, test: EvidenceTest, usual: Usual, kpi: str
) -> float | None:
    """Return how many canary requests find the policy's fault; None = nothing is to be waited for.

    That is so where the fault lies within what is tolerated: no number of requests finds it.
    """
    process = state.processes.get(kpi, Process())
    if process.control_requests <= 0 or process.canary_requests <= 0:
        # Nothing is known of the traffic: a fault is not found by no requests.
        return math.inf
    rate = (process.control_errors + PRIOR_ERRORS) / (process.control_requests + PRIOR_REQUESTS)
    return requests_needed(
        usual=fleet_rate(usual.rates) if usual.estimated else rate,
        fault=test.rules.detect / 100,
        traffic=process.canary_requests / process.control_requests,
        tolerance=test.tolerance,
        risk=test.risk,
        phi=usual.phi,
        power=test.rules.power / 100,
    )


def _ruling(
    word: Word,
    action: str,
    sentence: str,
    cause: str,
    kpi: str,
    percent: float,
    may_pass: bool = False,
) -> EvidenceRuling:
    return EvidenceRuling(
        word=word,
        verdict=_VERDICTS[word],
        action=action,  # type: ignore[arg-type]
        sentence=sentence,
        cause=cause,
        kpi=kpi,
        percent=percent,
        may_pass=may_pass,
    )


def recent(looks: Sequence[LookSample], tested: KpiUnderTest) -> Recent:
    """Add up what the kept looks had; asked for once, when a sentence needs it."""
    errors: dict[str, float] = {}
    requests: dict[str, float] = {}
    control: list[tuple[float, float]] = []
    for look in looks:
        for tenant, point in look.canary.items():
            tally = tally_of(point, tested)
            if tally is not None:
                errors[tenant] = errors.get(tenant, 0.0) + tally[0]
                requests[tenant] = requests.get(tenant, 0.0) + tally[1]  # nosec B113 # a dict
        for point in look.control.values():
            tally = tally_of(point, tested)
            if tally is not None:
                control.append(tally)
    shares = [(tenant, errors[tenant] / n) for tenant, n in requests.items() if n > 0]
    return Recent(
        seconds=(looks[-1].at - looks[0].at).total_seconds() if looks else 0.0,
        # In whatever order a database returns the tenants: the same sums, the same sentence.
        errors=math.fsum(errors.values()),
        requests=math.fsum(requests.values()),
        tenants=len(requests),
        control_errors=math.fsum(tally[0] for tally in control),
        control_requests=math.fsum(tally[1] for tally in control),
        worst=min(shares, key=lambda pair: (-pair[1], pair[0]), default=None),
    )


def reached_sentence(
    state: PlanEvidence, test: EvidenceTest, around: Surroundings, seen: Recent
) -> str:
    """Return the whole sentence of evidence that has reached 100 %."""
    tested = test.kpis[state.blame]
    worst = ""
    if seen.worst is not None:
        worst = f"; worst tenant {seen.worst[0]} {shown(100 * seen.worst[1], '%')}"
    return (
        f"{_rate(tested, seen.errors, seen.requests)} in the canary"
        f" ({seen.errors:,.10g} of {_requests(seen.requests)} in {seen.seconds:.0f} s,"
        f" {counted(seen.tenants, 'tenant')}) against"
        f" {_share(seen.control_errors, seen.control_requests)} in control:"
        f" evidence 100 % at look {state.looks},"
        f" tolerated {tolerated_words(test.rules)}{worst}{_trust(around)}"
    )


def _totals(process: Process | None, test: EvidenceTest, kpi: str) -> str:
    if process is None or kpi not in test.kpis or process.canary_requests <= 0:
        return ""
    rate = _rate(test.kpis[kpi], process.canary_errors, process.canary_requests)
    control = _share(process.control_errors, process.control_requests)
    return (
        f"{rate} in the canary ({process.canary_errors:,.10g} of"
        f" {_requests(process.canary_requests)}) against {control} in control: "
    )


def _requests(n: float) -> str:
    return f"{n:,.10g} {'request' if n == 1 else 'requests'}"


def _rate(tested: KpiUnderTest, errors: float, requests: float) -> str:
    definition, share = tested.definition, _share(errors, requests)
    if tested.slow_above is not None:
        limit = shown(tested.slow_above, definition.unit)
        return f"{definition.name}: {share} of the requests slower than {limit}"
    if definition.direction == "higher":
        return f"{definition.name}: {share} bad"
    return f"{definition.name} {share}"


def _share(errors: float, requests: float) -> str:
    return shown(100 * errors / requests, "%") if requests > 0 else "nothing"


def _trust(around: Surroundings) -> str:
    """Say what the number rests on: nobody shall take an estimate for a proof."""
    if around.short:
        why = next(iter(around.short.values()))
        return f"; it only warns, since the tenants' history is too short ({why})"
    return "; calibrated by the tenants' own history" if around.usual else ""

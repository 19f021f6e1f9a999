"""One step of the evidence test: looks in; where it stands and what it says out. Pure.

The watch and the replay of a plan both go by this, and by nothing else: so the replay comes out as
it was, to the last digit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from batches.evidence.calibration import Usual
from batches.evidence.intervals import ratio_interval
from batches.evidence.plan_evidence import PlanEvidence, Sums, counts_of, with_look
from batches.evidence.rules import EvidenceTest
from batches.evidence.ruling import EvidenceRuling, Surroundings, reached_sentence, recent, rule
from batches.evidence.sequential_test import percent
from batches.looks.kpi_points import LookSample

ANEW = "the evidence test begins anew; "


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a test stands between two looks, and what it said last.

    `began_at`, `reached_at`: by the clock of whoever judged.
    """

    state: PlanEvidence
    verdict: str
    cause: str
    sentence: str
    began_at: datetime
    reached_at: datetime | None


@dataclass(frozen=True, slots=True)
class AtHand:
    """What a step is made from.

    `kpis`: those that were just looked at. `looks`: per Kpi the looks that are kept at hand, the
    newest last. `batch`: the number of the present one, None where none is.
    """

    kpis: Collection[str]
    looks: Mapping[str, Sequence[LookSample]]
    around: Surroundings
    now: datetime
    soak_started: datetime | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to.

    `taken`: the looks that were new, each with the evidence after it. `changed`: the verdict or its
    reason is another one, which makes a ruling with `sentence`. `requests`: how many of the
    upgraded tenants it stands on.
    """

    standing: Standing
    ruling: EvidenceRuling
    taken: tuple[tuple[LookSample, PlanEvidence], ...]
    changed: bool
    sentence: str
    requests: int


def take_step(
    known: Standing | None, test: EvidenceTest, hand: AtHand, *, anew: bool = False
) -> Step | None:
    """Return what the newest looks bring, None where none of them is new.

    `known`: where the test stood; None = it begins. `anew`: what it had tested is over.
    """
    if anew:
        known = None
    state = known.state if known is not None else PlanEvidence()
    taken: list[tuple[LookSample, PlanEvidence]] = []
    for kpi in test.kpis:
        looks = hand.looks.get(kpi)
        if kpi not in hand.kpis or not looks:
            continue
        after = with_look(
            state,
            test,
            looks[-1],
            hand.around.usual.get(kpi, Usual()),
            soak_started=hand.soak_started,
            batch=state.band_batch if hand.batch is None else hand.batch,
        )
        if after is not state:
            state = after
            taken.append((looks[-1], state))
    if not taken:
        return None
    ruling = rule(state, test, hand.around)
    if ruling.word == "rollback":
        ruling = _in_full(ruling, state, test, hand, known)
    told = _told(ruling.verdict, ruling.cause)
    changed = known is None or _told(known.verdict, known.cause) != told
    reached_before = None if known is None else known.reached_at
    standing = Standing(
        state=state,
        verdict=ruling.verdict,
        cause=ruling.cause,
        sentence=ruling.sentence,
        began_at=hand.now if known is None else known.began_at,
        reached_at=None if state.reached_at is None else reached_before or hand.now,
    )
    process = state.processes.get(ruling.kpi)
    return Step(
        standing=standing,
        ruling=ruling,
        taken=tuple(taken),
        changed=changed,
        sentence=f"{ANEW}{ruling.sentence}" if anew else ruling.sentence,
        requests=int(process.canary_requests) if process is not None else 0,
    )


def is_over(
    began_at: datetime,
    reached_at: datetime | None,
    *,
    taken_back: datetime | None,
    taken_on: datetime | None,
) -> bool:
    """Tell whether what was tested is over: taken back, or taken on by a person.

    `taken_back`: when the last rollback of the plan or of a batch ended. `taken_on`: when somebody
    last let the plan go on.
    """
    if taken_back is not None and taken_back > began_at:
        return True
    return reached_at is not None and taken_on is not None and taken_on > reached_at


def _told(verdict: str, cause: str) -> tuple[str, str]:
    """Return what makes a new ruling: what a soak still waits for alone does not."""
    return verdict, "" if verdict == "undecided" else cause


def _in_full(
    ruling: EvidenceRuling,
    state: PlanEvidence,
    test: EvidenceTest,
    hand: AtHand,
    known: Standing | None,
) -> EvidenceRuling:
    """Return the ruling with the whole sentence; why it was reached is said once and stays."""
    if known is not None and known.verdict == ruling.verdict:
        return replace(ruling, sentence=known.sentence)
    seen = recent(list(hand.looks.get(state.blame, ())), test.kpis[state.blame])
    return replace(ruling, sentence=reached_sentence(state, test, hand.around, seen))


# What is kept of each look.


@dataclass(frozen=True, slots=True)
class LookNumbers:
    """What one look brought, number by number, as it is kept and drawn."""

    log_e: float
    percent: float
    together: float
    together_log_e: float
    canary_errors: float
    canary_requests: float
    control_errors: float
    control_requests: float
    ratio: float | None
    ratio_lower: float | None
    ratio_upper: float | None
    ratio_tolerated: float | None


def numbers_of(test: EvidenceTest, look: LookSample, state: PlanEvidence) -> LookNumbers:
    """Return the numbers of a look, by the evidence after it."""
    counts, _usual = counts_of(look, test.kpis[look.kpi], Usual(), seconds=0)
    log_e = state.processes[look.kpi].log_e
    sums = state.band[look.kpi]
    band = ratio_interval(*sums, risk=test.risk)
    return LookNumbers(
        log_e=log_e,
        percent=percent(log_e, test.risk),
        together=state.percent(test.risk),
        together_log_e=state.log_e,
        canary_errors=counts.canary_errors,
        canary_requests=counts.canary_requests,
        control_errors=counts.control_errors,
        control_requests=counts.control_requests,
        ratio=band.estimate,
        ratio_lower=band.lower,
        ratio_upper=band.upper,
        ratio_tolerated=_tolerated(test, sums),
    )


def _tolerated(test: EvidenceTest, sums: Sums) -> float | None:
    """Return the ratio that is tolerated at the control's own rate; None where it has no errors."""
    if sums.control_errors <= 0 or sums.control_requests <= 0:
        return None
    tolerance = test.tolerance
    return tolerance.ratio + tolerance.points * sums.control_requests / sums.control_errors

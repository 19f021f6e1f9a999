"""Play the stored looks of a plan through the evidence test once more, judging by judging. Pure.

It takes the steps of the watch (evidence_steps.py) over what the watch had at hand; nothing is
decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from batches.evidence.calibration import Usual
from batches.evidence.rules import EvidenceTest
from batches.evidence.ruling import surroundings_of
from batches.evidence.steps import AtHand, Standing, Step, take_step
from batches.looks.kpi_points import LookSample
from batches.replay.replaying import Judging


@dataclass(frozen=True, slots=True)
class Weighing:
    """By what a judging is weighed.

    `test`: None where the rules of that moment had none. `kept_seconds`: for how long looks are
    kept at hand.
    """

    test: EvidenceTest | None
    kept_seconds: float


class EvidenceStep(NamedTuple):
    """What one judging came to, and by which test."""

    judging: Judging
    test: EvidenceTest
    step: Step


def play_evidence(
    looks: Mapping[str, Iterable[LookSample]],
    judgings: Iterable[Judging],
    *,
    weighed: Callable[[Judging], Weighing],
    longest: float,
    known: Mapping[str, tuple[Usual, str]],
    over: Callable[[Judging, Standing | None], bool],
) -> Iterator[EvidenceStep]:
    """Return what the test came to at each judging that brought it something new.

    `looks`: per Kpi, in the order of their time; they are taken as they are needed. `longest`: the
    most seconds for which any of the rules keeps looks at hand. `known`: per
    Kpi what was usual before the plan, and why it is too little where it is. `over` tells whether
    what was tested so far is over at a judging.
    """
    hands = {kpi: _Hand(stored, longest) for kpi, stored in looks.items()}
    standing: Standing | None = None
    for judging in judgings:
        for kpi, hand in hands.items():
            if kpi in judging.looks:
                hand.take_until(judging.looks[kpi])
        by = weighed(judging)
        test = by.test
        if test is None:
            continue
        around = surroundings_of(
            test, known, canary=len(judging.upgraded), control=judging.control or 0
        )
        at_hand = AtHand(
            kpis=judging.looks.keys(),
            looks={
                kpi: hands[kpi].looks(by.kept_seconds, judging, new=kpi in judging.looks)
                for kpi in test.kpis
                if kpi in hands
            },
            around=around,
            now=judging.at,
            soak_started=judging.soak_started,
            batch=judging.number,
        )
        step = take_step(standing, test, at_hand, anew=over(judging, standing))
        if step is not None:
            standing = step.standing
            yield EvidenceStep(judging, test, step)


class _Hand:
    """The looks at one Kpi up to some moment, as far back as any rule keeps them."""

    def __init__(self, stored: Iterable[LookSample], longest: float) -> None:
        self._longest = timedelta(seconds=longest)
        self._ahead = iter(stored)
        self._coming = next(self._ahead, None)
        self._kept: deque[LookSample] = deque()

    def take_until(self, newest: datetime) -> None:
        """Take the stored looks up to this moment."""
        while self._coming is not None and self._coming.at <= newest:
            self._kept.append(self._coming)
            self._coming = next(self._ahead, None)
        while self._kept and self._kept[-1].at - self._kept[0].at > self._longest:
            self._kept.popleft()

    def looks(self, seconds: float, judging: Judging, *, new: bool) -> list[LookSample]:
        """Return what the watch had at hand: looks of the last seconds, since the last rollback.

        A `new` one was at hand whenever it was taken.
        """
        found: deque[LookSample] = deque()
        for look in reversed(self._kept):
            if self._kept[-1].at - look.at > timedelta(seconds=seconds):
                break
            counts = judging.since is None or look.at >= judging.since
            if counts or (new and look is self._kept[-1]):
                found.appendleft(look)
        return list(found)

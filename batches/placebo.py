"""How often guardrails take a rollout back although nothing was released: a placebo backtest.

Rollouts are drawn at random over recorded history: tenants in random order, a random beginning, the
policy's own batches and soaks. No version was put on, so every rollback is a false one. Looks are
judged by the functions of the watch (`replaying.play`). Pure: history and dice come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from batches.kpi_points import LookSample
from batches.placebo_evidence import EvidenceTest, fires_at
from batches.replaying import Judging, Rule, play
from batches.rollout_history import Leg, Minute, Stretch, course_of, dealt, summed

EVIDENCE: Final = "evidence"
FEWEST: Final = 2
"""Minutes, and tenants: with less there is no rollout."""
ALL: Final = "all upgraded tenants"
"""The one tenant into which all are summed up: a share over all tenants is that of their sum."""
OTHERS: Final = "all others"


@dataclass(frozen=True, slots=True)
class Fired:
    """How many of the rollouts one guardrail would have broken."""

    key: str
    kpi: str
    action: str
    dry_run: bool
    rollouts: int


@dataclass(slots=True)
class Placebo:
    """What many rollouts with nothing released came to.

    `rolled_back`: rollouts that a guardrail with `action: rollback` would have taken back.
    """

    rollouts: int = 0
    rolled_back: int = 0
    looks: int = 0
    fired: dict[str, Fired] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return the share of rollouts taken back."""
        return self.rolled_back / self.rollouts if self.rollouts else math.nan

    @property
    def upper(self) -> float:
        """Return the 95 % upper bound of that share."""
        return upper_bound(self.rolled_back, self.rollouts)


def upper_bound(found: int, tried: int, *, risk: float = 0.05) -> float:
    """Return the share above which `found` of `tried` or fewer would be seen with less than `risk`.

    The exact (Clopper-Pearson) one-sided bound; 1 without a try.
    """
    if tried <= 0 or found >= tried:
        return 1.0
    low, high = found / tried, 1.0
    for _halving in range(60):
        middle = (low + high) / 2
        if _at_most(found, tried, middle) > risk:
            low = middle
        else:
            high = middle
    return high


def _at_most(found: int, tried: int, share: float) -> float:
    """Return the probability of at most so many of them."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    total = 0.0
    for k in range(found + 1):
        log = (
            math.lgamma(tried + 1)
            - math.lgamma(k + 1)
            - math.lgamma(tried - k + 1)
            + k * math.log(share)
            + (tried - k) * math.log1p(-share)
        )
        total += math.exp(log)
    return min(1.0, total)


@dataclass(frozen=True, slots=True)
class Judges:
    """What judges the rollouts: the guardrails, and the evidence test where the policy has one."""

    rules: Sequence[Rule]
    look_seconds: float
    max_age_seconds: float
    evidence: EvidenceTest | None = None


def backtest(
    minutes: Sequence[Minute],
    judges: Judges,
    legs: Sequence[Leg],
    *,
    rollouts: int,
    dice: Random,
    go_on: Callable[[], bool] = lambda: True,
) -> Placebo:
    """Return what so many rollouts came to, or fewer when `go_on` says that the time is over.

    Nothing comes of history without two minutes or two tenants.
    """
    names = sorted({name for minute in minutes for kpi in minute.points.values() for name in kpi})
    found = Placebo(fired=_nothing_fired(judges))
    if len(minutes) < FEWEST or len(names) < FEWEST:
        return found
    length = max(1, math.ceil(sum(leg.soak_seconds for leg in legs) / 60))
    while found.rollouts < rollouts and go_on():
        begins = dice.randint(0, max(0, len(minutes) - length))
        order = dice.sample(names, len(names))
        course = list(course_of(minutes[begins : begins + length], order, legs))
        _count(found, course, judges, dice)
    return found


def _nothing_fired(judges: Judges) -> dict[str, Fired]:
    fired = {
        rule.key: Fired(
            rule.key, rule.definition.name, rule.guardrail.action, rule.guardrail.dry_run, 0
        )
        for rule in judges.rules
    }
    if judges.evidence is not None:
        test = judges.evidence
        fired[EVIDENCE] = Fired(EVIDENCE, ", ".join(test.kpis), test.action, False, 0)
    return fired


def _count(found: Placebo, course: Sequence[Stretch], judges: Judges, dice: Random) -> None:
    """Play one rollout and add what came of it, up to its first rollback."""
    found.rollouts += 1
    first: dict[str, datetime] = {}
    for kpi in dict.fromkeys(rule.definition.name for rule in judges.rules):
        looks, judgings = _looks(kpi, course, judges.look_seconds, dice)
        found.looks += len(looks)
        steps = play(
            [rule for rule in judges.rules if rule.definition.name == kpi],
            looks,
            judgings,
            max_age_seconds=judges.max_age_seconds,
        )
        for step in steps:
            if step.ruling.verdict == "breached":
                first.setdefault(step.rule.key, step.at)
                if _takes_back(found.fired[step.rule.key]):
                    break
    if judges.evidence is not None:
        at = fires_at(course, judges.evidence, look_seconds=judges.look_seconds, dice=dice)
        if at is not None:
            first[EVIDENCE] = at
    back = min((at for key, at in first.items() if _takes_back(found.fired[key])), default=None)
    found.rolled_back += back is not None
    for key, at in first.items():
        # What comes after the rollback would not have come.
        if back is None or at <= back:
            was = found.fired[key]
            found.fired[key] = replace(was, rollouts=was.rollouts + 1)


def _takes_back(fired: Fired) -> bool:
    return fired.action == "rollback" and not fired.dry_run


def _looks(
    kpi: str, course: Sequence[Stretch], look_seconds: float, dice: Random
) -> tuple[list[LookSample], list[Judging]]:
    """Return the looks of one Kpi and when they are judged: at once."""
    count = max(1, round(60 / look_seconds))
    looks: list[LookSample] = []
    judgings: list[Judging] = []
    for stretch in course:
        points = stretch.minute.points.get(kpi, {})
        upgraded = frozenset(stretch.upgraded)
        whole = summed([points[name] for name in stretch.upgraded if name in points])
        if whole is None:
            continue
        others = summed([point for name, point in points.items() if name not in upgraded])
        control = dealt(others, count, dice) if others is not None else []
        for number, part in enumerate(dealt(whole, count, dice), start=1):
            at = stretch.minute.at + timedelta(seconds=60 * number / count)
            old = {OTHERS: control[number - 1]} if control else {}
            looks.append(LookSample(kpi, at, canary={ALL: part}, control=old, source="history"))
            judgings.append(Judging(at, (ALL,), stretch.soak_started, {kpi: at}))
    return looks, judgings

"""How often a policy takes a rollout back although nothing was released: a placebo backtest.

Rollouts are drawn at random over recorded history: tenants in random order, a random beginning, the
policy's own batches and soaks. No version was put on, so every rollback is a false one. Looks are
judged by the functions of the watch: `replaying.play` for guardrails, `with_counts` and `rule` for
the evidence test. Pure: history and dice come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Final

from batches.evidence.plan_evidence import PlanEvidence, with_counts
from batches.evidence.rules import EvidenceTest
from batches.evidence.ruling import KEY, rule, surroundings_of
from batches.history.rollout_history import Leg, Minute, Stretch, course_of
from batches.placebo.looks import OWN, About, Past, evidence_looks, guardrail_looks
from batches.replay.replaying import Rule, play

FEWEST: Final = 2
"""Minutes, and tenants: with less there is no rollout."""
ALONE: Final = 24
"""Of so many tenants per rollout each is judged by itself: drawn at random, their share is that of
all."""


@dataclass(frozen=True, slots=True)
class Fired:
    """How many of the rollouts one guardrail, or the evidence test, would have broken.

    `unjudged`: rollouts of which it could say nothing. Of a guardrail about each tenant, `tenants`
    of the `judged` ones broke it.
    """

    key: str
    kpi: str
    action: str
    dry_run: bool
    rollouts: int = 0
    scope: str = "plan"
    unjudged: int = 0
    tenants: int = 0
    judged: int = 0

    @property
    def takes_back(self) -> bool:
        """Tell whether it takes the rollout back; one tenant alone is none."""
        return self.action == "rollback" and not self.dry_run and self.scope != "tenant"


@dataclass(slots=True)
class Placebo:
    """What many rollouts with nothing released came to.

    `rolled_back`: rollouts that a guardrail, or the evidence test, with `action: rollback` would
    have taken back. `only_warned`: those in which the evidence reached 100 % and would only have
    warned, since too little was known of the tenants.
    """

    rollouts: int = 0
    rolled_back: int = 0
    only_warned: int = 0
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
    """What judges the rollouts: the guardrails, and the evidence test where the policy has one.

    `past`: what was known of the tenants before a moment.
    """

    rules: Sequence[Rule]
    look_seconds: float
    max_age_seconds: float
    evidence: EvidenceTest | None = None
    past: Callable[[datetime], Past] = lambda _moment: Past({}, {})


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
        _Rollout(course, judges, dice).count_into(found)
    return found


def _nothing_fired(judges: Judges) -> dict[str, Fired]:
    fired = {
        one.key: Fired(
            one.key,
            one.definition.name,
            one.guardrail.action,
            one.guardrail.dry_run,
            scope=one.guardrail.scope,
        )
        for one in judges.rules
    }
    if judges.evidence is not None:
        test = judges.evidence
        fired[KEY] = Fired(KEY, ", ".join(test.kpis), test.rules.action, False)
    return fired


class _Rollout:
    """One rollout: what fires in it, and when."""

    def __init__(self, course: Sequence[Stretch], judges: Judges, dice: Random) -> None:
        self._course = course
        self._judges = judges
        self._dice = dice
        self._past = judges.past(course[0].minute.at)
        names = sorted({name for stretch in course for name in stretch.upgraded})
        self._alone = frozenset(dice.sample(names, min(ALONE, len(names))))
        self._first: dict[str, datetime] = {}
        self._broke: dict[str, dict[str, datetime]] = {}
        self._judged: set[str] = set()
        self._warns = False

    def count_into(self, found: Placebo) -> None:
        """Play the rollout and add what came of it, up to its first rollback."""
        found.rollouts += 1
        groups: dict[tuple[str, About], list[Rule]] = {}
        for one in self._judges.rules:
            about = About(one.guardrail.scope, one.guardrail.against == OWN)
            groups.setdefault((one.definition.name, about), []).append(one)
        seen: dict[str, int] = {}
        for (kpi, about), rules in groups.items():
            looks = self._play(kpi, about, rules, found)
            seen[kpi] = max(looks, seen.get(kpi, 0))
        if self._judges.evidence is not None:
            self._weigh(self._judges.evidence)
        found.looks += sum(seen.values())
        self._add(found)

    def _play(self, kpi: str, about: About, rules: Sequence[Rule], found: Placebo) -> int:
        """Judge all guardrails of one kind over one Kpi; return how many looks there were."""
        judges = self._judges
        seen = guardrail_looks(
            kpi, about, self._course, self._past, self._alone, judges.look_seconds, self._dice
        )
        steps = play(rules, seen.looks, seen.judgings, max_age_seconds=judges.max_age_seconds)
        for step in steps:
            key = step.rule.key
            if step.measurement.outcome in ("successful", "failed"):
                self._judged.add(key)
            for tenant in step.ruling.breached_by:
                self._broke.setdefault(key, {}).setdefault(tenant, step.at)
            if step.ruling.verdict == "breached":
                self._first.setdefault(key, step.at)
                if found.fired[key].takes_back:
                    break
        return len(seen.looks)

    def _weigh(self, test: EvidenceTest) -> None:
        """Let the evidence test look until it has reached 100 %."""
        state = PlanEvidence()
        looks = evidence_looks(
            test, self._course, self._past, self._judges.look_seconds, self._dice
        )
        for stretch, at, seen in looks:
            for one in seen:
                state = with_counts(
                    state, test, one, soak_started=stretch.soak_started, batch=stretch.batch
                )
            if state.reached_at is None:
                continue
            around = surroundings_of(
                test, self._past.usual, canary=len(stretch.upgraded), control=1
            )
            ruling = rule(state, test, around)
            self._first[KEY] = at
            # With too little history the test only warns, whatever the policy says.
            self._warns = ruling.action != test.rules.action
            return

    def _add(self, found: Placebo) -> None:
        back = min((at for key, at in self._first.items() if self._back(found, key)), default=None)
        found.rolled_back += back is not None
        for key, was in found.fired.items():
            at = self._first.get(key)
            # What comes after the rollback would not have come.
            broken = at is not None and (back is None or at <= back)
            alone = self._broke.get(key, {}).values()
            broke = [one for one in alone if back is None or one <= back]
            found.fired[key] = replace(
                was,
                rollouts=was.rollouts + broken,
                unjudged=was.unjudged + (key != KEY and key not in self._judged),
                tenants=was.tenants + len(broke),
                judged=was.judged + (len(self._alone) if was.scope == "tenant" else 0),
            )
            found.only_warned += broken and key == KEY and self._warns

    def _back(self, found: Placebo, key: str) -> bool:
        return found.fired[key].takes_back and not (key == KEY and self._warns)

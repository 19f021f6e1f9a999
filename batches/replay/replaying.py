"""Judge stored looks once more: what guardrails say, look by look, under whatever rules.

The one mechanism behind the preview of an adjustment, the replay of a plan and the placebo
backtest.
It measures and judges with the very functions of the watch; nothing is judged here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batches.guardrails.guard_state import GuardrailRuling, GuardState
from batches.guardrails.measured_words import IDLE
from batches.guardrails.measurement import Measurement
from batches.guardrails.verdict import judge, measure
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import LookSample
from plans.policies.policy import Guardrail


@dataclass(frozen=True, slots=True)
class Judging:
    """One moment at which looks were judged, and with what else.

    `looks`: per Kpi the newest look. What was seen before `since` does not count. `states`: where
    the guardrails stood, set when whoever judged had just read it back. `batch`: the present one;
    `batch_of`: that of each tenant. `baselines`: per Kpi what is known of tenants from before.
    Of the evidence test: `number` of the present batch, how many tenants waited (`control`; None
    where nobody wrote it down), and whether it began `anew`.
    """

    at: datetime
    upgraded: Sequence[str]
    soak_started: datetime | None
    looks: Mapping[str, datetime]
    since: datetime | None = None
    states: Mapping[str, GuardState] | None = None
    batch: int | None = None
    batch_of: Mapping[str, int] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    revision: int = 0
    number: int | None = None
    control: int | None = None
    anew: bool = False

    def about(self, scope: str) -> Sequence[str] | None:
        """Return whom a guardrail of that scope is about; None = all that are upgraded."""
        if scope == "plan":
            return None
        if scope == "tenant":
            return list(self.upgraded)
        return [key for key in self.upgraded if self.batch_of.get(key) == self.batch]


@dataclass(frozen=True, slots=True)
class Rule:
    """One guardrail in the dictionary's unit; `key` is what the policy's own wording calls it."""

    key: str
    guardrail: Guardrail
    definition: KpiDefinition


@dataclass(frozen=True, slots=True)
class Step:
    """What one guardrail said at one look; `changed`: the watch makes a ruling of it."""

    rule: Rule
    at: datetime
    measurement: Measurement
    state: GuardState
    ruling: GuardrailRuling
    changed: bool


@dataclass(slots=True)
class _Course:
    """Where a guardrail stands between two looks."""

    state: GuardState = field(default_factory=GuardState)
    judged_at: datetime | None = None
    ruled: bool = False


def play(
    rules: Sequence[Rule],
    looks: Iterable[LookSample],
    judgings: Iterable[Judging],
    *,
    max_age_seconds: float,
    ruled: Iterable[str] = (),
) -> Iterator[Step]:
    """Return what the rules, all over one Kpi, say at each judging.

    Looks come in the order of their time and are taken from the iterable as they are needed, so a
    long course needs no more room than its longest window. `ruled`: keys of rules that have made a
    ruling before the first judging.
    """
    if not rules:
        return
    kpi = rules[0].definition.name
    longest = timedelta(seconds=max(rule.guardrail.window_seconds for rule in rules))
    ahead = iter(looks)
    coming = next(ahead, None)
    window: deque[LookSample] = deque()
    before = set(ruled)
    courses = [_Course(ruled=rule.key in before) for rule in rules]
    for judging in judgings:
        newest = judging.looks.get(kpi)
        if newest is None:
            _read_back(rules, courses, judging)
            continue
        while coming is not None and coming.at <= newest:
            window.append(coming)
            coming = next(ahead, None)
        while len(window) > 1 and window[0].at <= judging.at - longest:
            window.popleft()
        _read_back(rules, courses, judging)
        seen = [look for look in window if judging.since is None or look.at >= judging.since]
        for rule, course in zip(rules, courses, strict=True):
            yield _step(rule, course, seen, judging, max_age_seconds)


def _read_back(rules: Sequence[Rule], courses: Sequence[_Course], judging: Judging) -> None:
    """Let every rule stand where the watch had read that it stood.

    A rule that the watch did not have goes on, unless nothing from before counts any more.
    """
    for rule, course in zip(rules, courses, strict=True):
        if judging.states is not None and rule.key in judging.states:
            course.state = judging.states[rule.key]
            continue
        if judging.since and course.judged_at and course.judged_at < judging.since:
            course.state, course.judged_at = GuardState(), None


def _step(
    rule: Rule, course: _Course, seen: Sequence[LookSample], judging: Judging, max_age: float
) -> Step:
    guardrail = rule.guardrail
    measurement = measure(
        guardrail,
        rule.definition,
        seen,
        canary=len(judging.upgraded),
        now=judging.at,
        max_age_seconds=max_age,
        tenants=judging.about(guardrail.scope),
        baselines=judging.baselines.get(rule.definition.name, {}),
    )
    was = course.state
    if guardrail.scope == "batch" and judging.batch is not None and was.batch != judging.batch:
        # How the batch before did says nothing about this one.
        was = GuardState(batch=judging.batch, verdict=was.verdict)
    state, ruling = judge(
        was, measurement, guardrail, now=judging.at, soak_started=judging.soak_started
    )
    changed = not course.ruled or _told(was) != _told(state)
    course.state, course.judged_at = state, judging.at
    course.ruled = course.ruled or changed
    return Step(rule, judging.at, measurement, state, ruling, changed)


def _told(state: GuardState) -> tuple[str, str | None]:
    """Return that of which the watch makes a new ruling when it changes (guardrails/rulings.py)."""
    return state.verdict, None if state.cause == IDLE else state.cause

"""What a plan's stored looks would have led to under other rules, and under its own.

Under its own rules the replay gives the very rulings that were made (tested on every plan that the
tests play). Under others it says when the plan would have been taken back, and whether it was.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from batches.configured import dictionary
from batches.dictionary import GuardrailUnusable, resolve_guardrail
from batches.increments import LookSample, max_age
from batches.judged_looks import judgings_of, without_states
from batches.models import JudgedLook, KpiSample, Rollback, RollbackDrill, Ruling
from batches.placebo import EVIDENCE
from batches.replaying import Judging, Rule, Step, play
from batches.verdict import guardrail_key
from plans.drafting import current_revision, policy_of, written_policy
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan, PlanRevision
from plans.policy import Guardrail, UpgradePolicy
from plans.policy_words import span
from plans.refusal import BadInput, Refused

MOST_POINTS_ON_A_PAGE = 2_000_000
"""Looks times tenants that a page or a request judges; the command judges any number."""


class NothingToReplay(Refused):
    """The plan has no looks whose judging was recorded."""

    default_code = "nothing_to_replay"


class TooMuchForAPage(Refused):
    """The replay would keep the page waiting for minutes."""

    default_code = "too_much_to_replay"


@dataclass(frozen=True, slots=True)
class WouldBe:
    """What one guardrail would have said over the whole course.

    `breached_at` and `sentence` are those of its first breach, `failed` of how many `looks`.
    """

    key: str
    kpi: str
    action: str
    dry_run: bool
    looks: int
    failed: int
    breached_at: datetime | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Really:
    """What happened: when the plan was taken back, by what and why; `at` None = never."""

    at: datetime | None
    trigger: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """One plan under other rules. `at`: when it would have been taken back, None = never."""

    plan: Plan
    guardrails: tuple[WouldBe, ...]
    at: datetime | None
    really: Really
    unreadable: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """Return `true`, `false`, `missed` or `quiet`: a rollback or none, of a bad plan or not."""
        if self.at is not None:
            return "true" if self.really.at is not None else "false"
        return "missed" if self.really.at is not None else "quiet"

    @property
    def earlier_seconds(self) -> float | None:
        """Return how much earlier than it was the plan would have been taken back."""
        if self.at is None or self.really.at is None:
            return None
        return (self.really.at - self.at).total_seconds()

    @property
    def sentence(self) -> str:
        """Return the outcome in words."""
        return _SAID[self.word](self)


def rules_of(policy: UpgradePolicy) -> tuple[list[Rule], list[str]]:
    """Return the policy's guardrails in the dictionary's unit, and those that cannot be judged."""
    known = dictionary()
    rules: list[Rule] = []
    unreadable: list[str] = []
    for guardrail in policy.guardrails:
        definition = known.kpi(guardrail.kpi)
        if definition is None:
            unreadable.append(f"the dictionary has no Kpi {guardrail.kpi} any more")
            continue
        try:
            resolved = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable as unusable:
            unreadable.append(str(unusable))
            continue
        rules.append(Rule(guardrail_key(guardrail), resolved, definition))
    return rules, unreadable


def replay_as_it_was(plan: Plan) -> Iterator[Step]:
    """Return what was ruled, judged once more: each revision's looks by that revision's policy."""
    ruled: set[str] = set()
    numbers = JudgedLook.objects.filter(plan=plan).order_by().values_list("revision", flat=True)
    for number in sorted(set(numbers)):
        policy = policy_of(PlanRevision.objects.get(plan=plan, number=number))
        judgings = judgings_of(plan, revision=number)
        for step in _steps(plan, policy, judgings, ruled=ruled):
            if step.changed:
                ruled.add(step.rule.key)
                yield step


def replay_under(plan: Plan, policy: UpgradePolicy, *, on_a_page: bool = False) -> Counterfactual:
    """Return what would have happened under the policy; raise a Refused that says why not."""
    judgings = judgings_of(plan)
    if not judgings:
        raise NothingToReplay(
            "There is nothing to replay: no look at this plan was judged, or its looks were dropped"
            f" {settings.LOOKS_KEPT_DAYS} days after its end."
        )
    most = max(len(judging.upgraded) for judging in judgings)
    if on_a_page and len(judgings) * most > MOST_POINTS_ON_A_PAGE:
        raise TooMuchForAPage(
            f"{len(judgings)} looks at up to {most} tenants take minutes"
            f" to judge; run ./console manage replay {plan.external_id}"
        )
    # What the guardrails said under their own rules does not count under others.
    course = without_states(judgings)
    rules, unreadable = rules_of(policy)
    found = {rule.key: _Gathered(rule) for rule in rules}
    for step in _steps(plan, policy, course):
        found[step.rule.key].take(step)
    guardrails = tuple(gathered.told() for gathered in found.values())
    back = [
        one.breached_at
        for one in guardrails
        if one.breached_at is not None and one.action == "rollback" and not one.dry_run
    ]
    return Counterfactual(
        plan, guardrails, min(back, default=None), really(plan), tuple(unreadable)
    )


class _Gathered:
    """What one guardrail said so far."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._looks = self._failed = 0
        self._breach: Step | None = None

    def take(self, step: Step) -> None:
        """Count one look."""
        self._looks += 1
        self._failed += step.measurement.outcome == "failed"
        if self._breach is None and step.ruling.verdict == "breached":
            self._breach = step

    def told(self) -> WouldBe:
        """Return it."""
        guardrail = self._rule.guardrail
        breach = self._breach
        return WouldBe(
            key=self._rule.key,
            kpi=self._rule.definition.name,
            action=guardrail.action,
            dry_run=guardrail.dry_run,
            looks=self._looks,
            failed=self._failed,
            breached_at=breach.at if breach is not None else None,
            sentence=breach.ruling.sentence if breach is not None else "",
        )


def _steps(
    plan: Plan, policy: UpgradePolicy, judgings: Sequence[Judging], *, ruled: set[str] | None = None
) -> list[Step]:
    """Return what all guardrails of the policy say, in the order in which the watch says it."""
    rules, _unreadable = rules_of(policy)
    steps: list[Step] = []
    for kpi in dict.fromkeys(rule.definition.name for rule in rules):
        steps += play(
            [rule for rule in rules if rule.definition.name == kpi],
            _looks(plan, kpi, judgings),
            judgings,
            max_age_seconds=max_age(policy.limits.look_seconds),
            ruled=ruled or (),
        )
    steps.sort(key=lambda step: step.at)
    return steps


def _looks(plan: Plan, kpi: str, judgings: Sequence[Judging]) -> Iterator[LookSample]:
    newest = [judging.looks[kpi] for judging in judgings if kpi in judging.looks]
    if not newest:
        return
    rows = KpiSample.objects.filter(plan=plan, kpi=kpi, at__lte=max(newest)).order_by("at", "pk")
    for look in rows.values_list("look", flat=True).iterator(chunk_size=50):
        yield LookSample.from_json(look)


def really(plan: Plan) -> Really:
    """Return when the plan, or a batch of it, was first taken back in earnest."""
    row = (
        Rollback.objects.filter(plan=plan, scope__in=("plan", "batch"))
        .exclude(trigger="drill")
        .order_by("triggered_at")
        .first()
    )
    if row is None:
        return Really(None, "", "")
    return Really(row.triggered_at, row.trigger, row.sentence or row.reason)


# Other rules.


def with_thresholds(policy: UpgradePolicy, thresholds: dict[str, float]) -> UpgradePolicy:
    """Return the policy with other numbers for the guardrails of these Kpis, in their own units.

    Raises BadInput for a Kpi that no guardrail judges.
    """
    known = dictionary()
    names = {name: known.kpi(name) for name in thresholds}
    judged = [(rule, known.kpi(rule.kpi)) for rule in policy.guardrails]
    problems = []
    for name, definition in names.items():
        if not any(name == rule.kpi or (definition and definition == its) for rule, its in judged):
            there = ", ".join(sorted({rule.kpi for rule in policy.guardrails})) or "none"
            problems.append(f"threshold: no guardrail judges {name}; the policy's judge {there}")
    if problems:
        raise BadInput(problems)
    by_definition = {
        definition.name: thresholds[name] for name, definition in names.items() if definition
    }
    return replace(
        policy,
        guardrails=tuple(
            _moved(rule, thresholds.get(rule.kpi, by_definition.get(its.name if its else rule.kpi)))
            for rule, its in judged
        ),
    )


def _moved(rule: Guardrail, number: float | None) -> Guardrail:
    if number is None:
        return rule
    if rule.at_most is None:
        return replace(rule, at_least=number)
    return replace(rule, at_most=number)


def scaled(policy: UpgradePolicy) -> UpgradePolicy:
    """Return a policy as this installation runs it."""
    return policy.at_scale(settings.SOAK_SCALE)


def own_policy(plan: Plan) -> UpgradePolicy:
    """Return the policy of the plan's newest revision, as it is written."""
    return written_policy(current_revision(plan))


# All past plans.


@dataclass(frozen=True, slots=True)
class Tally:
    """Past plans under other rules: how many rollbacks would have been right, wrong, missing."""

    plans: tuple[Counterfactual, ...]
    left_out: int

    def count(self, word: str) -> int:
        """Return how many plans have this outcome."""
        return sum(one.word == word for one in self.plans)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of plans per outcome."""
        return {word: self.count(word) for word in _SAID}

    @property
    def earlier_seconds(self) -> float | None:
        """Return the median of how much earlier bad plans would have been taken back."""
        seconds = [one.earlier_seconds for one in self.plans if one.earlier_seconds is not None]
        return median(seconds) if seconds else None

    @property
    def sentence(self) -> str:
        """Return the tally in words."""
        counts = self.counts
        if not self.plans:
            return "No past plan has looks that could be replayed."
        bad, good = counts["true"] + counts["missed"], counts["false"] + counts["quiet"]
        said = (
            f"Of {bad} past plan{'' if bad == 1 else 's'} that went back {counts['true']} would"
            f" have been taken back by these rules; of {good} that stayed {counts['false']} would"
            " have been taken back for nothing"
        )
        if (earlier := self.earlier_seconds) is not None:
            said += f"; in the middle {span(abs(earlier))} {'earlier' if earlier >= 0 else 'later'}"
        return f"{said}."


def past_plans(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Return the plans that are over and have something to replay; rehearsals are none of them."""
    drills = RollbackDrill.objects.filter(kind=RollbackDrill.REHEARSAL).values("plan")
    judged = JudgedLook.objects.order_by().values("plan")
    return (
        plans.filter(pk__in=judged, ended_at__isnull=False)
        .exclude(state__in=LIVE_PLAN_STATES)
        .exclude(pk__in=drills)
        .order_by("-ended_at")
    )


def tally(
    plans: QuerySet[Plan],
    *,
    policy: UpgradePolicy | None = None,
    thresholds: dict[str, float] | None = None,
    most: int | None = None,
    on_a_page: bool = False,
) -> Tally:
    """Return past plans under the policy, or each under its own, with other thresholds.

    A plan whose own policy does not judge a Kpi of the thresholds, or that is too long for a page,
    is left out and counted.
    """
    found: list[Counterfactual] = []
    left_out = 0
    chosen = past_plans(plans)
    for plan in chosen[:most] if most is not None else chosen:
        try:
            rules = with_thresholds(policy or own_policy(plan), thresholds or {})
            found.append(replay_under(plan, scaled(rules), on_a_page=on_a_page))
        except (BadInput, NothingToReplay, TooMuchForAPage):
            left_out += 1
    return Tally(tuple(found), left_out)


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else ""


def _true(one: Counterfactual) -> str:
    seconds = one.earlier_seconds or 0.0
    if abs(seconds) < 1:
        return f"Taken back at {_clock(one.at)}, as it was."
    by = "earlier" if seconds > 0 else "later"
    return f"Taken back at {_clock(one.at)}, {span(abs(seconds))} {by} than it was."


def _false(one: Counterfactual) -> str:
    return (
        f"Taken back at {_clock(one.at)}, although it stayed: a false rollback, if the release was"
        " good."
    )


def _missed(one: Counterfactual) -> str:
    return (
        "Not taken back by its guardrails; really it was, at"
        f" {_clock(one.really.at)} ({one.really.trigger.replace('_', ' ')})."
    )


def _quiet(one: Counterfactual) -> str:
    return "Not taken back, as it was."


_SAID: dict[str, Callable[[Counterfactual], str]] = {
    "true": _true,
    "false": _false,
    "missed": _missed,
    "quiet": _quiet,
}


# Its own rules: does it still say what it said?


def differences(plan: Plan) -> list[str]:
    """Return where the rulings that were made differ from those of a replay; nothing = the same.

    Raises NothingToReplay. Rulings from before the first recorded judging are left out, and those
    of the evidence test, which keeps its counts by itself.
    """
    first = JudgedLook.objects.filter(plan=plan).order_by("pk").first()
    if first is None:
        raise NothingToReplay("No look at this plan was judged, so there is nothing to replay.")
    rulings = Ruling.objects.filter(plan=plan, at__gte=first.at)
    made: list[tuple[Any, ...]] = [
        (row.at, row.guardrail, row.verdict, row.value, row.n, row.sentence)
        for row in rulings.exclude(guardrail=EVIDENCE).order_by("pk")
    ]
    again: list[tuple[Any, ...]] = [
        (
            step.at,
            step.rule.key,
            step.ruling.verdict,
            step.ruling.value,
            step.ruling.n,
            step.ruling.sentence,
        )
        for step in replay_as_it_was(plan)
    ]
    missing = Counter(made) - Counter(again)
    more = Counter(again) - Counter(made)
    return [
        *(f"was ruled, and is not in the replay: {_ruled(one)}" for one in missing),
        *(f"is in the replay, and was not ruled: {_ruled(one)}" for one in more),
    ]


def _ruled(one: tuple[Any, ...]) -> str:
    at, key, verdict, _value, _n, sentence = one
    return f"{at:%H:%M:%S.%f} {key}: {verdict} ({sentence})"

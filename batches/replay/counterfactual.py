"""What a plan's stored looks would have led to under other rules, beside what really happened."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from batches.configured import dictionary
from batches.evidence.course import BatchPassed, EvidenceWouldBe, evidence_under, why_not
from batches.evidence.ruling import KEY
from batches.looks.judged_looks import judgings_of, without_states
from batches.models import Rollback
from batches.replay.course import NothingToReplay, refuse_too_much, rules_of, steps_of
from batches.replay.replaying import Rule, Step
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, written_policy
from plans.models import Plan
from plans.policies.policy import Guardrail, UpgradePolicy
from plans.policies.policy_words import span
from plans.refusal import BadInput


@dataclass(frozen=True, slots=True)
class WouldBe:
    """What one guardrail would have said over the whole course.

    `breached_at` and `sentence` are those of its first breach, `failed` of how many `looks`.
    `highest`: of the evidence test, how much evidence there was at most, in %.
    """

    key: str
    kpi: str
    action: str
    scope: str
    dry_run: bool
    looks: int
    failed: int
    breached_at: datetime | None
    sentence: str
    highest: float | None = None

    @property
    def takes_back(self) -> bool:
        """Tell whether its breach takes the plan or a batch back; one tenant alone is neither."""
        return self.action == "rollback" and self.scope != "tenant" and not self.dry_run


@dataclass(frozen=True, slots=True)
class Really:
    """What happened: when the plan was taken back, by what and why; `at` None = never."""

    at: datetime | None
    trigger: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """One plan under other rules. `at`: when it would have been taken back, None = never.

    `passes`: per batch, when the evidence test would first have let it pass. `unreadable`: what is
    not judged, `said`: what is to be known of what is.
    """

    plan: Plan
    guardrails: tuple[WouldBe, ...]
    at: datetime | None
    really: Really
    unreadable: tuple[str, ...] = ()
    passes: tuple[BatchPassed, ...] = ()
    said: tuple[str, ...] = ()

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
        return OUTCOMES[self.word](self)


def replay_under(plan: Plan, policy: UpgradePolicy, *, on_a_page: bool = False) -> Counterfactual:
    """Return what would have happened under the policy; raise a Refused that says why not."""
    judgings = judgings_of(plan)
    if not judgings:
        raise NothingToReplay(
            "There is nothing to replay: no look at this plan was judged, or its looks were dropped"
            f" {counted(settings.LOOKS_KEPT_DAYS, 'day')} after its end."
        )
    if on_a_page:
        refuse_too_much(plan, judgings)
    # What the guardrails said under their own rules does not count under others.
    course = without_states(judgings)
    rules, unreadable = rules_of(policy)
    found = {rule.key: _Gathered(rule) for rule in rules}
    for step in steps_of(plan, policy, course):
        found[step.rule.key].take(step)
    guardrails = [gathered.told() for gathered in found.values()]
    weighed = None
    if policy.evidence is not None:
        why = why_not(plan, judgings)
        unreadable += [why] if why else []
        weighed = None if why else evidence_under(plan, policy, course)
    if weighed is not None:
        guardrails.append(_evidence_told(weighed))
    back = [one.breached_at for one in guardrails if one.breached_at is not None and one.takes_back]
    return Counterfactual(
        plan,
        tuple(guardrails),
        min(back, default=None),
        really(plan),
        tuple(unreadable),
        passes=weighed.passes if weighed is not None else (),
        said=weighed.said if weighed is not None else (),
    )


def _evidence_told(weighed: EvidenceWouldBe) -> WouldBe:
    """Return the evidence test as one of those that judge."""
    reached = weighed.reached
    rules = weighed.test.rules
    return WouldBe(
        key=KEY,
        kpi=reached.step.ruling.kpi if reached is not None else ", ".join(rules.kpis),
        action=reached.step.ruling.action if reached is not None else rules.action,
        scope="plan",
        dry_run=False,
        looks=weighed.looks,
        failed=weighed.at_hundred,
        breached_at=reached.judging.at if reached is not None else None,
        sentence=reached.step.ruling.sentence if reached is not None else "",
        highest=weighed.highest,
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
            scope=guardrail.scope,
            dry_run=guardrail.dry_run,
            looks=self._looks,
            failed=self._failed,
            breached_at=breach.at if breach is not None else None,
            sentence=breach.ruling.sentence if breach is not None else "",
        )


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


OUTCOMES: dict[str, Callable[[Counterfactual], str]] = {
    "true": _true,
    "false": _false,
    "missed": _missed,
    "quiet": _quiet,
}

"""Judge the stored looks of one plan once more, each as it was judged then.

Under its own rules the rulings come out as they were made, in every plan that the tests play.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from batches.configured import dictionary
from batches.evidence.course import evidence_differences, why_not
from batches.evidence.ruling import KEY
from batches.guardrails.verdict import guardrail_key
from batches.kpis.dictionary import GuardrailUnusable, resolve_guardrail
from batches.looks.judged_looks import judgings_of, looks_of
from batches.models import EvidenceLook, JudgedLook, Ruling
from batches.replay.replaying import Judging, Rule, Step, play
from batches.sources.increments import max_age
from plans.counted_words import counted
from plans.drafting.drafting import policy_of
from plans.models import Plan, PlanRevision
from plans.policies.policy import UpgradePolicy
from plans.refusal import Refused


class NothingToReplay(Refused):
    """The plan has no looks whose judging was recorded."""

    default_code = "nothing_to_replay"


MOST_POINTS_ON_A_PAGE = 2_000_000
"""Looks times tenants that a page or a request judges; the command judges any number."""
LEAST_POINTS = 200
"""What a look costs however few tenants it is at."""


class TooMuchForAPage(Refused):
    """The replay would keep the page waiting for minutes."""

    default_code = "too_much_to_replay"


def refuse_too_much(plan: Plan, judgings: Sequence[Judging]) -> None:
    """Raise TooMuchForAPage where judging these looks would keep a page waiting for minutes."""
    most = max((len(judging.upgraded) for judging in judgings), default=0)
    if len(judgings) * max(most, LEAST_POINTS) > MOST_POINTS_ON_A_PAGE:
        raise TooMuchForAPage(
            f"{counted(len(judgings), 'look')} at up to {counted(most, 'tenant')} take minutes"
            f" to judge; run ./console manage replay {plan.external_id}"
        )


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
        for step in steps_of(plan, policy, judgings, ruled=ruled):
            if step.changed:
                ruled.add(step.rule.key)
                yield step


def steps_of(
    plan: Plan, policy: UpgradePolicy, judgings: Sequence[Judging], *, ruled: set[str] | None = None
) -> list[Step]:
    """Return what all guardrails of the policy say, in the order in which the watch says it."""
    rules, _unreadable = rules_of(policy)
    steps: list[Step] = []
    for kpi in dict.fromkeys(rule.definition.name for rule in rules):
        steps += play(
            [rule for rule in rules if rule.definition.name == kpi],
            looks_of(plan, kpi, judgings),
            judgings,
            max_age_seconds=max_age(policy.limits.look_seconds),
            ruled=ruled or (),
        )
    steps.sort(key=lambda step: step.at)
    return steps


def differences(plan: Plan, *, on_a_page: bool = False) -> list[str]:
    """Return where the rulings that were made differ from those of a replay; nothing = the same.

    The evidence test is compared number by number. Raises NothingToReplay. Rulings from before the
    first recorded judging are left out, and what `left_out` names. `on_a_page`: raise
    TooMuchForAPage rather than keep a page waiting.
    """
    first = JudgedLook.objects.filter(plan=plan).order_by("pk").first()
    if first is None:
        raise NothingToReplay("No look at this plan was judged, so there is nothing to replay.")
    if on_a_page:
        refuse_too_much(plan, judgings_of(plan))
    rulings = Ruling.objects.filter(plan=plan, at__gte=first.at)
    made: list[tuple[Any, ...]] = [
        (row.at, row.guardrail, row.verdict, row.value, row.n, row.sentence)
        for row in rulings.exclude(guardrail=KEY).order_by("pk")
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
        *evidence_differences(plan),
    ]


def left_out(plan: Plan) -> list[str]:
    """Return what of the plan cannot be replayed, in words."""
    if not EvidenceLook.objects.filter(plan=plan).exists():
        return []
    why = why_not(plan, judgings_of(plan))
    return [why] if why else []


def _ruled(one: tuple[Any, ...]) -> str:
    at, key, verdict, _value, _n, sentence = one
    return f"{at:%H:%M:%S.%f} {key}: {verdict} ({sentence})"

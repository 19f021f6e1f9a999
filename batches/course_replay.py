"""Judge the stored looks of one plan once more, each as it was judged then.

Under its own rules the rulings come out as they were made, in every plan that the tests play.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from batches.configured import dictionary
from batches.dictionary import GuardrailUnusable, resolve_guardrail
from batches.increments import LookSample, max_age
from batches.judged_looks import judgings_of
from batches.models import JudgedLook, KpiSample, Ruling
from batches.placebo import EVIDENCE
from batches.replaying import Judging, Rule, Step, play
from batches.verdict import guardrail_key
from plans.drafting import policy_of
from plans.models import Plan, PlanRevision
from plans.policy import UpgradePolicy
from plans.refusal import Refused


class NothingToReplay(Refused):
    """The plan has no looks whose judging was recorded."""

    default_code = "nothing_to_replay"


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

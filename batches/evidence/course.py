"""The evidence test of one plan over its stored looks: as it was, and under other rules."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from batches.configured import dictionary
from batches.decisions.plan_rows import STARTED_ANEW
from batches.evidence.calibration import Usual
from batches.evidence.replaying import EvidenceStep, Weighing, play_evidence
from batches.evidence.rules import EvidenceTest, evidence_test
from batches.evidence.ruling import KEY
from batches.evidence.steps import LookNumbers, Standing, is_over, numbers_of
from batches.evidence.tenant_history import usual_before
from batches.evidence.watching import BY_HAND, state_digest
from batches.looks.judged_looks import judgings_of, looks_of
from batches.looks.recall import guards_of, kept_seconds
from batches.models import EvidenceLook, Rollback, Ruling
from batches.replay.replaying import Judging
from plans.drafting.drafting import policy_of
from plans.models import Event, Plan, PlanRevision
from plans.policies.policy import UpgradePolicy

_NUMBERS = tuple(field.name for field in fields(LookNumbers))


# As it was.


def replay_evidence(plan: Plan, judgings: Sequence[Judging]) -> Iterator[EvidenceStep]:
    """Return the steps of the test as they were taken, each by the revision of its moment."""
    by: dict[int, Weighing] = {}
    for number in sorted({judging.revision for judging in judgings}):
        policy = policy_of(PlanRevision.objects.get(plan=plan, number=number))
        by[number] = _weighing(policy)
    tests = [weighing.test for weighing in by.values() if weighing.test is not None]
    return play_evidence(
        _stored(plan, tests, judgings),
        judgings,
        weighed=lambda judging: by[judging.revision],
        longest=max((weighing.kept_seconds for weighing in by.values()), default=0.0),
        known=_known(plan, tests)[0],
        # Written down: what was committed in that moment cannot be told from times alone.
        over=lambda judging, _standing: judging.anew,
    )


def why_not(plan: Plan, judgings: Sequence[Judging]) -> str:
    """Return why no evidence test can be laid over these judgings, empty where one can."""
    first = EvidenceLook.objects.filter(plan=plan).order_by("at").first()
    known = all(judging.control is not None for judging in judgings)
    if first is not None:
        known &= any(judging.looks.get(first.kpi) == first.at for judging in judgings)
    if known:
        return ""
    return "the evidence test: its looks were judged before the console kept what a replay needs"


def evidence_differences(plan: Plan) -> list[str]:
    """Return where evidence and rulings of it differ from those of a replay; nothing = the same.

    Compared are all numbers of each look, and of each ruling the digest of all that the test knew.
    """
    judgings = judgings_of(plan)
    if why_not(plan, judgings):
        return []
    looks: dict[tuple[str, datetime], dict[str, Any]] = {}
    again: list[tuple[Any, ...]] = []
    for judging, test, step in replay_evidence(plan, judgings):
        for look, state in step.taken:
            looks[look.kpi, look.at] = asdict(numbers_of(test, look, state))
        if step.changed:
            ruling = step.ruling
            told = ruling.verdict, ruling.action, ruling.kpi, ruling.percent, step.requests
            digest = state_digest(step.standing.state)
            again.append((judging.at, *told, step.sentence, digest))
    return [*_look_differences(plan, looks), *_ruling_differences(plan, again)]


def _look_differences(
    plan: Plan, again: Mapping[tuple[str, datetime], Mapping[str, Any]]
) -> Iterator[str]:
    left = dict(again)
    for row in EvidenceLook.objects.filter(plan=plan).order_by("pk").values("kpi", "at", *_NUMBERS):
        kpi, at = row.pop("kpi"), row.pop("at")
        where = f"the evidence of {kpi} at {at:%H:%M:%S.%f}"
        numbers = left.pop((kpi, at), None)
        if numbers is None:
            yield f"{where} was taken in, and is not in the replay"
            continue
        for name in _NUMBERS:
            if row[name] != numbers[name]:
                yield f"{where}: {name} was {row[name]}, and is {numbers[name]} in the replay"
    for kpi, at in left:
        yield f"the evidence of {kpi} at {at:%H:%M:%S.%f} is in the replay, and was not taken in"


def _ruling_differences(plan: Plan, again: Collection[tuple[Any, ...]]) -> Iterator[str]:
    rows = Ruling.objects.filter(plan=plan, guardrail=KEY).order_by("pk")
    made = [
        (
            *(row.at, row.verdict, row.action, row.kpi, row.value, row.n),
            *(row.sentence, row.inputs_digest),
        )
        for row in rows
    ]
    for one in made:
        if one not in again:
            yield f"was ruled, and is not in the replay: {_ruled(one)}"
    for one in again:
        if one not in made:
            yield f"is in the replay, and was not ruled: {_ruled(one)}"


def _ruled(one: tuple[Any, ...]) -> str:
    at, verdict, *_numbers, sentence, digest = one
    return f"{at:%H:%M:%S.%f} {KEY}: {verdict} ({sentence}; state {digest[:12]})"


# Under other rules.


@dataclass(frozen=True, slots=True)
class BatchPassed:
    """When the test first let a batch pass whose soak had begun; `at` None = never."""

    batch: int
    soak_started: datetime
    at: datetime | None
    sentence: str


@dataclass(frozen=True, slots=True)
class EvidenceWouldBe:
    """What the test would have said over the whole course.

    `reached`: the step with which it first reached 100 %. `said`: what one has to know of it.
    """

    test: EvidenceTest
    looks: int
    at_hundred: int
    highest: float
    reached: EvidenceStep | None
    passes: tuple[BatchPassed, ...]
    said: tuple[str, ...]


def evidence_under(
    plan: Plan, policy: UpgradePolicy, judgings: Sequence[Judging]
) -> EvidenceWouldBe | None:
    """Return what the policy's test would have said, None where it has none.

    Over `judgings` that all know how many tenants waited (`why_not`).
    """
    weighing = _weighing(policy)
    test = weighing.test
    if test is None:
        return None
    known, said = _known(plan, [test])
    ends = _Ends(plan)
    steps = play_evidence(
        _stored(plan, [test], judgings),
        judgings,
        weighed=lambda _judging: weighing,
        longest=weighing.kept_seconds,
        known=known,
        over=ends.over,
    )
    looks = at_hundred = 0
    highest = 0.0
    reached: EvidenceStep | None = None
    passes: dict[int, BatchPassed] = {}
    for one in steps:
        looks += 1
        highest = max(highest, one.step.ruling.percent)
        if one.step.ruling.verdict == "breached":
            at_hundred += 1
            reached = reached or one
        _note_pass(passes, one)
    said += list(test.unusable.values())
    looked_at = {kpi for judging in judgings for kpi in judging.looks}
    said += [
        f"the plan has not looked at {kpi}: the test knows nothing of it"
        for kpi in test.kpis
        if kpi not in looked_at
    ]
    said += [
        f"the evidence of {kpi} only warns, its history is too short: {short}"
        for kpi, (_usual, short) in known.items()
        if short
    ]
    return EvidenceWouldBe(
        test, looks, at_hundred, highest, reached, tuple(passes.values()), tuple(said)
    )


def _note_pass(passes: dict[int, BatchPassed], one: EvidenceStep) -> None:
    """Note whether the step lets the batch pass that soaks now."""
    judging, ruling = one.judging, one.step.ruling
    if judging.number is None or judging.soak_started is None:
        return
    known = passes.get(judging.number)
    if known is not None and known.at is not None and known.soak_started == judging.soak_started:
        return
    at = judging.at if ruling.may_pass else None
    passes[judging.number] = BatchPassed(judging.number, judging.soak_started, at, ruling.sentence)


class _Ends:
    """When rollbacks of the plan ended, and when people let it go on: the test begins anew."""

    def __init__(self, plan: Plan) -> None:
        back = Rollback.objects.filter(plan=plan, scope__in=STARTED_ANEW)
        self._back = sorted(row.finished_at or row.triggered_at for row in back)
        acts = Event.objects.filter(stream__key=plan.stream_key, kind__in=BY_HAND)
        self._acts = sorted(acts.values_list("at", flat=True))

    def over(self, judging: Judging, standing: Standing | None) -> bool:
        """Tell whether what was tested up to a judging was over by then."""
        if standing is None:
            return False
        return is_over(
            standing.began_at,
            standing.reached_at,
            taken_back=max((at for at in self._back if at <= judging.at), default=None),
            taken_on=max((at for at in self._acts if at <= judging.at), default=None),
        )


# What both need.


def _weighing(policy: UpgradePolicy) -> Weighing:
    known = dictionary()
    guards, _unusable = guards_of(policy.guardrails, known)
    return Weighing(evidence_test(policy, known), kept_seconds(guards))


def _known(
    plan: Plan, tests: Sequence[EvidenceTest]
) -> tuple[dict[str, tuple[Usual, str]], list[str]]:
    """Return per Kpi what was usual before the plan, and what is to be known of it in words."""
    known: dict[str, tuple[Usual, str]] = {}
    said: list[str] = []
    for test in tests:
        for kpi, tested in test.kpis.items():
            if kpi not in known:
                usual, short, doubt = usual_before(plan, kpi, bound=tested.slow_above)
                known[kpi] = usual, short
                said += [doubt] if doubt else []
    return known, said


def _stored(
    plan: Plan, tests: Sequence[EvidenceTest], judgings: Sequence[Judging]
) -> dict[str, Any]:
    kpis = dict.fromkeys(kpi for test in tests for kpi in test.kpis)
    return {kpi: looks_of(plan, kpi, judgings) for kpi in kpis}

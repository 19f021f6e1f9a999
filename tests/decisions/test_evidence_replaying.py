"""The replay of the evidence test is what the watch did: number by number, over restarts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import PlanEvidence
from batches.evidence.replaying import EvidenceStep, Weighing, play_evidence
from batches.evidence.rules import EvidenceTest, KpiUnderTest
from batches.evidence.ruling import surroundings_of
from batches.evidence.steps import ANEW, AtHand, Standing, Step, is_over, take_step
from batches.looks.kpi_points import LookSample, Point, RatioPoint
from batches.replay.replaying import Judging
from plans.policies.policy import EvidenceRules
from tests.decisions.kpi_looks import ERROR_RATE, NOON, after

TEST = EvidenceTest(
    EvidenceRules(detect=2), {"error_rate": KpiUnderTest(ERROR_RATE)}, horizon_seconds=600
)
RATES = {"acorn": (90.5, 9000.0), "birch": (33.25, 7000.0), "cedar": (8.0, 8000.0)}
KNOWN = {"error_rate": (Usual(RATES, 1.3), "")}
KEPT = 20.0

Counts = tuple[tuple[float, float], ...]


def a_look(number: int, counts: Counts) -> LookSample:
    """Return a look at acorn and birch, which are upgraded, and cedar, which waits."""
    bad = [RatioPoint(errors, max(errors, total)) for errors, total in counts]
    return LookSample(
        "error_rate",
        after(5 * number),
        canary={"acorn": bad[0], "birch": bad[1]},
        control={"cedar": bad[2]},
    )


def judging(number: int, **more: Any) -> Judging:
    """Return how that look was judged."""
    given: dict[str, Any] = {
        "upgraded": ("acorn", "birch"),
        "soak_started": NOON,
        "looks": {"error_rate": after(5 * number)},
        "number": 1,
        "control": 1,
    } | more
    return Judging(at=after(5 * number + 0.3), **given)


def as_the_watch(
    looks: Sequence[LookSample], judgings: Sequence[Judging], kept: Callable[[Any], Any]
) -> list[Step]:
    """Take the looks in as a watch does whose state is `kept` in a row between any two of them."""
    standing: Standing | None = None
    steps = []
    for number, one in enumerate(judgings):
        newest = looks[number]
        hand = AtHand(
            kpis={"error_rate"},
            looks={
                "error_rate": [
                    look
                    for look in looks[: number + 1]
                    if newest.at - look.at <= timedelta(seconds=KEPT)
                ]
            },
            around=surroundings_of(TEST, KNOWN, canary=2, control=1),
            now=one.at,
            soak_started=one.soak_started,
            batch=one.number,
        )
        step = take_step(standing, TEST, hand, anew=one.anew)
        if step is not None:
            steps.append(step)
            standing = kept(step.standing)
    return steps


def through_a_row(standing: Standing) -> Standing:
    """Return the state as it comes back from JSON, its keys in the order of another database."""
    body = json.loads(json.dumps(standing.state.to_json(), sort_keys=True))
    return replace(standing, state=PlanEvidence.from_json(body))


def replayed(
    looks: Sequence[LookSample], judgings: Sequence[Judging], test: EvidenceTest = TEST
) -> list[EvidenceStep]:
    stored = [LookSample.from_json(json.loads(json.dumps(look.to_json()))) for look in looks]
    return list(
        play_evidence(
            {"error_rate": stored},
            judgings,
            weighed=lambda _judging: Weighing(test, KEPT),
            longest=KEPT,
            known=KNOWN,
            over=lambda one, _standing: one.anew,
        )
    )


count = st.floats(0, 60, allow_nan=False).map(lambda n: round(n, 2))
total = st.integers(0, 500).map(float)
one_look = st.tuples(*[st.tuples(count, total)] * 3)
course = st.lists(st.tuples(one_look, st.booleans()), min_size=1, max_size=25)


@given(course)
def test_a_replay_is_what_a_watch_did_that_restarted_after_each_look(drawn):
    looks = [a_look(number, counts) for number, (counts, _anew) in enumerate(drawn)]
    judgings = [judging(n, anew=anew and n > 0) for n, (_counts, anew) in enumerate(drawn)]
    made = as_the_watch(looks, judgings, through_a_row)
    assert [step for _judging, _test, step in replayed(looks, judgings)] == made


@given(course, st.randoms(use_true_random=False))
def test_in_whatever_order_tenants_come_back_the_numbers_are_the_same(drawn, dice):
    looks = [a_look(number, counts) for number, (counts, _anew) in enumerate(drawn)]
    judgings = [judging(number) for number in range(len(drawn))]

    def mixed(points: Any) -> dict[str, Point]:
        pairs = list(points.items())
        dice.shuffle(pairs)
        return dict(pairs)

    shuffled = [
        replace(look, canary=mixed(look.canary), control=mixed(look.control)) for look in looks
    ]
    straight = [one.step for one in replayed(looks, judgings)]
    again = [one.step for one in replayed(shuffled, judgings)]
    assert [s.standing.state for s in again] == [s.standing.state for s in straight]
    assert [s.ruling for s in again] == [s.ruling for s in straight]


BAD = ((40.0, 200.0), (40.0, 200.0), (1.0, 800.0))
GOOD = ((2.0, 200.0), (1.0, 200.0), (1.0, 800.0))


def a_course(*counts: Counts, **more: Any) -> tuple[list[LookSample], list[Judging]]:
    looks = [a_look(number, one) for number, one in enumerate(counts)]
    return looks, [judging(number, **more) for number in range(len(counts))]


def test_the_sentence_tells_of_the_looks_at_hand_and_of_no_earlier_ones():
    looks, judgings = a_course(*[GOOD] * 20, *[BAD] * 3)
    reached = next(one for one in replayed(looks, judgings) if one.step.ruling.word == "rollback")
    assert f"requests in {KEPT:.0f} s, 2 tenants)" in reached.step.ruling.sentence


def test_what_was_at_hand_begins_after_the_last_rollback():
    looks, judgings = a_course(*[GOOD] * 2, *[BAD] * 3, since=after(7))
    reached = next(one for one in replayed(looks, judgings) if one.step.ruling.word == "rollback")
    assert "requests in 0 s" in reached.step.ruling.sentence


def test_why_it_was_reached_is_said_once_and_stays():
    looks, judgings = a_course(*[BAD] * 6)
    sentences = {
        one.step.ruling.sentence
        for one in replayed(looks, judgings)
        if one.step.ruling.word == "rollback"
    }
    assert len(sentences) == 1


def test_where_it_began_anew_it_says_so_and_knows_nothing_from_before():
    looks, judgings = a_course(*[BAD] * 3)
    judgings[2] = replace(judgings[2], anew=True)
    last = replayed(looks, judgings)[-1].step
    assert last.changed
    assert last.sentence.startswith(ANEW)
    assert last.standing.state.looks == 1
    assert last.standing.began_at == judgings[2].at


def test_a_less_tolerant_test_reaches_it_earlier_and_a_more_tolerant_one_never():
    looks, judgings = a_course(*[((6.0, 200.0), (6.0, 200.0), (1.0, 800.0))] * 40)

    def reached(**rules: Any) -> int | None:
        test = replace(TEST, rules=EvidenceRules(**rules))
        steps = replayed(looks, judgings, test)
        return next((n for n, one in enumerate(steps) if one.step.standing.reached_at), None)

    soon, later = reached(ratio=1, points=0), reached(ratio=1.2, points=0.5)
    assert soon is not None
    assert later is None or later > soon
    assert reached(ratio=5, points=5) is None


def test_a_judging_under_rules_without_a_test_is_passed_over():
    looks, judgings = a_course(*[BAD] * 4)
    steps = list(
        play_evidence(
            {"error_rate": looks},
            judgings,
            weighed=lambda one: Weighing(None if one is judgings[1] else TEST, KEPT),
            longest=KEPT,
            known=KNOWN,
            over=lambda one, _standing: one.anew,
        )
    )
    assert [one.judging for one in steps] == [judgings[0], *judgings[2:]]


@pytest.mark.parametrize(
    ("reached", "taken_back", "taken_on", "over"),
    [
        (None, None, None, False),
        (None, None, after(50), False),
        (None, after(-1), None, False),
        (None, after(1), None, True),
        (after(10), None, after(9), False),
        (after(10), None, after(11), True),
        (after(10), after(-1), after(10), False),
    ],
)
def test_a_test_is_over_after_a_rollback_and_when_a_person_takes_it_on(
    reached, taken_back, taken_on, over
):
    assert is_over(NOON, reached, taken_back=taken_back, taken_on=taken_on) is over

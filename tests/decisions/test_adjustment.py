"""What counts as tighter in a running plan, and that tighter rules never let anything by."""

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.guardrails.verdict import GuardState, judge, measure, promotable
from plans.changes.adjustment import compare, merged, restored
from plans.changes.change import Standing
from plans.drafting.exposure import as_careful
from plans.policies.policy import (
    BatchSpec,
    Conditions,
    Guardrail,
    Limits,
    RollbackRules,
    Selection,
    UpgradePolicy,
    Window,
)
from tests.decisions.kpi_looks import ERROR_RATE, NOON, after, look, ratio

BATCHES = (
    BatchSpec("canary", 5, 1800),
    BatchSpec("wave-1", 30, 3600),
    BatchSpec("wave-2", 65, 7200),
)
ERRORS = Guardrail("error_rate", at_most=5, unit="%")
SHARE = Guardrail("pass_rate", at_least=95, unit="%")
BASE = UpgradePolicy("p", BATCHES, guardrails=(ERRORS, SHARE))
NIGHT = Window("allow", ("mon",), time(22), time(4), "UTC")
DAY = Window("deny", ("tue",), time(8), time(18), "UTC")


BEGUN = Standing(begun=1)


def changed(policy=BASE, standing=BEGUN, **fields):
    return compare(policy, replace(policy, **fields), standing)


def the_change(**fields):
    [change] = changed(**fields).changes
    return change


def rails(*rules):
    return {"guardrails": rules}


@pytest.mark.parametrize(
    ("rule", "direction", "sentence"),
    [
        (
            replace(ERRORS, at_most=2),
            "tighter",
            "error_rate: at most 5 % → at most 2 %: tighter",
        ),
        (replace(ERRORS, at_most=8), "looser", "error_rate: at most 5 % → at most 8 %: looser"),
        (replace(ERRORS, failure_limit=0), "tighter", "error_rate, failure limit: 1 → 0: tighter"),
        (replace(ERRORS, failure_limit=3), "looser", "error_rate, failure limit: 1 → 3: looser"),
        (
            replace(ERRORS, action="pause"),
            "looser",
            "error_rate, action: rollback → pause: looser",
        ),
        (replace(ERRORS, dry_run=True), "looser", "error_rate, dry run: no → yes: looser"),
        (
            replace(ERRORS, window_seconds=30),
            "looser",
            "error_rate, window: 60 s → 30 s: looser",
        ),
        (
            replace(ERRORS, window_seconds=90),
            "looser",
            "error_rate, window: 60 s → 90 s: looser",
        ),
        (replace(ERRORS, min_samples=5), "looser", "error_rate, min samples: 20 → 5: looser"),
        (replace(ERRORS, at_most=None, at_least=2), "looser", None),
        (replace(ERRORS, unit="1"), "looser", None),
    ],
)
def test_a_guardrail_is_judged_key_by_key(rule, direction, sentence):
    change = the_change(**rails(rule, SHARE))
    assert change.direction == direction
    assert sentence is None or change.sentence == sentence


def test_where_higher_is_better_the_direction_turns():
    assert the_change(**rails(ERRORS, replace(SHARE, at_least=98))).direction == "tighter"
    assert the_change(**rails(ERRORS, replace(SHARE, at_least=90))).direction == "looser"


def test_a_guardrail_more_is_tighter_and_one_less_is_looser():
    more = the_change(**rails(ERRORS, SHARE, Guardrail("queue_ms", at_most=9)))
    assert (more.path, more.direction) == ("guardrails.queue_ms", "tighter")
    less = the_change(**rails(ERRORS))
    assert less.sentence == "pass_rate: at least 95 %, else rollback → no guardrail: looser"


def test_the_same_limit_in_another_unit_is_no_change():
    def in_percent(rule):
        if rule.unit != "1":
            return rule
        return replace(rule, at_most=100 * rule.at_most, unit="%")

    edited = replace(BASE, guardrails=(replace(ERRORS, at_most=0.05, unit="1"), SHARE))
    assert not compare(BASE, edited, Standing(), resolve=in_percent).changes


@pytest.mark.parametrize(
    ("name", "tighter", "looser"),
    [
        ("failure_rate", 2, 9),
        ("batch_minutes", 10, 60),
        ("missing_metrics_minutes", 1, 9),
        ("hold_minutes", 10, 90),
        ("success_rate", 99, 90),
        ("parallelism", 5, 40),
        ("call_timeout_seconds", 10, 30),
        ("look_seconds", 2, 9),
        ("rollback_seconds", 100, None),
        ("failures", 3, None),
        ("attempts", None, 2),
        ("attempts", None, 5),
    ],
)
def test_a_limit_is_judged_by_what_it_lets_by(name, tighter, looser):
    for value, direction in ((tighter, "tighter"), (looser, "looser")):
        if value is not None:
            change = the_change(limits=replace(Limits(), **{name: value}))
            assert (change.path, change.direction) == (f"limits.{name}", direction)


def test_a_number_of_failures_is_a_bound_and_none_is_not():
    bounded = replace(BASE, limits=Limits(failures=3))
    for failures, direction in ((2, "tighter"), (4, "looser"), (None, "looser")):
        change = changed(bounded, limits=Limits(failures=failures)).changes[0]
        assert (change.path, change.direction) == ("limits.failures", direction)
    assert the_change(limits=Limits(failures=3)).sentence == "failures: no bound → 3: tighter"


def test_a_batch_that_waits_for_openings_is_the_tighter_rule():
    finish = the_change(windows_closing="finish_batch")
    assert (finish.path, finish.direction) == ("windows_closing", "looser")
    edited = replace(BASE, windows_closing="finish_batch")
    assert merged(BASE, edited, {"windows_closing"}, Standing()) == edited


def test_every_limit_and_condition_has_been_thought_of():
    from plans.changes import adjustment

    assert set(adjustment._LIMITS) | {"attempts"} == set(Limits.__dataclass_fields__)
    assert set(adjustment._ON) == set(Conditions.__dataclass_fields__)


def test_to_roll_back_is_tighter_than_to_hold():
    assert the_change(on=Conditions(batch_overrun="rollback")).direction == "tighter"
    assert the_change(on=Conditions(failure_rate="hold")).direction == "looser"


def waves(*batches):
    return {"batches": (BATCHES[0], *batches)}


W1, W2 = BATCHES[1:]


@pytest.mark.parametrize(
    ("batches", "direction"),
    [
        ((replace(W1, soak_seconds=7200), W2), "tighter"),
        ((replace(W1, soak_seconds=60), W2), "looser"),
        ((replace(W1, advance="manual"), W2), "tighter"),
        ((replace(W1, metrics=("queue_ms",)), W2), "tighter"),
        # Smaller, but the step behind it becomes larger, and nobody watches what is between.
        ((replace(W1, percentage=10), replace(W2, percentage=85)), "looser"),
        ((replace(W1, percentage=60), replace(W2, percentage=35)), "looser"),
        # A batch more: the larger share must be watched as long as before.
        ((replace(W1, percentage=10), BatchSpec("w", 20, 0), W2), "looser"),
        ((replace(W1, percentage=10), BatchSpec("w", 20, 3600), W2), "tighter"),
        ((BatchSpec("all", 95, 1),), "looser"),
        ((replace(W1, name="other"), W2), "neutral"),
    ],
)
def test_batches_are_judged_by_whom_they_expose_and_when(batches, direction):
    result = changed(**waves(*batches))
    assert [change.direction for change in result.changes] == [direction]
    assert not result.refused


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"batches": (replace(BATCHES[0], percentage=6), replace(W1, percentage=29), W2)}, "5 %"),
        ({"batches": (W1, BATCHES[0], W2)}, "canary: it has begun"),
        ({"batches": (replace(BATCHES[0], advance="manual"), W1, W2)}, "begun already"),
        ({"selection": Selection(order="listed")}, "selection"),
        ({"approvals": "finance"}, "approvals"),
        ({"rollback": RollbackRules(rollback_after_seconds=30)}, "rollback"),
    ],
)  # fmt: skip
def test_what_may_not_change_is_refused_by_name(fields, named):
    [refused] = changed(**fields).refused
    assert named in refused


def test_the_promise_is_not_stretched():
    short = replace(BASE, limits=Limits(rollback_seconds=90))
    assert "stretched" in changed(short, limits=Limits(rollback_seconds=180)).refused[0]


def test_a_batch_that_is_over_keeps_its_soak():
    over = Standing(begun=1, over=frozenset({"canary"}))
    longer = (replace(BATCHES[0], soak_seconds=9999), W1, W2)
    assert "it is over" in changed(standing=over, batches=longer).refused[0]
    assert the_change(batches=longer).direction == "tighter"


@pytest.mark.parametrize(
    ("before", "new", "direction"),
    [
        ((), (DAY,), "tighter"),
        ((), (NIGHT,), "tighter"),
        ((NIGHT,), (), "looser"),
        ((NIGHT,), (NIGHT, replace(NIGHT, days=("fri",))), "looser"),
        ((DAY,), (), "looser"),
        ((NIGHT,), (NIGHT, DAY), "tighter"),
    ],
)
def test_windows_are_tighter_when_they_only_narrow(before, new, direction):
    result = changed(replace(BASE, windows=before), windows=new)
    assert [change.direction for change in result.changes] == [direction]


def test_an_earlier_end_is_tighter():
    end = datetime(2031, 3, 5, tzinfo=UTC)
    assert the_change(not_after=end).direction == "tighter"
    ends = replace(BASE, not_after=end)
    assert [c.direction for c in changed(ends, not_after=None).changes] == ["looser"]


MIXED = replace(
    BASE,
    guardrails=(replace(ERRORS, at_most=2, failure_limit=3), SHARE),
    limits=replace(Limits(), failure_rate=9, look_seconds=2),
    batches=(replace(BATCHES[0], soak_seconds=10), replace(W1, soak_seconds=9999), W2),
)


def test_a_mixed_set_is_split_into_what_is_tighter_and_the_rest():
    standing = Standing(begun=1)
    result = compare(BASE, MIXED, standing)
    assert result.mixed
    assert result.direction == "looser"
    tight = merged(BASE, MIXED, result.tighter_paths, standing)
    assert tight.guardrails == (replace(ERRORS, at_most=2), SHARE)
    assert tight.limits == replace(Limits(), look_seconds=2)
    assert [batch.soak_seconds for batch in tight.batches] == [1800, 9999, 7200]
    assert compare(BASE, tight, standing).direction == "tighter"
    rest = compare(tight, MIXED, standing)
    assert {change.direction for change in rest.changes} == {"looser"}
    assert merged(BASE, MIXED, {c.path for c in result.changes}, standing) == MIXED


def test_restoring_puts_back_what_was_loosened_and_keeps_what_became_tighter_since():
    standing = Standing(begun=1)
    loose = replace(
        BASE,
        guardrails=(replace(ERRORS, at_most=9), replace(SHARE, at_least=80)),
        limits=replace(Limits(), failure_rate=20),
    )
    paths = {change.path for change in compare(BASE, loose, standing).changes}
    since = replace(loose, guardrails=(replace(ERRORS, at_most=1), replace(SHARE, at_least=80)))
    back = restored(since, BASE, paths, standing)
    assert back.guardrails == (replace(ERRORS, at_most=1), SHARE)
    assert back.limits == Limits()


def test_a_removed_guardrail_comes_back():
    standing = Standing()
    without = replace(BASE, guardrails=(ERRORS,))
    paths = {change.path for change in compare(BASE, without, standing).changes}
    assert restored(without, BASE, paths, standing) == BASE


# Properties.

limits = st.integers(0, 30)
looks_of = st.lists(st.tuples(limits, st.just(100)), min_size=1, max_size=8)
rules = st.builds(
    Guardrail,
    kpi=st.just("error_rate"),
    at_most=limits,
    unit=st.just("%"),
    failure_limit=st.integers(0, 3),
    consecutive_error_limit=st.integers(0, 3),
    action=st.sampled_from(["rollback", "pause", "warn"]),
    critical=st.booleans(),
    dry_run=st.booleans(),
    window_seconds=st.sampled_from([10.0, 60.0]),
)
SEVERITY = ("", "warn", "pause", "rollback")


def walk(rule, counts):
    """Return what the guardrail asks for after each look, and whether the batch might pass."""
    state, said, looks = GuardState(), [], []
    for number, (bad, total) in enumerate(counts):
        looks.append(look(5 * number, {"acorn": ratio(bad, total)}))
        at = after(5 * number)
        seen = measure(rule, ERROR_RATE, looks, canary=1, now=at)
        state, ruling = judge(state, seen, rule, now=at, soak_started=NOON)
        may_pass, _why = promotable([state], [rule])
        said.append((SEVERITY.index(ruling.action) if ruling.action in SEVERITY else 0, may_pass))
    return said


@given(rules, rules, looks_of)
def test_a_tighter_guardrail_never_does_less_and_never_lets_a_batch_pass_sooner(old, new, counts):
    before, edited = (UpgradePolicy("p", BATCHES, guardrails=(rule,)) for rule in (old, new))
    if compare(before, edited, Standing()).direction == "looser":
        return
    for (was, passed), (reads, passes) in zip(walk(old, counts), walk(new, counts), strict=True):
        assert reads >= was
        assert passed or not passes or (old.action == "warn" and new.action != "warn")


@given(rules, rules)
def test_what_is_tighter_one_way_is_looser_the_other(old, new):
    one, other = (UpgradePolicy("p", BATCHES, guardrails=(rule,)) for rule in (old, new))
    there, back = compare(one, other, Standing()), compare(other, one, Standing())
    if there.direction == "tighter":
        assert back.direction == "looser"
    assert (there.direction == "neutral") == (back.direction == "neutral") == (old == new)


@st.composite
def lists_of_batches(draw):
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    return tuple(
        BatchSpec(
            f"b{number}",
            size,
            draw(st.integers(0, 5)),
            advance=draw(st.sampled_from(["automatic", "manual"])),
        )
        for number, size in enumerate(sizes)
    )


def exposed(batches, seconds, gates):
    """Return the share that is upgraded once so much soak has passed and so many have agreed."""
    whole = sum(batch.percentage for batch in batches)
    done = 0.0
    for batch in batches:
        gates -= batch.advance == "manual"
        if gates < 0 or seconds < 0:
            break
        done += batch.percentage / whole
        seconds -= batch.soak_seconds
    return done


@given(lists_of_batches(), lists_of_batches())
def test_a_list_that_is_as_careful_exposes_nobody_earlier(new, old):
    if as_careful(new, old):
        for seconds in range(-1, 21):
            for gates in range(5):
                assert exposed(new, seconds, gates) <= exposed(old, seconds, gates) + 1e-9


@given(lists_of_batches())
def test_a_list_is_as_careful_as_itself(batches):
    assert as_careful(batches, batches)

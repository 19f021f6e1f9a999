"""Which answers tell something of a plan's tenants: only those are worth keeping a source for."""

from datetime import timedelta

import pytest

from batches.sources.readings import tells_of
from tests.decisions.kpi_looks import (
    BAD,
    ERROR_RATE,
    NOON,
    PASS_RATE,
    RATIO_MAPPING,
    TOTAL,
    VALUE,
    VALUE_MAPPING,
    counter,
    requests,
)

ACORN = requests({("acorn", "1.0"): (1, 100)})


def told(answers, *, tenants=("acorn", "birch"), mapping=RATIO_MAPPING, definition=ERROR_RATE):
    oldest = timedelta(seconds=30)
    return tells_of(answers, mapping, definition, at=NOON, oldest=oldest, tenants=tenants)


def test_one_tenant_with_usable_counters_is_enough():
    assert told(ACORN)


@pytest.mark.parametrize(
    "answers",
    [
        {BAD: [], TOTAL: []},
        # An error counter that is not there yet is no data.
        {BAD: [], TOTAL: ACORN[TOTAL]},
        {BAD: ACORN[BAD], TOTAL: []},
        requests({("acorn", "1.0"): (float("nan"), 100)}),
        {
            BAD: [counter("acorn", "1.0", 1, NOON - timedelta(seconds=31))],
            TOTAL: ACORN[TOTAL],
        },
    ],
)
def test_an_answer_without_anything_usable_tells_nothing(answers):
    assert not told(answers)


def test_what_is_told_of_others_tells_nothing_of_this_plan():
    assert not told(ACORN, tenants=("cedar",))


def test_several_series_of_a_tenant_tell_nothing():
    twice = {VALUE: [counter("acorn", "1.0", 1), counter("acorn", "1.0", 2)]}
    assert not told(twice, mapping=VALUE_MAPPING, definition=PASS_RATE)
    assert told({VALUE: twice[VALUE][:1]}, mapping=VALUE_MAPPING, definition=PASS_RATE)

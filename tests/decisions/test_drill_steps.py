"""What comes next in a drill: one table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.drills.steps import RUN_STATES, Drilled, first_of, next_step, verdict
from batches.lifecycle import TENANT_UPGRADE


@pytest.mark.parametrize(
    ("phase", "state", "exhausted", "step"),
    [
        ("back", "upgraded", False, "run"),
        ("back", "restoring", False, "run"),
        ("back", "rolled_back", False, "restored"),
        ("back", "needs_hand", True, "failed"),
        ("forward", "rolled_back", False, "run"),
        ("forward", "upgrading", False, "run"),
        ("forward", "unknown", False, "run"),
        ("forward", "unknown", True, "undo"),
        ("forward", "failed", True, "undo"),
        ("forward", "upgraded", False, "passed"),
        ("undo", "failed", True, "run"),
        ("undo", "unknown", True, "run"),
        ("undo", "restoring", True, "run"),
        ("undo", "rolled_back", True, "failed"),
        ("undo", "needs_hand", True, "failed"),
    ],
)
def test_the_table_of_steps(phase, state, exhausted, step):
    assert next_step(phase, Drilled("acorn", state, exhausted))[0] == step


@given(
    phase=st.sampled_from(sorted(RUN_STATES)),
    state=st.sampled_from(sorted(TENANT_UPGRADE.states)),
    exhausted=st.booleans(),
)
def test_a_drill_never_passes_unless_its_tenant_is_forward_again(phase, state, exhausted):
    step, sentence = next_step(phase, Drilled("acorn", state, exhausted))
    assert (step == "passed") == (phase == "forward" and state == "upgraded")
    assert sentence or step == "run"


@pytest.mark.parametrize(
    ("seconds", "quote", "word"),
    [(3, 10, ""), (10, 10, ""), (11, 10, "quoted"), (181, 500, "may take"), (5, None, "")],
)
def test_a_restore_must_keep_its_quote_and_its_limit(seconds, quote, word):
    told = verdict(seconds=seconds, quote=quote, limit=180)
    assert word in told
    assert bool(word) == bool(told)


def test_the_first_by_position_is_drilled():
    assert first_of([(2, "cedar"), (1, "birch")]) == "birch"
    assert first_of([]) is None

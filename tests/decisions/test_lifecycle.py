"""The tables of states: what is reachable, what ends, and that no legal walk gets stuck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.lifecycle import BATCH, TENANT_UPGRADE
from plans.lifecycle import PLAN, Lifecycle, Transition

TABLES = [PLAN, BATCH, TENANT_UPGRADE]
ENDED = {"plan": PLAN.endings | {"archived"}, "batch": BATCH.endings}


def targets(table: Lifecycle, state: str) -> set[str]:
    """Return where one legal move leads to; a released hold leads back to where it was held."""
    found: set[str] = set()
    for name in table.possible(state):
        target = table.named(name).target
        found |= {target} if target else set(table.sources("hold"))
    return found


def reachable(table: Lifecycle, start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        for target in targets(table, todo.pop()) - seen:
            seen.add(target)
            todo.append(target)
    return seen


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
def test_every_state_can_be_reached(table):
    assert reachable(table, table.initial) == set(table.states)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
def test_only_endings_are_dead_ends(table):
    stuck = {state for state in table.states if not table.possible(state)}
    assert stuck <= ENDED.get(table.noun, table.endings)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
def test_from_everywhere_an_ending_can_be_reached(table):
    for state in table.states:
        ended = ENDED.get(table.noun, table.endings)
        assert state in ended or reachable(table, state) & ended, state


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
def test_whoever_needs_a_hand_has_ways_out(table):
    ways = {table.named(name).target for name in table.possible("needs_hand")}
    assert {"rolled_back"} < ways


@pytest.mark.parametrize(
    ("table", "state"),
    [(PLAN, s) for s in ("running", "paused", "completed", "needs_hand")]
    + [(BATCH, s) for s in ("deploying", "soaking", "held", "passed", "needs_hand")],
    ids=lambda value: getattr(value, "noun", value),
)
def test_a_rollback_is_legal_wherever_a_tenant_may_have_been_touched(table, state):
    assert table.allows(state, "begin_rollback")


@pytest.mark.parametrize("state", ["upgrading", "upgraded", "failed", "unknown", "needs_hand"])
def test_a_tenant_can_be_restored_from_every_state_that_a_call_may_have_changed(state):
    assert TENANT_UPGRADE.allows(state, "begin_restore")


@pytest.mark.parametrize("state", ["draft", "awaiting_approval", "approved", "rejected"])
def test_a_plan_that_touched_nobody_cannot_be_rolled_back(state):
    assert not PLAN.allows(state, "begin_rollback")


def test_an_archived_plan_stays_archived():
    assert PLAN.possible("archived") == ()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
@given(picks=st.lists(st.integers(min_value=0, max_value=1000), max_size=60))
def test_no_legal_walk_leaves_the_table(table, picks):
    state = table.initial
    for pick in picks:
        ways = sorted(targets(table, state))
        if not ways:
            assert state in ENDED.get(table.noun, table.endings)
            return
        state = ways[pick % len(ways)]
        assert state in table.states


def test_a_table_that_names_a_state_it_does_not_have_is_refused():
    with pytest.raises(ValueError, match="unknown states"):
        Lifecycle("toy", {"a": "A"}, "a", (Transition("go", ("a",), "b", ""),))


def test_a_transition_that_is_not_in_the_table_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError, match="fly"):
        PLAN.named("fly")

"""Plans are shared out fairly, each to one watch, and rest where they are once they are."""

from hypothesis import given
from hypothesis import strategies as st

from batches.runtime.plan_shares import fair_share

WATCHES = st.integers(1, 5)
PLANS = st.sets(st.integers(0, 40).map(lambda n: f"plan-{n}"), max_size=20)


def settle(plans, watches, held, bound=frozenset()):
    """Let each watch take and give up, one after the other, as their ticks do; return who has what.

    A lease decides: what somebody holds is not free.
    """
    for _tick in range(2 * len(watches) + 2):
        for watch in watches:
            taken = set().union(*held.values())
            share = fair_share(
                watch=watch,
                plans=plans,
                mine=held[watch],
                free=plans - taken,
                bound=bound,
                watches=len(watches),
            )
            assert not set(share.take) & taken
            held[watch] = (held[watch] - set(share.give_up)) | set(share.take)
    return held


@given(plans=PLANS, count=WATCHES)
def test_every_plan_has_one_watch_and_no_watch_more_than_its_share(plans, count):
    watches = [f"watch-{n}" for n in range(count)]
    held = settle(plans, watches, {watch: set() for watch in watches})
    assert sorted(plan for mine in held.values() for plan in mine) == sorted(plans)
    assert all(len(mine) <= -(-len(plans) // count) for mine in held.values())


@given(plans=PLANS, count=st.integers(2, 5))
def test_the_plans_of_a_watch_that_died_find_new_ones(plans, count):
    watches = [f"watch-{n}" for n in range(count)]
    held = settle(plans, watches, {watch: set() for watch in watches})
    held.pop(watches.pop())
    held = settle(plans, watches, held)
    assert sorted(plan for mine in held.values() for plan in mine) == sorted(plans)


@given(plans=PLANS, count=st.integers(1, 4))
def test_a_watch_that_comes_gets_its_share(plans, count):
    watches = [f"watch-{n}" for n in range(count)]
    held = settle(plans, watches, {watch: set() for watch in watches})
    watches.append("newcomer")
    held["newcomer"] = set()
    held = settle(plans, watches, held)
    assert sorted(plan for mine in held.values() for plan in mine) == sorted(plans)
    assert all(len(mine) <= -(-len(plans) // len(watches)) for mine in held.values())


@given(plans=PLANS, count=WATCHES)
def test_what_is_shared_out_stays_where_it_is(plans, count):
    watches = [f"watch-{n}" for n in range(count)]
    held = settle(plans, watches, {watch: set() for watch in watches})
    again = settle(plans, watches, {watch: set(mine) for watch, mine in held.items()})
    assert again == held


def test_a_rollback_stays_with_its_watch_and_an_ended_plan_is_let_go():
    share = fair_share(
        watch="w",
        plans={"a", "b", "c"},
        mine={"a", "b", "c", "ended"},
        free=set(),
        bound={"a", "b"},
        watches=3,
    )
    assert set(share.give_up) == {"ended", "c"}

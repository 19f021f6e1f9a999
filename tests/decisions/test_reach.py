"""How far a right reaches: by labels, added up over bindings, and taken away by tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.people.token_scopes import SCOPES, covers, no_wider
from plans.reach import EVERYTHING, NOTHING, Reach, selector_problems

NAMES, VALUES = st.sampled_from(["region", "tier", "ring"]), st.sampled_from(["eu", "us", "gold"])
SELECTORS = st.dictionaries(NAMES, VALUES, max_size=3)
REACHES = st.lists(SELECTORS, max_size=4).map(Reach.of)


def test_no_binding_reaches_nobody_and_an_empty_selector_everybody():
    assert Reach.of([]) == NOTHING
    assert NOTHING.nothing
    assert not NOTHING.covers({})
    assert Reach.of([{}]) == EVERYTHING
    assert EVERYTHING.everything
    assert EVERYTHING.covers({})


def test_all_labels_of_a_selector_are_wanted():
    reach = Reach.of([{"region": "eu", "tier": "gold"}])
    assert reach.covers({"region": "eu", "tier": "gold", "ring": "1"})
    assert not reach.covers({"region": "eu"})
    assert not reach.covers({"region": "us", "tier": "gold"})


@pytest.mark.parametrize(
    "broken", [None, "region=eu", {"region": ["eu"]}, {"region": 5}, {"": "eu"}, {"5": "eu"}, []]
)
def test_a_selector_that_cannot_be_read_covers_nobody(broken):
    assert Reach.of([broken]) == NOTHING
    assert EVERYTHING.narrowed(broken) == NOTHING


def test_problems_of_a_selector_say_what_to_write():
    assert selector_problems({}) == []
    assert selector_problems({"region": "eu"}) == []
    assert "region" in selector_problems({"region": 5})[0]


def test_two_values_of_one_label_leave_nobody():
    assert Reach.of([{"region": "eu"}]).narrowed({"region": "us"}) == NOTHING


def test_words():
    assert EVERYTHING.words() == "all tenants"
    assert NOTHING.words() == "no tenants"
    assert Reach.of([{"b": "2", "a": "1"}, {"c": "3"}]).words() == "a=1, b=2 or c=3"


@given(reach=REACHES, selector=SELECTORS, labels=SELECTORS)
def test_narrowing_takes_away_and_never_adds(reach, selector, labels):
    narrowed = reach.narrowed(selector)
    if narrowed.covers(labels):
        assert reach.covers(labels)
    wanted = all(labels.get(name) == value for name, value in selector.items())
    assert narrowed.covers(labels) == (reach.covers(labels) and wanted)


@given(selectors=st.lists(SELECTORS, max_size=4), more=SELECTORS, labels=SELECTORS)
def test_another_binding_adds_and_never_takes_away(selectors, more, labels):
    before, after = Reach.of(selectors), Reach.of([*selectors, more])
    assert after.covers(labels) == (before.covers(labels) or Reach.of([more]).covers(labels))


@given(selector=SELECTORS, extra=SELECTORS, labels=SELECTORS)
def test_a_selector_with_more_labels_covers_no_more(selector, extra, labels):
    if Reach.of([{**extra, **selector}]).covers(labels):
        assert Reach.of([selector]).covers(labels)


@given(reach=REACHES, labels=SELECTORS, more=SELECTORS)
def test_what_covers_some_labels_covers_every_tenant_that_carries_them(reach, labels, more):
    if reach.covers(labels):
        assert reach.covers({**more, **labels})


SCOPE_LISTS = st.lists(st.sampled_from(sorted(SCOPES)), max_size=3)


@given(mine=SCOPE_LISTS, other=SCOPE_LISTS)
def test_no_wider_means_that_every_action_of_the_one_is_one_of_the_other(mine, other):
    actions = {action for scope in SCOPES.values() for action in scope} | {"hold_tokens"}
    if no_wider(mine, other):
        assert all(covers(other, action) for action in actions if covers(mine, action))


def test_a_token_without_scopes_is_as_wide_as_its_person():
    assert no_wider([], [])
    assert not no_wider([], ["read"])

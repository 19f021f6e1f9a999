"""Which version is older: told where it can be told, and by nobody's guess where not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.drafting.version_order import is_older

numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=5).map(
    lambda parts: ".".join(map(str, parts))
)
pre = st.lists(
    st.one_of(st.integers(0, 999).map(str), st.from_regex(r"[a-z]{1,5}", fullmatch=True)),
    min_size=1,
    max_size=3,
).map(".".join)
versions = st.one_of(numbers, st.builds(lambda number, tail: f"{number}-{tail}", numbers, pre))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.4.2", "1.5.0"),
        ("1.9.0", "1.10.0"),
        ("1.5", "1.5.1"),
        ("v1.4.2", "1.5.0"),
        ("2.0.0-rc.1", "2.0.0"),
        ("2.0.0-rc.2", "2.0.0-rc.10"),
        ("2.0.0-1", "2.0.0-alpha"),
        ("2.0.0-alpha", "2.0.0-alpha.1"),
        ("2024.11", "2025.1"),
    ],
)
def test_the_order_of_semantic_versions(older, newer):
    assert is_older(older, newer) is True
    assert is_older(newer, older) is False


@pytest.mark.parametrize("other", ["1.5", "1.5.0", "v1.5", "1.5.0+build.7"])
def test_other_spellings_of_a_version_are_not_older(other):
    assert is_older("1.5.0", other) is False
    assert is_older(other, "1.5.0") is False


@pytest.mark.parametrize("odd", ["", "latest", "1.x", "1..2", "release_7", "\u0663.\u0661", "1.5 "])
def test_of_anything_else_nobody_can_tell(odd):
    assert is_older(odd, "1.5.0") is None
    assert is_older("1.5.0", odd) is None


@given(versions, versions)
def test_at_most_one_of_two_is_the_older_one(one, other):
    assert not (is_older(one, other) and is_older(other, one))


@given(versions, versions, versions)
def test_older_than_the_older_is_older(one, other, third):
    if is_older(one, other) and is_older(other, third):
        assert is_older(one, third)


@given(st.text(max_size=64))
def test_any_text_is_compared_or_not_and_nothing_breaks(text):
    assert is_older(text, "1.0") in {True, False, None}

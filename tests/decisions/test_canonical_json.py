"""The fast way to canonical bytes gives the very bytes of RFC 8785."""

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from batches.canonical_json import DIFFERENT, canonical_json
from batches.looks.kpi_points import compact

numbers = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.one_of(st.lists(values), st.dictionaries(st.text(max_size=6), values)))
def test_any_value_has_the_bytes_of_the_standard(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@given(st.lists(st.one_of(st.integers(-(10**15), 10**15), st.floats(0.0002, 1e15))))
def test_counts_and_shares_have_them_too(value):
    assert canonical_json(value) == rfc8785.dumps(value)


def test_the_looks_of_a_fleet_take_the_fast_way():
    import json

    looks = [
        {
            "kpi": "error_rate",
            "canary": {f"t{n}": ["r", n, compact(100 + n / 7)] for n in range(50)},
        }
    ]
    assert DIFFERENT.search(json.dumps(looks, separators=(",", ":"))) is None

"""Roll-ups add up exactly, in any order, and come back from their bytes as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.history.rollups import BadRollup, Layout, merged, packed, points_of, rolled, unpacked
from batches.looks.kpi_points import GaugePoint, HistogramPoint, RatioPoint

COUNTS = st.integers(0, 10**6).map(float)
NAMES = st.text("abcdefgh-0123456789", min_size=1, max_size=12)
RATIOS = st.builds(RatioPoint, COUNTS, COUNTS)
GAUGES = st.integers(-(10**6), 10**6).map(lambda n: GaugePoint(n / 4))
HISTOGRAMS = st.builds(
    lambda bounds, total: HistogramPoint(dict.fromkeys(bounds, total / 2), total),
    st.lists(st.sampled_from([50.0, 100.0, 200.0, 400.0]), min_size=1, max_size=3, unique=True),
    st.integers(0, 1000).map(lambda n: 2.0 * n),
)
POINTS = st.one_of(RATIOS, GAUGES, HISTOGRAMS)
ROLLUPS = st.dictionaries(NAMES, POINTS, max_size=8).map(rolled)


@given(ROLLUPS)
def test_bytes_bring_back_what_was_packed(rollup):
    assert unpacked(packed(rollup)) == rollup


@given(ROLLUPS, ROLLUPS, ROLLUPS)
def test_an_hour_is_the_sum_of_its_parts_in_any_order(one, two, three):
    whole = merged([one, two, three])
    assert merged([three, one, two]) == whole
    assert merged([merged([one, two]), three]) == whole


def test_counts_add_up_and_a_gauge_keeps_its_mean_and_its_ends():
    first = rolled({"acorn": RatioPoint(1, 10), "birch": GaugePoint(2.0)})
    later = rolled({"acorn": RatioPoint(2, 30), "birch": GaugePoint(5.0)})
    both = merged([first, later])
    assert both[Layout("ratio")]["acorn"] == (3, 40)
    assert both[Layout("gauge")]["birch"] == (2, 7.0, 2.0, 5.0)
    assert points_of(both) == {"acorn": RatioPoint(3, 40), "birch": GaugePoint(3.5)}


def test_buckets_that_changed_within_the_span_do_not_mix():
    before = rolled({"acorn": HistogramPoint({100.0: 5}, 9)})
    after = rolled({"acorn": HistogramPoint({200.0: 50}, 90)})
    both = merged([before, after])
    assert len(both) == 2
    assert points_of(both) == {"acorn": HistogramPoint({200.0: 50}, 90)}


def test_only_the_tenants_that_are_asked_for_come_back():
    rollup = rolled({"acorn": RatioPoint(1, 10), "birch": RatioPoint(2, 10)})
    assert points_of(rollup, ["birch", "cedar"]) == {"birch": RatioPoint(2, 10)}


def test_ten_thousand_tenants_are_one_small_row():
    busy = {f"tenant-{n:05}": RatioPoint(n % 3, 600 + n % 97) for n in range(10_000)}
    assert len(packed(rolled(busy))) < 80_000


@pytest.mark.parametrize("blob", [b"", b"no bytes of ours", packed({})[:-3]])
def test_anything_else_is_no_rollup(blob):
    with pytest.raises(BadRollup):
        unpacked(blob)


def test_a_rollup_that_was_cut_short_is_none():
    import zlib

    whole = zlib.decompress(packed(rolled({"acorn": RatioPoint(1, 10)})))
    with pytest.raises(BadRollup):
        unpacked(zlib.compress(whole[:-8]))

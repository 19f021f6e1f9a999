"""Units: as UCUM spells them, converted within a family, and suggested where they are misspelt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.kpis.units import (
    KNOWN_UNITS,
    UnitMismatch,
    canonical,
    compatible_with,
    convert,
    unit_hint,
    unit_of_name,
)

units = st.sampled_from(KNOWN_UNITS)


@pytest.mark.parametrize(
    ("value", "unit", "target", "result"),
    [
        (0.02, "1", "%", 2),
        (0.57, "s", "ms", 570),
        (1.5, "d", "h", 36),
        (3, "KiBy", "bytes", 3072),
        (2, "MBy", "kB", 2000),
        (120, "1/min", "/s", 2),
        (7, "{request}", "count", 7),
        (60, "{request}/min", "Hz", 1),
    ],
)
def test_what_measures_the_same_is_converted(value, unit, target, result):
    assert convert(value, unit, target) == result


@given(units, units, st.floats(1e-6, 1e9))
def test_there_and_back_is_the_same(unit, target, value):
    if target not in compatible_with(unit):
        with pytest.raises(UnitMismatch):
            convert(value, unit, target)
        return
    assert convert(convert(value, unit, target), target, unit) == pytest.approx(value, rel=1e-9)


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading_of_units(text):
    unit = canonical(text)
    assert unit is None or unit in KNOWN_UNITS
    assert isinstance(unit_hint(text, KNOWN_UNITS), str)
    assert unit_of_name(text) is None or unit_of_name(text) in KNOWN_UNITS


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("percent", "%"),
        ("Seconds", "s"),
        ("msec", "ms"),
        ("KB", "kB"),
        ("rps", "1/s"),
        ("µs", "us"),
    ],
)
def test_a_misspelt_unit_is_answered_with_the_one_that_was_meant(written, meant):
    assert unit_hint(written, KNOWN_UNITS) == f" - did you mean '{meant}'?"
    assert unit_hint("fathoms", ("ms", "s")) == ""


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("tenant_latency_seconds_bucket", "s"),
        ("heap.used.bytes", "bytes"),
        ("sandbox_pass_ratio", "1"),
        ("debug.hot_reload.duration_ms", "ms"),
        ("jobs_total", None),
        ("seconds", None),
        ("queue_length", None),
    ],
)
def test_the_name_of_a_metric_tells_its_unit(name, unit):
    assert unit_of_name(name) == unit

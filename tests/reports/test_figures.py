"""The figures of the report: small, true to the data, readable on paper."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from reports.document.figures import (
    LimitLine,
    Line,
    Marker,
    Span,
    TimelineRow,
    batch_timeline,
    kpi_chart,
)

TEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def at(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


def chart(values: list[float | None], **extra) -> str:
    points = tuple((at(index), value) for index, value in enumerate(values))
    return kpi_chart(name="error_rate", unit="%", lines=[Line("upgraded", points)], **extra)


def course(svg: str) -> str:
    return re.findall(r'<path d="([^"]+)" fill="none"', svg)[0]


def highest_point(svg: str) -> float:
    return min(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", course(svg)))


def words(svg: str) -> str:
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own picture
    return " ".join(text.text or "" for text in root.iter(f"{SVG}text"))


def test_a_long_course_weighs_less_than_five_kilobytes_and_is_well_formed():
    values: list[float | None] = [1 + (n * 37 % 11) / 5 for n in range(5000)]
    svg = chart(
        values,
        limits=[LimitLine(5, "at most 5 %")],
        bands=[Span("canary", at(0), at(900)), Span("wave-1", at(900), at(5000))],
        markers=[Marker(at(4000), "rollback")],
    )
    assert len(svg.encode()) < 5000
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"  # noqa: S314 - our own picture


def test_a_single_peak_among_thousands_of_looks_is_still_drawn():
    values: list[float | None] = [1.0] * 5000
    values[2777] = 40.0
    assert highest_point(chart(values)) < highest_point(chart([40.0, 1.0])) + 1


def test_a_look_without_data_breaks_the_line_and_is_marked_on_the_axis():
    whole, broken = chart([1, 2, 3, 2, 1]), chart([1, 2, None, 2, 1])
    assert course(whole).count("M") == 1
    assert course(broken).count("M") == 2
    assert '#d08700"' in broken
    assert '#d08700"' not in whole


def test_a_limit_above_all_values_is_inside_the_picture():
    svg = chart([0.2, 0.3], limits=[LimitLine(5, "at most 5 %")])
    heights = [float(y) for y in re.findall(r'M46 ([\d.]+)H493" stroke="#b3261e"', svg)]
    assert len(heights) == 1
    assert 24 <= heights[0] <= 142
    assert "at most 5 %" in words(svg)


def test_bands_and_the_rollback_are_named():
    svg = chart(
        [1, 2, 3, 9],
        bands=[Span("canary", at(0), at(3))],
        markers=[Marker(at(3), "rollback")],
    )
    assert "canary" in words(svg)
    assert "rollback" in words(svg)


def test_names_from_outside_cannot_leave_their_element():
    svg = kpi_chart(name="<script>&", unit='"', lines=[Line("a", ((TEN, 1.0), (at(1), 2.0)))])
    assert "<script>" not in svg
    assert ElementTree.fromstring(svg).get("aria-label") == 'Course of <script>& in "'  # noqa: S314


def test_the_axis_says_that_its_times_are_utc():
    assert "UTC" in words(chart([1, 2, 3]))


def test_nothing_to_draw_gives_no_picture():
    assert kpi_chart(name="x", unit="", lines=[Line("a", ())]) == ""
    assert batch_timeline([TimelineRow("1 canary", ())]) == ""


def test_flat_and_empty_courses_are_drawn_without_a_division_by_zero():
    courses: list[list[float | None]] = [[0.0, 0.0], [100.0, 100.0], [None, None], [-1.0, -1.0]]
    for values in courses:
        assert chart(values).startswith("<svg")


def test_the_timeline_shows_each_phase_and_names_it():
    rows = [
        TimelineRow("1 canary", (Span("calling", at(0), at(1)), Span("soaking", at(1), at(31)))),
        TimelineRow("2 wave-1", (Span("calling", at(31), at(31.01)),)),
    ]
    svg = batch_timeline(rows, [Marker(at(31), "rollback")])
    assert len(svg.encode()) < 5000
    assert {"calling", "soaking", "1 canary"} <= set(re.findall(r">([^<>]+)</text>", svg))
    # A call of half a second still has a width that can be seen.
    assert "h1.2v" in svg

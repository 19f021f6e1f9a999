"""The small chart of a guardrail."""

from hypothesis import given
from hypothesis import strategies as st

from batches.live.sparkline import HEIGHT, WIDTH, sparkline


def test_values_and_limit_are_lines_and_the_chart_has_words():
    chart = sparkline("error_rate", "%", [[0, 1.0, 5.0], [60, 3.0, 5.0], [180, 9.5, 5.0]])
    assert chart is not None
    assert chart.label == "error_rate over 3 min: 1 % to 9.5 %, now 9.5 %, limit at most 5 %"
    [line] = chart.lines
    heights = [float(point.split(",")[1]) for point in line.split()]
    [limit] = {point.split(",")[1] for point in chart.limit.split()}
    assert heights == sorted(heights, reverse=True)
    assert heights[1] > float(limit) > heights[2]


def test_a_look_without_a_value_is_a_gap():
    chart = sparkline("e", "%", [[0, 1.0, 5.0], [5, None, 5.0], [10, 1.0, 5.0]])
    assert chart is not None
    assert len(chart.lines) == 2
    blind = sparkline("e", "%", [[0, 1.0, 5.0], [5, None, 5.0]])
    assert blind is not None
    assert blind.end is None
    assert "now no value" in blind.label


def test_nothing_measured_is_no_chart():
    assert sparkline("e", "%", []) is None
    assert sparkline("e", "%", [[0, None, 5.0]]) is None


values = st.none() | st.floats(-1e6, 1e6)
looks = st.lists(st.tuples(st.floats(0, 1e9), values, st.floats(-1e6, 1e6)), max_size=20)


@given(looks)
def test_every_point_lies_within_the_chart(rows):
    rows = sorted(map(list, rows), key=lambda row: row[0])
    chart = sparkline("e", "%", rows)
    for line in (*chart.lines, chart.limit) if chart is not None else ():
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT

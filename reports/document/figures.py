"""Figures for paper: a Kpi's course and the course of the batches, as small SVG pictures.

Own SVG, because it needs no browser, stays sharp in print and weighs a few kilobytes. All
lengths are points: a picture is as wide as the text of an A4 page, so 7.5 is 7.5 pt on paper.
Colours differ in brightness too; a copy in grey can still be read.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

WIDTH = 505.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 24.0, 22.0
PLOT_HEIGHT = 118.0
ROW_HEIGHT = 17.0
MOST_POINTS = 110
MOST_ROWS = 24
CHARACTER = 3.9
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
DAY = 86400
INK, FAINT, LIMIT, CONTROL, GAP = "#16314f", "#c9d1da", "#b3261e", "#7a8794", "#d08700"
_Scale = Callable[[float], float]
_Point = tuple[datetime, float | None]
PHASE_COLOURS = {
    "calling": "#2f6fab",
    "soaking": "#a9cbe8",
    "held": "#e3a72f",
    "rolling back": "#b3261e",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A course over time; None is a look that brought no data, and breaks the line."""

    label: str
    points: tuple[tuple[datetime, float | None], ...]


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A level that a guardrail does not let the Kpi cross; None = from the start, to the end."""

    value: float
    label: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time with a name: a batch behind a chart, or a phase in a timeline."""

    label: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment with a name, drawn over the whole height."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One batch: its spans are labelled calling, soaking, held or rolling back."""

    label: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Clock:
    start: datetime
    seconds: float
    left: float

    def x(self, at: datetime) -> float:
        share = (at - self.start).total_seconds() / self.seconds
        return self.left + min(1.0, max(0.0, share)) * (WIDTH - RIGHT - self.left)


def kpi_chart(
    *,
    name: str,
    unit: str,
    lines: Sequence[Line],
    limits: Sequence[LimitLine] = (),
    bands: Sequence[Span] = (),
    markers: Sequence[Marker] = (),
) -> str:
    """Return the chart of one Kpi, or an empty string when there is no look to draw."""
    times = [at for line in lines for at, _value in line.points]
    if not times:
        return ""
    clock = _clock([*times, *(m.at for m in markers)], left=LEFT)
    known = [v for line in lines for _at, v in line.points if v is not None]
    ticks = _value_ticks(known, [limit.value for limit in limits])
    low, high = ticks[0], ticks[-1]
    bottom = TOP + PLOT_HEIGHT

    def y(value: float) -> float:
        return bottom - (min(high, max(low, value)) - low) / (high - low) * PLOT_HEIGHT

    parts = [
        _bands(bands, clock, bottom),
        _grid(ticks, y),
        _time_axis(clock, bottom),
        *(_course(line, clock, y, first=index == 0) for index, line in enumerate(lines)),
        _gaps(lines[0], clock, bottom),
        *(_limit(limit, clock, y(limit.value)) for limit in limits),
        _markers(markers, clock, bottom),
        _text(LEFT, 8, f"{name} ({unit})" if unit else name, bold=True),
        _legend(lines),
    ]
    label = f"Course of {name}" + (f" in {unit}" if unit else "")
    return _svg("".join(parts), height=bottom + BOTTOM, label=label)


def batch_timeline(rows: Sequence[TimelineRow], markers: Sequence[Marker] = ()) -> str:
    """Return when each batch called, soaked, was held and was taken back; '' without spans."""
    rows = [row for row in rows if row.spans][:MOST_ROWS]
    if not rows:
        return ""
    times = [at for row in rows for span in row.spans for at in (span.start, span.end)]
    left = min(150.0, 14.0 + max(len(row.label) for row in rows) * CHARACTER)
    clock = _clock([*times, *(m.at for m in markers)], left=left)
    bottom = TOP + len(rows) * ROW_HEIGHT
    shapes: dict[str, str] = {}
    labels = []
    for index, row in enumerate(rows):
        top = TOP + index * ROW_HEIGHT + 3
        labels.append(_text(left - 6, top + 8.5, _clip(row.label, left - 8), anchor="end"))
        for span in row.spans:
            start, end = clock.x(span.start), clock.x(span.end)
            # A call of half a second on an axis of hours must still be seen.
            width = max(1.2, end - start)
            box = f"M{start:.1f} {top:.1f}h{width:.1f}v{ROW_HEIGHT - 6:.0f}h-{width:.1f}z"
            shapes[span.label] = shapes.get(span.label, "") + box
    parts = [
        _time_axis(clock, bottom),
        *labels,
        *(
            f'<path d="{shapes[phase]}" fill="{colour}"/>'
            for phase, colour in PHASE_COLOURS.items()
            if phase in shapes
        ),
        _markers(markers, clock, bottom),
        _phase_legend(shapes, left),
    ]
    return _svg("".join(parts), height=bottom + BOTTOM, label="Course of the batches")


def _svg(body: str, *, height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{WIDTH:.0f}pt" height="{height:.0f}pt" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        'font-family="DejaVu Sans Condensed, DejaVu Sans, sans-serif" font-size="7.5" '
        f'fill="#333">{body}</svg>'
    )


def _text(
    x: float, y: float, words: str, *, anchor: str = "", bold: bool = False, fill: str = ""
) -> str:
    extra = f' text-anchor="{anchor}"' if anchor else ""
    extra += ' font-weight="bold"' if bold else ""
    extra += f' fill="{fill}"' if fill else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words, quote=False)}</text>'


def _clip(words: str, width: float) -> str:
    room = max(1, int(width / CHARACTER))
    return words if len(words) <= room else words[: room - 1] + "…"


def _clock(times: Sequence[datetime], *, left: float) -> _Clock:
    first, last = min(times), max(times)
    seconds = max((last - first).total_seconds(), 1.0)
    return _Clock(first, seconds, left)


def _value_ticks(known: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Return round values that span all measured values and every limit."""
    values = [*known, *limits]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    # From zero, unless all lies far from it: 97 against 99 of 100 must be told apart.
    if low > 0 and low < 0.6 * high:
        low = 0.0
    if high == low:
        high, low = (high + 1.0, min(low, 0.0)) if high < 1 else (high * 1.1, high * 0.9)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= rough * 0.999)
    first = math.floor(low / step)
    last = math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _grid(ticks: Sequence[float], y: _Scale) -> str:
    path = "".join(f"M{LEFT:.0f} {y(tick):.1f}H{WIDTH - RIGHT:.0f}" for tick in ticks)
    words = "".join(_text(LEFT - 5, y(tick) + 2.6, f"{tick:.6g}", anchor="end") for tick in ticks)
    return f'<path d="{path}" stroke="{FAINT}" stroke-width=".5"/>{words}'


def _time_axis(clock: _Clock, bottom: float) -> str:
    step = next(
        (s for s in TICK_STEPS if clock.seconds / s <= 7),
        DAY * max(1, math.ceil(clock.seconds / DAY / 7)),
    )
    form = "%H:%M:%S" if step < 60 else "%H:%M" if clock.seconds < DAY else "%d %b %H:%M"
    midnight = clock.start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    offset = math.ceil((clock.start - midnight).total_seconds() / step) * step
    at, path, words = midnight + timedelta(seconds=offset), "", []
    while at <= clock.start + timedelta(seconds=clock.seconds):
        x = clock.x(at)
        path += f"M{x:.1f} {bottom:.0f}v3"
        # Kept off both edges, where half a label would be cut or meet the unit.
        if clock.left + 8 <= x <= WIDTH - RIGHT - 34:
            words.append(_text(x, bottom + 11, at.strftime(form), anchor="middle"))
        at += timedelta(seconds=step)
    words.append(_text(WIDTH - RIGHT, bottom + 11, "UTC", anchor="end", fill=CONTROL))
    frame = f"M{clock.left:.0f} {bottom:.0f}H{WIDTH - RIGHT:.0f}"
    return f'<path d="{frame}{path}" stroke="{CONTROL}" stroke-width=".7"/>' + "".join(words)


def _bands(bands: Sequence[Span], clock: _Clock, bottom: float) -> str:
    path, words = "", []
    for index, band in enumerate(bands):
        start, end = clock.x(band.start), clock.x(band.end)
        if end - start < 0.5:
            continue
        if index % 2 == 0:
            path += f"M{start:.1f} {TOP:.0f}H{end:.1f}V{bottom:.0f}H{start:.1f}z"
        if end - start > 20:
            words.append(_text(start + 3, TOP + 8, _clip(band.label, end - start), fill=CONTROL))
    return (f'<path d="{path}" fill="#eaf1f8"/>' if path else "") + "".join(words)


def _thinned(points: Sequence[_Point]) -> list[_Point]:
    """Keep the extremes of each stretch, so that a short peak survives on paper."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(len(points) / (MOST_POINTS // 2))
    kept: list[_Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        known = [(value, at) for at, value in stretch if value is not None]
        if not known:
            kept.append((stretch[0][0], None))
            continue
        ends = sorted({min(known), max(known)}, key=lambda pair: pair[1])
        kept.extend((at, value) for value, at in ends)
    return kept


def _course(line: Line, clock: _Clock, y: _Scale, *, first: bool) -> str:
    path, pen = "", "M"
    for at, value in _thinned(line.points):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{clock.x(at):.1f} {y(value):.1f}"
        # A zero-length stroke with round caps shows a point that stands alone.
        path += "h0" if pen == "M" else ""
        pen = "L"
    look = f'stroke="{INK}" stroke-width="1.3"'
    if not first:
        look = f'stroke="{CONTROL}" stroke-width="1" stroke-dasharray="3 2"'
    return f'<path d="{path}" fill="none" stroke-linecap="round" {look}/>' if path else ""


def _gaps(line: Line, clock: _Clock, bottom: float) -> str:
    blind = [at for at, value in _thinned(line.points) if value is None]
    path = "".join(f"M{clock.x(at):.1f} {bottom - 4:.0f}v4" for at in blind)
    return f'<path d="{path}" stroke="{GAP}" stroke-width="1.6"/>' if path else ""


def _limit(limit: LimitLine, clock: _Clock, y: float) -> str:
    left = LEFT if limit.since is None else clock.x(limit.since)
    right = WIDTH - RIGHT if limit.until is None else clock.x(limit.until)
    path = f"M{round(left, 1):g} {y:.1f}H{round(right, 1):g}"
    line = f'<path d="{path}" stroke="{LIMIT}" stroke-width="1"'
    # On the left, because a breach rises through the line at the end of a plan; at the right edge
    # there is no room to the right of where it begins.
    late = left > WIDTH * 0.7
    words = _text(
        left - 3 if late else left + 3,
        y - 2.5,
        limit.label,
        anchor="end" if late else "",
        fill=LIMIT,
    )
    return f'{line} stroke-dasharray="6 3"/>{words}'


def _markers(markers: Sequence[Marker], clock: _Clock, bottom: float) -> str:
    parts = []
    for marker in markers:
        x = clock.x(marker.at)
        # The label stands on the side where there is room for it.
        anchor, nudge = ("end", -5) if x > WIDTH / 2 else ("", 5)
        parts.append(
            f'<path d="M{x:.1f} {TOP - 3:.0f}V{bottom:.0f}" stroke="{LIMIT}" stroke-width="1.2"/>'
            f'<path d="M{x - 3:.1f} {TOP - 7:.0f}h6l-3 5z" fill="{LIMIT}"/>'
            + _text(x + nudge, TOP - 2.5, marker.label, anchor=anchor, bold=True, fill=LIMIT)
        )
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    parts, x = [], WIDTH - RIGHT
    for index, line in reversed(list(enumerate(lines))):
        x -= len(line.label) * CHARACTER + 2
        parts.append(_text(x, 8, line.label))
        look = f'stroke="{CONTROL}" stroke-dasharray="3 2"' if index else f'stroke="{INK}"'
        parts.append(f'<path d="M{x - 18:.1f} 5.4h14" stroke-width="1.4" {look}/>')
        x -= 30
    return "".join(parts)


def _phase_legend(shapes: dict[str, str], left: float) -> str:
    parts, x = [], left
    for phase, colour in PHASE_COLOURS.items():
        if phase not in shapes:
            continue
        parts.append(f'<path d="M{x:.1f} 2h9v7h-9z" fill="{colour}"/>')
        parts.append(_text(x + 12, 8.4, phase))
        x += 26 + len(phase) * CHARACTER
    return "".join(parts)

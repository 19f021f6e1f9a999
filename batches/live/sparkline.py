"""A small chart of a guardrail's newest values beside its limit, as coordinates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batches.guardrails.measured_words import shown

WIDTH, HEIGHT, EDGE = 240.0, 44.0, 3.0
Recent = Sequence[Sequence[float | None]]
"""Unix seconds, the measured value (None = none could be measured), and the limit of that look."""


@dataclass(frozen=True, slots=True)
class Sparkline:
    """`lines` and `limit` are points of SVG polylines; a look without a value is a gap."""

    lines: tuple[str, ...]
    limit: str
    end: tuple[float, float] | None
    label: str
    width: float = WIDTH
    height: float = HEIGHT

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def sparkline(kpi: str, unit: str, recent: Recent, *, at_most: bool = True) -> Sparkline | None:
    """Return the chart; None where nothing was measured yet."""
    looks = [(at, value, limit) for at, value, limit in recent if at is not None]
    known = [value for _at, value, _limit in looks if value is not None]
    limits = [limit for _at, _value, limit in looks if limit is not None]
    if not known or not limits:
        return None
    first, last = looks[0][0], looks[-1][0]
    low, high = _span([*known, *limits])

    def x(at: float) -> float:
        share = (at - first) / (last - first) if last > first else 1.0
        return round(EDGE + share * (WIDTH - 2 * EDGE), 1)

    def y(value: float) -> float:
        return round(HEIGHT - EDGE - (value - low) / (high - low) * (HEIGHT - 2 * EDGE), 1)

    lines: list[list[str]] = [[]]
    end: tuple[float, float] | None = None
    for at, value, _limit in looks:
        if value is None:
            lines.append([])
            end = None
            continue
        lines[-1].append(f"{x(at):g},{y(value):g}")
        end = x(at), y(value)
    steps = [f"{x(at):g},{y(limit):g}" for at, _value, limit in looks if limit is not None]
    if len(steps) == 1:
        steps = [f"{EDGE:g},{y(limits[0]):g}", f"{WIDTH - EDGE:g},{y(limits[0]):g}"]
    now = looks[-1][1]
    span = f"{last - first:.0f} s" if last - first < 120 else f"{(last - first) / 60:.0f} min"
    said = (
        f"{kpi} over {span}: {shown(min(known), unit)} to {shown(max(known), unit)},"
        f" now {shown(now, unit) if now is not None else 'no value'},"
        f" limit {'at most' if at_most else 'at least'} {shown(limits[-1], unit)}"
    )
    return Sparkline(tuple(" ".join(line) for line in lines if line), " ".join(steps), end, said)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # From zero, unless all lies far from it: 97 against 99 of 100 must be told apart.
    if 0 < low < 0.6 * high:
        low = 0.0
    if high == low:
        low, high = low - 1.0, high + 1.0
    room = (high - low) * 0.08
    return low - (room if low else 0.0), high + room

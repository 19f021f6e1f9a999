"""What happened to many tenants in a span of time: made of looks, added up, kept as bytes.

A ratio is kept as (bad, total), a histogram as (total, count at or below each bound), a gauge as
(n, sum, lowest, highest). They add up exactly, in any order, so that an hour is the sum of its
minutes. Ten thousand tenants are one row of some fifty kilobytes, not ten thousand rows.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from batches.looks.kpi_points import GaugePoint, HistogramPoint, Point, RatioPoint

Kind = Literal["ratio", "histogram", "gauge"]
Cells = tuple[float, ...]
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """What the cells of a tenant are; tenants of a span may differ in it (other bounds)."""

    kind: Kind
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Return how many cells a tenant has."""
        return {"ratio": 2, "gauge": 4, "histogram": 1 + len(self.bounds)}[self.kind]


Rollup = Mapping[Layout, Mapping[str, Cells]]


class BadRollup(ValueError):
    """The bytes are none that `packed` wrote."""


def rolled(points: Mapping[str, Point]) -> Rollup:
    """Return the points of one look as a roll-up."""
    groups: dict[Layout, dict[str, Cells]] = {}
    for tenant, point in points.items():
        layout, cells = _cells(point)
        groups.setdefault(layout, {})[tenant] = cells
    return groups


def _cells(point: Point) -> tuple[Layout, Cells]:
    match point:
        case RatioPoint():
            return Layout("ratio"), (point.bad, point.total)
        case GaugePoint():
            return Layout("gauge"), (1.0, point.value, point.value, point.value)
        case HistogramPoint():
            bounds = tuple(sorted(point.buckets))
            counts = (point.buckets[bound] for bound in bounds)
            return Layout("histogram", bounds), (point.total, *counts)


def merged(parts: Iterable[Rollup]) -> Rollup:
    """Return the sum of several spans."""
    groups: dict[Layout, dict[str, Cells]] = {}
    for part in parts:
        for layout, tenants in part.items():
            known = groups.setdefault(layout, {})
            add = _add_gauges if layout.kind == "gauge" else _add_counts
            for tenant, cells in tenants.items():
                before = known.get(tenant)
                known[tenant] = cells if before is None else add(before, cells)
    return groups


def _add_counts(one: Cells, other: Cells) -> Cells:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _add_gauges(one: Cells, other: Cells) -> Cells:
    return (
        one[0] + other[0],
        one[1] + other[1],
        min(one[2], other[2]),
        max(one[3], other[3]),
    )


def points_of(rollup: Rollup, tenants: Iterable[str] | None = None) -> dict[str, Point]:
    """Return each tenant's span as one point, of these tenants or of all; a gauge as its mean.

    A tenant whose buckets changed within the span has the point of the layout with more events.
    """
    wanted = None if tenants is None else frozenset(tenants)
    found: dict[str, Point] = {}
    weights: dict[str, float] = {}
    for layout, cells_of in rollup.items():
        for tenant, cells in cells_of.items():
            if wanted is not None and tenant not in wanted:
                continue
            weight = cells[1] if layout.kind == "ratio" else cells[0]
            if tenant not in found or weight > weights[tenant]:
                found[tenant], weights[tenant] = _point(layout, cells), weight
    return found


def _point(layout: Layout, cells: Cells) -> Point:
    if layout.kind == "ratio":
        return RatioPoint(cells[0], cells[1])
    if layout.kind == "gauge":
        return GaugePoint(cells[1] / cells[0])
    return HistogramPoint(dict(zip(layout.bounds, cells[1:], strict=True)), cells[0])


def packed(rollup: Rollup) -> bytes:
    """Return the roll-up as bytes: names as JSON, numbers column by column, compressed."""
    groups = [(layout, tenants) for layout, tenants in rollup.items() if tenants]
    header = json.dumps(
        [
            {"kind": layout.kind, "bounds": layout.bounds, "tenants": list(tenants)}
            for layout, tenants in groups
        ],
        separators=(",", ":"),
    ).encode()
    body = [len(header).to_bytes(_LENGTH_BYTES, "big"), header]
    for _layout, tenants in groups:
        for column in zip(*tenants.values(), strict=True):
            body.append(_little_endian(array("d", column)).tobytes())
    return zlib.compress(b"".join(body), 6)


def unpacked(blob: bytes) -> Rollup:
    """Return the roll-up that `packed` wrote. Raises BadRollup."""
    try:
        body = zlib.decompress(blob)
        at = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "big")
        header = json.loads(body[_LENGTH_BYTES:at])
        groups: dict[Layout, dict[str, Cells]] = {}
        for group in header:
            layout = Layout(group["kind"], tuple(group["bounds"]))
            tenants = group["tenants"]
            columns = []
            for _column in range(layout.width):
                column = array("d")
                size = column.itemsize * len(tenants)
                column.frombytes(body[at : at + size])
                columns.append(_little_endian(column))
                at += size
            groups[layout] = dict(zip(tenants, zip(*columns, strict=True), strict=True))
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise BadRollup(f"this is no roll-up: {error}") from error
    return groups


def _little_endian(column: array[float]) -> array[float]:
    """Swap the bytes on the machines that count from the other end."""
    if sys.byteorder == "big":  # pragma: no cover - no such machine is at hand
        column.byteswap()
    return column

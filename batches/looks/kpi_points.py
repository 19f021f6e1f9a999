"""What one look at one Kpi gave per tenant, and its compact JSON form: one row per look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

WAITING: Final = frozenset({"first_reading", "gap", "reset"})
"""Causes for which the next look is expected to give a point; every other one is lost data."""


@dataclass(frozen=True, slots=True)
class RatioPoint:
    """Events since the look before, and how many of them were bad."""

    bad: float
    total: float


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """Events since the look before: how many were at or below each bound, in the Kpi's unit."""

    buckets: Mapping[float, float]
    total: float


@dataclass(frozen=True, slots=True)
class GaugePoint:
    """A value in the Kpi's unit."""

    value: float


Point = RatioPoint | HistogramPoint | GaugePoint


@dataclass(frozen=True, slots=True)
class LookSample:
    """One look. `causes` counts the upgraded tenants without a point, by why; `absent` names them.

    Not ok: the source gave nothing; then `causes` has its one cause and `sentence` its words.
    """

    kpi: str
    at: datetime
    canary: Mapping[str, Point] = field(default_factory=dict)
    control: Mapping[str, Point] = field(default_factory=dict)
    causes: Mapping[str, int] = field(default_factory=dict)
    ok: bool = True
    source: str = ""
    sentence: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    control_causes: Mapping[str, int] = field(default_factory=dict)
    """Tenants on the old version without a point, by why."""

    @property
    def cause(self) -> str:
        """Return the most frequent cause of lost data, empty where there is none."""
        lost = {cause: n for cause, n in self.causes.items() if cause not in WAITING}
        return min(lost, key=lambda cause: (-lost[cause], cause), default="")

    @property
    def lost(self) -> int:
        """Return how many upgraded tenants gave no usable reading."""
        return sum(n for cause, n in self.causes.items() if cause not in WAITING)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; bounds that many tenants share are written once."""
        layouts: dict[tuple[float, ...], int] = {}
        body: dict[str, Any] = {
            "kpi": self.kpi,
            "at": self.at.isoformat(),
            "source": self.source,
            "ok": self.ok,
            "sentence": self.sentence,
            "causes": dict(self.causes),
            "canary": {t: _written(point, layouts) for t, point in self.canary.items()},
            "control": {t: _written(point, layouts) for t, point in self.control.items()},
        }
        body["bounds"] = [list(layout) for layout in layouts]
        if self.absent:
            # Looks that name nobody keep the digest that they had before this key was there.
            by_cause: dict[str, list[str]] = {}
            for tenant, cause in self.absent.items():
                by_cause.setdefault(cause, []).append(tenant)
            body["absent"] = by_cause
        if self.control_causes:
            body["control_causes"] = dict(self.control_causes)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> LookSample:
        """Return the look that to_json wrote."""
        bounds = body["bounds"]
        return cls(
            kpi=body["kpi"],
            at=datetime.fromisoformat(body["at"]),
            canary={t: _read(cells, bounds) for t, cells in body["canary"].items()},
            control={t: _read(cells, bounds) for t, cells in body["control"].items()},
            causes=dict(body["causes"]),
            ok=body["ok"],
            source=body["source"],
            sentence=body["sentence"],
            absent={
                tenant: cause
                for cause, tenants in body.get("absent", {}).items()
                for tenant in tenants
            },
            control_causes=dict(body.get("control_causes", {})),
        )

    def of(self, tenants: Collection[str]) -> LookSample:
        """Return the look as if only these had been upgraded, and nobody else but the control."""
        absent = {
            tenant: self.absent.get(tenant, self.cause or "no_series")
            for tenant in tenants
            if tenant not in self.canary
        }
        return replace(
            self,
            canary={tenant: self.canary[tenant] for tenant in tenants if tenant in self.canary},
            causes=self.causes if not self.ok else dict(Counter(absent.values())),
            absent=absent,
        )


def compact(value: float) -> float | int:
    """Return whole numbers as int: shorter in JSON, and equal."""
    return int(value) if float(value).is_integer() else value


def _written(point: Point, layouts: dict[tuple[float, ...], int]) -> list[Any]:
    match point:
        case RatioPoint():
            return ["r", compact(point.bad), compact(point.total)]
        case GaugePoint():
            return ["g", compact(point.value)]
        case HistogramPoint():
            layout = tuple(point.buckets)
            number = layouts.setdefault(layout, len(layouts))
            counts = [compact(count) for count in point.buckets.values()]
            return ["h", number, compact(point.total), *counts]


def _read(cells: list[Any], bounds: list[list[float]]) -> Point:
    match cells:
        case ["r", bad, total]:
            return RatioPoint(float(bad), float(total))
        case ["g", value]:
            return GaugePoint(float(value))
        case ["h", number, total, *counts]:
            pairs = zip(bounds[number], counts, strict=True)
            return HistogramPoint({bound: float(n) for bound, n in pairs}, float(total))
        case _:
            raise ValueError(f"{cells!r} is not a point")

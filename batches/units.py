"""The units that Kpis, sources and guardrails may use, and the way from one to another."""

from __future__ import annotations

from typing import Final

# Whole multiples of the smallest unit of each family, so that no factor is itself rounded.
_FAMILIES: Final[tuple[dict[str, int], ...]] = (
    {"%": 1, "1": 100},
    {
        "ns": 1,
        "us": 1_000,
        "ms": 1_000_000,
        "s": 1_000_000_000,
        "min": 60_000_000_000,
        "h": 3_600_000_000_000,
    },
    {
        "bytes": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
    },
    {"1/h": 1, "1/min": 60, "1/s": 3_600},
    {"count": 1},
)
KNOWN_UNITS: Final = tuple(unit for family in _FAMILIES for unit in family)
SHARES: Final = tuple(_FAMILIES[0])


class UnitMismatch(Exception):
    """The two units do not measure the same thing."""


def compatible_with(unit: str) -> tuple[str, ...]:
    """Return every unit that measures the same as this one, itself included."""
    return next((tuple(family) for family in _FAMILIES if unit in family), ())


def convert(value: float, unit: str, target: str) -> float:
    """Return the value in the target unit. Raises UnitMismatch."""
    if unit == target:
        return value
    for family in _FAMILIES:
        if unit in family and target in family:
            # 12 digits: 0.57 s is to be the bound 570 ms, not 569.9999999999999.
            return float(f"{value * family[unit] / family[target]:.12g}")
    raise UnitMismatch(f"'{unit}' cannot be turned into '{target}'")

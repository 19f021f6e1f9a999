"""The units that Kpis, sources and guardrails may use, and the way from one to another.

Units are written as UCUM has them (ucum.org, case sensitive): the small part of it that metrics of
an upgrade need. Some have a second, friendlier spelling, which is the one that is shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
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
        "d": 86_400_000_000_000,
    },
    {
        "bytes": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
        "TiB": 2**40,
    },
    {"1/h": 1, "1/min": 60, "1/s": 3_600},
    {"count": 1},
)
KNOWN_UNITS: Final = tuple(unit for family in _FAMILIES for unit in family)
SHARES: Final = tuple(_FAMILIES[0])

_UCUM: Final[Mapping[str, str]] = {
    "By": "bytes",
    "kBy": "kB",
    "MBy": "MB",
    "GBy": "GB",
    "TBy": "TB",
    "KiBy": "KiB",
    "MiBy": "MiB",
    "GiBy": "GiB",
    "TiBy": "TiB",
    "/s": "1/s",
    "/min": "1/min",
    "/h": "1/h",
    "Hz": "1/s",
}
# {request} counts requests, {request}/s requests per second.
_COUNTED: Final = re.compile(r"\{[^{}]*\}(/(?:s|min|h))?")
_MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("percent", "pct", "percentage", "percents"), "%"),
    **dict.fromkeys(("ratio", "fraction", "share"), "1"),
    **dict.fromkeys(("nanosecond", "nanoseconds", "nanos", "nsec"), "ns"),
    **dict.fromkeys(("microsecond", "microseconds", "micros", "usec", "µs", "μs"), "us"),
    **dict.fromkeys(("millisecond", "milliseconds", "millis", "msec"), "ms"),
    **dict.fromkeys(("second", "seconds", "sec", "secs"), "s"),
    **dict.fromkeys(("minute", "minutes", "mins", "m"), "min"),
    **dict.fromkeys(("hour", "hours", "hr", "hrs"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("byte", "b"), "bytes"),
    **dict.fromkeys(("kb", "kilobyte", "kilobytes"), "kB"),
    **dict.fromkeys(("mb", "megabyte", "megabytes"), "MB"),
    **dict.fromkeys(("gb", "gigabyte", "gigabytes"), "GB"),
    **dict.fromkeys(("tb", "terabyte", "terabytes"), "TB"),
    **dict.fromkeys(("kib", "kibibytes"), "KiB"),
    **dict.fromkeys(("mib", "mebibytes"), "MiB"),
    **dict.fromkeys(("gib", "gibibytes"), "GiB"),
    **dict.fromkeys(("rps", "qps", "ops", "req/s", "per_second", "reqps"), "1/s"),
    **dict.fromkeys(("rpm", "req/min", "per_minute"), "1/min"),
    **dict.fromkeys(("counts", "number", "items", "requests", "none"), "count"),
}
_IN_NAMES: Final[Mapping[str, str]] = {
    word: unit
    for word, unit in {**_MEANT, **{unit: unit for unit in ("ns", "us", "ms", "bytes")}}.items()
    # One letter, or a word that names what is counted, says nothing in the name of a metric.
    if len(word) > 1 and unit not in ("count", "1/s", "1/min") and word not in ("share", "mins")
}
_ENDINGS: Final = ("bucket", "total", "count", "sum", "max", "min", "avg", "mean")


class UnitMismatch(Exception):
    """The two units do not measure the same thing."""


def canonical(unit: str) -> str | None:
    """Return the unit in the spelling that is shown, None for one that is not known."""
    if unit in KNOWN_UNITS:
        return unit
    counted = _COUNTED.fullmatch(unit)
    if counted is not None:
        return f"1{counted[1]}" if counted[1] else "count"
    return _UCUM.get(unit)


def unit_hint(unit: str, words: Iterable[str]) -> str:
    """Return " - did you mean '%'?" for a unit that is not one of the words, else nothing."""
    offered = tuple(words)
    meant = _MEANT.get(unit.strip().lower(), canonical(unit.strip()))
    if meant not in offered:
        likely = difflib.get_close_matches(unit, offered, n=1, cutoff=0.6)
        meant = likely[0] if likely else None
    return f" - did you mean '{meant}'?" if meant else ""


def unit_of_name(name: str) -> str | None:
    """Return the unit that the name of a metric ends in: `_seconds`, `_bytes`, `_ratio`, `_ms`."""
    words = re.split(r"[_.:\-]+", name.lower())
    while words and words[-1] in _ENDINGS:
        words.pop()
    # A unit alone names nothing that was measured.
    return _IN_NAMES.get(words[-1]) if len(words) > 1 else None


def compatible_with(unit: str) -> tuple[str, ...]:
    """Return every unit that measures the same as this one, itself included."""
    known = canonical(unit)
    return next((tuple(family) for family in _FAMILIES if known in family), ())


def convert(value: float, unit: str, target: str) -> float:
    """Return the value in the target unit. Raises UnitMismatch."""
    if unit == target:
        return value
    of, to = canonical(unit), canonical(target)
    for family in _FAMILIES:
        if of in family and to in family:
            # 12 digits: 0.57 s is to be the bound 570 ms, not 569.9999999999999.
            return float(f"{value * family[of] / family[to]:.12g}")
    raise UnitMismatch(f"'{unit}' cannot be turned into '{target}'{unit_hint(unit, KNOWN_UNITS)}")

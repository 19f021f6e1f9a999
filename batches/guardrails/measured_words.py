"""How measured values, counts and causes are said. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CAUSES: Final = {
    "source_down": "source down",
    "timeout": "no answer in time",
    "unauthorized": "not authorized",
    "bad_answer": "an answer that cannot be used",
    "name_gone": "no series of that name any more",
    "no_look": "nobody has looked",
    "no_series": "no series for the upgraded tenants",
    "no_bad_series": "no series for the bad ones",
    "not_a_number": "not a number",
    "infinite": "an infinite value",
    "negative": "a negative count",
    "out_of_range": "a value outside the Kpi's range",
    "stale": "the values are old",
    "future": "the values are from the future",
    "bad_bucket": "buckets that do not add up",
    "no_total_bucket": "no bucket +Inf",
    "no_bound": "no bucket to compare with",
    "idle": "no requests",
    "no_control": "nobody is left on the old version to compare with",
    "control_lost": "no data of the tenants on the old version",
    "no_history": "not enough history to compare with",
}

IDLE: Final = "idle"
"""Everything answers and nothing happens: too little to judge, and no fault of the monitoring."""


def cause_words(cause: str) -> str:
    """Return why there is no data, in words."""
    return CAUSES.get(cause, cause)


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, short enough for a sentence; a bare share has no unit."""
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return digits if unit in ("1", "count") else f"{digits} {unit}"


def whole(count: float) -> str:
    """Return a number of events."""
    return f"{count:.10g}"


def requests(count: float) -> str:
    """Return "1 request", "2 requests"; increments may be fractions."""
    return f"{whole(count)} request{'' if count == 1 else 's'}"


def named(tenants: Iterable[str], most: int = 5) -> str:
    """Return the first of some tenants by name, and how many more there are."""
    keys = list(tenants)
    said = ", ".join(keys[:most])
    return f"{said} and {len(keys) - most} more" if len(keys) > most else said

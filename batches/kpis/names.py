"""What somebody may have meant by a name that is no Kpi: by alias, by spelling, by unit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from batches.kpis.units import unit_of_name

_LIKELY: Final = 0.6
_APART: Final = re.compile(r"[_.:\-\s]+")
# What a name may end in without meaning another thing: units, and how Prometheus marks kinds.
_FORMS: Final = frozenset(
    {
        *("rate", "ratio", "percent", "percentage", "pct", "share", "fraction"),
        *("ns", "us", "ms", "s", "sec", "seconds", "milliseconds", "microseconds", "minutes"),
        *("bytes", "kb", "mb", "gb", "kib", "mib", "gib"),
        *("total", "bucket", "count", "sum"),
    }
)


def likeliest(name: str, owners: Mapping[str, str]) -> str | None:
    """Return the known word that is nearest; `owners` says whose each word is."""
    scored = [(_likeness(name, word), word) for word in owners]
    best = max(scored, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] >= _LIKELY else None


def did_you_mean(name: str, owners: Mapping[str, str], units: Mapping[str, str]) -> str:
    """Return " - did you mean 'latency_ms'?" with what to mind about its unit, else nothing.

    `owners` maps every name and alias to its Kpi, `units` each Kpi to its unit.
    """
    word = likeliest(name, owners)
    if word is None:
        return ""
    owner = owners[word]
    alias = f" (an alias of '{owner}')" if owner != word else ""
    written, unit = unit_of_name(name), units.get(owner, "")
    minded = ""
    if written is not None and unit and written != unit:
        minded = f' It is in {unit}: with a limit in {written} write unit: "{written}"'
    return f" - did you mean '{word}'{alias}?{minded}"


def _likeness(name: str, word: str) -> float:
    whole = difflib.SequenceMatcher(None, name.lower(), word.lower()).ratio()
    stems = _stem(name), _stem(word)
    if not all(stems):
        return whole
    # Slightly less than the whole name: of two alike stems the one spelled alike wins.
    return max(whole, 0.98 * difflib.SequenceMatcher(None, *stems).ratio())


def _stem(name: str) -> str:
    return "_".join(word for word in _APART.split(name.lower()) if word and word not in _FORMS)

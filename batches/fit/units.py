"""Is what a source tells in the unit that the mapping says? By range, by name, by bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from batches.fit.findings import Finding, some
from batches.guardrails.measurement import shown
from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.kpis.units import SHARES, compatible_with, convert, unit_of_name
from batches.sources.readings import Answers, Key, Reading, key_of, reduced
from plans.counted_words import counted

_MOSTLY: Final = 0.9
_ARITHMETIC: Final = re.compile(r"[*/]\s*[\d(]|\d\s*[*/]")
_WORD: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_FACTORS: Final = (100.0, 1000.0, 1_000_000.0, 0.01, 0.001, 0.000001)


def unit_findings(
    mapping: KpiMapping,
    definition: KpiDefinition,
    readings: Mapping[Key, Reading],
    answers: Answers,
    past: Sequence[float],
) -> list[Finding]:
    """Return what speaks against the unit, the strongest evidence first; at most one unit of it.

    `past` are the lowest and highest values of the last hours, as the source told them.
    """
    if mapping.buckets is not None:
        bounds = {
            float(one.labels["le"]) for one in answers[mapping.buckets] if _finite(one.labels)
        }
        return _by_bounds(mapping, definition, sorted(bounds))
    if mapping.value is None:
        return []
    told = _told(mapping, answers, readings)
    now = list(told.values())
    if not now:
        return []
    found = _by_range(mapping, definition, told, past)
    if not any(one.kind == "off_by_factor" for one in found):
        found += _by_name(mapping, definition, highest=max(map(abs, [*now, *past])))
    if not found:
        found = _looks_like_a_share(mapping, definition, [*now, *past])
    return found


def _finite(labels: Mapping[str, str]) -> bool:
    try:
        return math.isfinite(float(labels.get("le", "")))
    except ValueError:
        return False


def _told(
    mapping: KpiMapping, answers: Answers, readings: Mapping[Key, Reading]
) -> dict[Key, float]:
    """Return the values as the source told them, those that are numbers."""
    grouped: dict[Key, list[float]] = {}
    for one in answers[mapping.value] if mapping.value is not None else ():
        key = key_of(one, mapping)
        if key is not None and key in readings:
            grouped.setdefault(key, []).append(one.value)
    told = {key: reduced(values, mapping.reduce) for key, values in grouped.items()}
    return {key: value for key, value in told.items() if math.isfinite(value)}


def _native(mapping: KpiMapping, definition: KpiDefinition) -> str:
    return mapping.native_unit or definition.unit


def _band(definition: KpiDefinition) -> tuple[float, float] | None:
    if definition.range is not None:
        return definition.range
    if definition.kind == "ratio":
        return (0.0, 1.0) if definition.unit == "1" else (0.0, 100.0)
    return None


# By range.


def _by_range(
    mapping: KpiMapping,
    definition: KpiDefinition,
    told: Mapping[Key, float],
    past: Sequence[float],
) -> list[Finding]:
    band, native, unit = _band(definition), _native(mapping, definition), definition.unit
    if band is None:
        return []
    low, high = band
    reach = f"{low:g} to {high:g} {unit}"
    values = {key: convert(value, native, unit) for key, value in told.items()}
    outside = sorted(key for key, value in values.items() if not low <= value <= high)
    if 2 * len(outside) > len(values):
        example = outside[0]
        said = (
            f"{mapping.source} gives {shown(values[example], unit)} for {example.tenant}, outside"
            f" the range {reach}, and so for {len(outside)} of {counted(len(values), 'value')}"
        )
        found, advice = _other_unit(mapping, definition, list(told.values()), band)
        return [Finding("off_by_factor" if found else "out_of_range", "error", said, advice)]
    if outside:
        return [
            Finding(
                "out_of_range",
                "warning",
                f"{len(outside)} of {counted(len(values), 'value is', 'values are')} outside the"
                f" range {reach}: {some({key.tenant for key in outside})}; such values are"
                " dropped and count as missing",
                "correct the range, or find out what they mean",
            )
        ]
    before = [convert(value, native, unit) for value in past]
    strays = [value for value in before if not low <= value <= high]
    if strays:
        return [
            Finding(
                "out_of_range",
                "warning",
                f"in the last 24 h there were values up to {shown(max(strays, key=abs), unit)},"
                f" outside the range {reach}; such values are dropped and count as missing",
                "correct the range, or find out what they mean",
            )
        ]
    return []


def _other_unit(
    mapping: KpiMapping, definition: KpiDefinition, told: Sequence[float], band: tuple[float, float]
) -> tuple[bool, str]:
    """Return whether another unit or a round factor brings the values into the range, and which."""
    native, unit = _native(mapping, definition), definition.unit

    def fits(values: Sequence[float]) -> bool:
        inside = sum(band[0] <= value <= band[1] for value in values)
        return inside >= _MOSTLY * len(values)

    for other in compatible_with(unit):
        if other != native and fits([convert(value, other, unit) for value in told]):
            factor = convert(1, native, unit) / convert(1, other, unit)
            return True, f'{_times(factor)} too much? write "native_unit": "{other}"'
    for factor in _FACTORS:
        if fits([convert(value, native, unit) / factor for value in told]):
            return True, f"{_times(factor)} off? divide by {factor:g} in the query"
    return False, "correct the range or the query"


def _times(factor: float) -> str:
    return f"{factor:g} times" if factor >= 1 else f"1/{1 / factor:g}"


# By name.


def _by_name(mapping: KpiMapping, definition: KpiDefinition, *, highest: float) -> list[Finding]:
    """Return what the names of the metrics say about their unit, unless the values deny it."""
    native = _native(mapping, definition)
    for name in _names(mapping):
        unit = unit_of_name(name)
        if unit is None or unit == native or unit not in compatible_with(native):
            continue
        denied = unit == "1" and native == "%" and highest > 1.5
        denied = denied or (unit == "s" and native == "ms" and highest >= 1000)
        if denied:
            continue
        factor = convert(1, unit, native)
        return [
            Finding(
                "off_by_factor",
                "error",
                f"{name} is in {_unit(unit)} by its name and is read as {_unit(native)}:"
                f" {_times(max(factor, 1 / factor))} off",
                f'write "native_unit": "{unit}"',
            )
        ]
    return []


def _unit(unit: str) -> str:
    return "shares of 1" if unit == "1" else unit


def _names(mapping: KpiMapping) -> list[str]:
    names = []
    for selector in (mapping.buckets, mapping.value):
        if selector is None:
            continue
        if selector.metric:
            names.append(selector.metric)
        elif selector == mapping.buckets or not _ARITHMETIC.search(selector.query or ""):
            # A query that multiplies may have turned the unit already; bounds it cannot turn.
            names += _WORD.findall(re.sub(r"\{[^}]*\}|\"[^\"]*\"", " ", selector.query or ""))
    return names


# By bounds, and by size.


def _by_bounds(
    mapping: KpiMapping, definition: KpiDefinition, bounds: Sequence[float]
) -> list[Finding]:
    if not bounds:
        return []
    found = _by_name(mapping, definition, highest=bounds[-1])
    native = _native(mapping, definition)
    reach = f"from {bounds[0]:g} to {bounds[-1]:g} {native}"
    if found or len(bounds) < 3:
        return found
    if native == "ms" and bounds[0] < 1 and bounds[-1] <= 100:
        said, unit = f"the bounds of {mapping.buckets} go {reach}: so look buckets in seconds", "s"
    elif native == "s" and bounds[0] >= 1 and bounds[-1] >= 1000:
        said, unit = f"the bounds of {mapping.buckets} go {reach}: so look buckets in ms", "ms"
    else:
        return []
    return [Finding("off_by_factor", "warning", said, f'if so, write "native_unit": "{unit}"')]


def _looks_like_a_share(
    mapping: KpiMapping, definition: KpiDefinition, values: Sequence[float]
) -> list[Finding]:
    """Notice shares of 1 that are read as percent: none of them is ever above 1."""
    if _native(mapping, definition) != "%" or definition.unit not in SHARES:
        return []
    if not 0 < max(values) <= 1 or min(values) < 0:
        return []
    said = f"{mapping.source} never gives more than {max(values):.3g} %"
    if definition.direction == "higher":
        return [
            Finding(
                "off_by_factor",
                "error",
                f"{said} where more is better: that looks like a share of 1",
                '100 times too little? write "native_unit": "1"',
            )
        ]
    return [Finding("off_by_factor", "note", said, 'if it tells shares, write "native_unit": "1"')]

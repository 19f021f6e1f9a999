"""The Kpi dictionary: which Kpis there are, where each is read, and which charts show them.

Metric names differ from one monitoring system to the next. A Kpi has one name and one unit here,
so that a threshold means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batches.kpis.dictionary_json import Problem, listed
from batches.kpis.dictionary_reading import read_dictionary
from batches.kpis.dictionary_shapes import Dictionary, KpiDefinition, KpiKind, KpiMapping, Panel
from batches.kpis.json_places import line_at, lines_of
from batches.kpis.units import SHARES, UnitMismatch, compatible_with, convert
from batches.metric_sources.base import Selector, SourceSpec
from plans.policies.policy import FACTOR, POINTS, SLOW_SHARE_PERCENT, Guardrail

__all__ = [
    "Dictionary",
    "DictionaryRejected",
    "GuardrailUnusable",
    "KpiDefinition",
    "KpiKind",
    "KpiMapping",
    "Panel",
    "Problem",
    "Selector",
    "SourceSpec",
    "load_dictionary",
    "resolve_guardrail",
]


class DictionaryRejected(Exception):
    """The file cannot be used; problems says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class GuardrailUnusable(Exception):
    """The guardrail cannot judge this Kpi; the text says why and what to write."""


def load_dictionary(text: str) -> Dictionary:
    """Return the dictionary that the JSON text holds. Raises DictionaryRejected."""
    problems: list[Problem] = []
    dictionary = read_dictionary(text, problems)
    if problems:
        lines = lines_of(text)
        raise DictionaryRejected(
            [replace(one, line=one.line or line_at(lines, one.path)) for one in problems]
        )
    return dictionary


def resolve_guardrail(guardrail: Guardrail, definition: KpiDefinition) -> Guardrail:
    """Return the guardrail in the Kpi's name, unit and direction. Raises GuardrailUnusable.

    An entry of `rollback_thresholds` holds its number in at_most; for a Kpi where higher is
    better it becomes at_least. Resolving twice changes nothing.
    """
    if guardrail.against != "absolute":
        return _resolve_comparison(guardrail, definition)
    unit = guardrail.unit or definition.unit
    try:
        at_most = _converted(guardrail.at_most, unit, definition.unit)
        at_least = _converted(guardrail.at_least, unit, definition.unit)
    except UnitMismatch as mismatch:
        units = listed(compatible_with(definition.unit))
        raise GuardrailUnusable(
            f"{definition.name}: {mismatch}; write one of {units}"
        ) from mismatch
    from_threshold = guardrail.slow_share_percent is not None and at_least is None
    if from_threshold and definition.direction == "higher":
        at_most, at_least = None, at_most
    threshold = at_least if at_most is None else at_most
    if threshold is None:
        raise GuardrailUnusable(f"{definition.name}: write at_most or at_least")
    if definition.range is not None and definition.kind != "histogram":
        low, high = definition.range
        if not low <= threshold <= high:
            raise GuardrailUnusable(
                f"{definition.name}: {threshold:g} {definition.unit} is outside its range "
                f"{low:g} to {high:g}; such a limit would never be passed or never be met"
            )
    slow_share = None
    if definition.kind == "histogram":
        given = guardrail.slow_share_percent
        slow_share = SLOW_SHARE_PERCENT if given is None else given
    return replace(
        guardrail,
        kpi=definition.name,
        at_most=at_most,
        at_least=at_least,
        unit=definition.unit,
        slow_share_percent=slow_share,
    )


def _resolve_comparison(guardrail: Guardrail, definition: KpiDefinition) -> Guardrail:
    """Return a guardrail that compares with others, its difference in the Kpi's unit."""
    name, unit = definition.name, guardrail.unit
    if definition.kind == "histogram":
        raise GuardrailUnusable(
            f"{name} is a histogram, whose limit is a bound for each request;"
            f" against: {guardrail.against} compares one number: write an absolute limit"
        )
    if guardrail.at_most is None and guardrail.at_least is None:
        raise GuardrailUnusable(f"{name}: write at_most or at_least")
    if unit == FACTOR:
        return replace(guardrail, kpi=name)
    shares = definition.unit in SHARES
    if unit == POINTS:
        if not shares:
            raise GuardrailUnusable(
                f"{name} is measured in {definition.unit}, which has no percentage points; write"
                f" unit: {definition.unit} for a difference or unit: {FACTOR} for a factor"
            )
        return replace(guardrail, kpi=name)
    if shares:
        raise GuardrailUnusable(
            f"{name}: against: {guardrail.against} needs unit: {POINTS} or unit: {FACTOR}"
        )
    try:
        at_most = _converted(guardrail.at_most, unit or definition.unit, definition.unit)
        at_least = _converted(guardrail.at_least, unit or definition.unit, definition.unit)
    except UnitMismatch as mismatch:
        units = listed((*compatible_with(definition.unit), FACTOR))
        raise GuardrailUnusable(f"{name}: {mismatch}; write one of {units}") from mismatch
    return replace(guardrail, kpi=name, at_most=at_most, at_least=at_least, unit=definition.unit)


def _converted(number: float | None, unit: str, target: str) -> float | None:
    return None if number is None else convert(number, unit, target)

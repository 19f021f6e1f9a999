"""The Kpi dictionary's JSON -> its shapes, with every problem of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from batches.kpis.dictionary_json import Place, Problem, as_number, listed, nearest, read_object
from batches.kpis.dictionary_shapes import (
    Dictionary,
    EmittedBy,
    KpiDefinition,
    KpiKind,
    KpiMapping,
    Panel,
    Reduce,
)
from batches.kpis.dictionary_sources import read_selector, read_sources, series_label
from batches.kpis.names import did_you_mean
from batches.kpis.units import KNOWN_UNITS, SHARES, canonical, compatible_with, unit_hint
from batches.metric_sources.base import SourceSpec

KINDS: Final = ("ratio", "histogram", "gauge")
REDUCES: Final = ("sum", "max", "avg")
EMITTED_BY: Final = ("every_version", "new_version")
_KPI = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\-]{0,119}")
_KPI_RULE = "write a name such as error_rate (letters, digits, '_', '.', ':', '-')"
_WANTED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "ratio": (("bad", "total"), ("value",)),
    "histogram": (("buckets",),),
    "gauge": (("value",),),
}
_SELECTORS: Final = ("bad", "total", "buckets", "value")


def read_dictionary(text: str, problems: list[Problem]) -> Dictionary:
    """Return the dictionary; with problems added, parts of it are missing."""
    top = read_object(text, problems)
    if top is None:
        return Dictionary({}, {})
    top.only("kpis", "sources", "mappings", "dashboards")
    kpis = _read_kpis(top)
    sources = read_sources(top)
    return Dictionary(
        kpis, sources, _read_mappings(top, kpis, sources), _read_dashboards(top, kpis)
    )


def _read_kpis(top: Place) -> dict[str, KpiDefinition]:
    if not top.values.get("kpis"):
        top.note("kpis", 'is missing; write [{"name": ..., "kind": ..., "unit": ...}]')
    kpis: dict[str, KpiDefinition] = {}
    taken: dict[str, str] = {}
    for place in top.items("kpis"):
        place.only("name", "kind", "unit", "direction", "range", "aliases")
        name = place.text("name", form=_KPI, rule=_KPI_RULE)
        kind = cast(KpiKind, place.choice("kind", KINDS))
        unit = _read_unit(place, "unit", SHARES if kind == "ratio" else KNOWN_UNITS)
        definition = KpiDefinition(
            name,
            kind,
            unit,
            cast(Literal["lower", "higher"], place.choice("direction", ("lower", "higher"))),
            _read_range(place),
            _read_aliases(place),
        )
        for word in (name, *definition.aliases):
            if word and word in taken:
                place.note("", f"'{word}' is a name already, of '{taken[word]}'; write another")
            taken.setdefault(word, name)
        if name:
            kpis.setdefault(name, definition)
    return kpis


def _read_unit(place: Place, key: str, words: Sequence[str]) -> str:
    """Return one of the units, in the spelling that is shown."""
    value = place.values.get(key)
    unit = canonical(value) if isinstance(value, str) else None
    if unit in words:
        return unit or ""
    said = f"{json.dumps(value)[:60]} cannot be used" if key in place.values else "is missing"
    hint = unit_hint(value, words) if isinstance(value, str) else ""
    place.note(key, f"{said}; write one of {listed(words)}{hint}")
    return ""


def _read_range(place: Place) -> tuple[float, float] | None:
    if "range" not in place.values:
        return None
    ends = [as_number(end) for end in place.sequence("range")]
    if len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] < ends[1]:
        return ends[0], ends[1]
    place.note("range", "write the lowest and the highest value, such as [0, 100]")
    return None


def _read_aliases(place: Place) -> tuple[str, ...]:
    aliases = []
    for index, alias in enumerate(place.sequence("aliases")):
        if isinstance(alias, str) and re.fullmatch(r"[A-Za-z0-9_.:\-]{1,120}", alias):
            aliases.append(alias)
        else:
            place.note(f"aliases[{index}]", _KPI_RULE)
    return tuple(aliases)


def _read_mappings(
    top: Place, kpis: Mapping[str, KpiDefinition], sources: Mapping[str, SourceSpec]
) -> tuple[KpiMapping, ...]:
    mappings: list[KpiMapping] = []
    seen: set[tuple[str, str]] = set()
    for place in top.items("mappings"):
        place.only(
            *("kpi", "source", *_SELECTORS, "tenant_label", "version_label", "native_unit"),
            *("reduce", "rate_window_seconds", "emitted_by"),
        )
        kpi = _read_kpi_name(place, kpis)
        source = sources.get(place.text("source", rule="write the name of a source"))
        if source is None and isinstance(place.values.get("source"), str):
            name = place.values["source"]
            hint = nearest(name, sources) or f"; the sources are {listed(sources)}"
            place.note("source", f"no source is called '{name}'{hint}")
        selectors = {
            key: selector
            for key in _SELECTORS
            if (selector := read_selector(place, key, source)) is not None
        }
        mapping = KpiMapping(
            kpi=kpi.name if kpi else "",
            source=source.name if source else "",
            bad=selectors.get("bad"),
            total=selectors.get("total"),
            buckets=selectors.get("buckets"),
            value=selectors.get("value"),
            tenant_label=series_label(place, "tenant_label", source) or "tenant",
            version_label=series_label(place, "version_label", source),
            native_unit=_read_native_unit(place, kpi),
            reduce=_read_reduce(place),
            rate_window_seconds=_read_rate_window(place),
            emitted_by=cast(
                EmittedBy, place.choice("emitted_by", EMITTED_BY, default="every_version")
            ),
        )
        if kpi is not None:
            _check_parts(place, kpi)
        if mapping.version_label == mapping.tenant_label:
            place.note("version_label", "must be another label than tenant_label")
        if kpi is not None and source is not None and (kpi.name, source.name) in seen:
            place.note("", f"'{kpi.name}' is mapped to '{source.name}' already; keep one of them")
        seen.add((mapping.kpi, mapping.source))
        mappings.append(mapping)
    return tuple(mappings)


def _read_kpi_name(place: Place, kpis: Mapping[str, KpiDefinition]) -> KpiDefinition | None:
    name = place.text("kpi", rule="write the name of a Kpi")
    kpi = kpis.get(name)
    if kpi is None and name:
        owners = {word: k.name for k in kpis.values() for word in (k.name, *k.aliases)}
        units = {k.name: k.unit for k in kpis.values()}
        alias_of = owners.get(name)
        hint = did_you_mean(name, owners, units)
        if alias_of:
            hint = f"; write its name '{alias_of}'"
        place.note("kpi", f"no Kpi is called '{name}'{hint or f'; there are {listed(kpis)}'}")
    return kpi


def _check_parts(place: Place, kpi: KpiDefinition) -> None:
    """Refuse what does not make up a Kpi of this kind."""
    given = tuple(key for key in _SELECTORS if key in place.values)
    wanted = _WANTED.get(kpi.kind, ())
    # Nothing is wanted of a kind that is unknown: that is a problem of the Kpi's own.
    if wanted and given not in wanted:
        forms = " or ".join(" and ".join(keys) for keys in wanted)
        place.note("", f"a {kpi.kind} is read from {forms}; here is {listed(given)}")
    if kpi.kind == "ratio" and "bad" in given and "native_unit" in place.values:
        place.note("native_unit", "leave it out: counts of bad and total have no unit")


def _read_native_unit(place: Place, kpi: KpiDefinition | None) -> str | None:
    if "native_unit" not in place.values or kpi is None or not kpi.unit:
        return None
    return _read_unit(place, "native_unit", compatible_with(kpi.unit)) or None


def _read_reduce(place: Place) -> Reduce | None:
    if "reduce" not in place.values:
        return None
    counts = "value" not in place.values
    word = place.choice("reduce", ("sum",) if counts else REDUCES)
    if counts and place.values["reduce"] in ("max", "avg"):
        place.note("reduce", "counts of several series can only be added up")
    return cast(Reduce, word) if word else None


def _read_rate_window(place: Place) -> float | None:
    if "rate_window_seconds" in place.values and "value" in place.values:
        place.note("rate_window_seconds", "leave it out: a value is taken as it is, not counted")
    return place.number("rate_window_seconds", above=0, below=3600.001)


def _read_dashboards(
    top: Place, kpis: Mapping[str, KpiDefinition]
) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    dashboards = []
    for place in top.items("dashboards"):
        place.only("title", "panels")
        title = place.text("title", rule="write a title")
        panels = []
        for panel in place.items("panels"):
            panel.only("kpi", "split", "quantile", "title")
            kpi = _read_kpi_name(panel, kpis)
            quantile = panel.number("quantile", above=0, below=1)
            if quantile is not None and kpi is not None and kpi.kind != "histogram":
                panel.note("quantile", f"leave it out: '{kpi.name}' is a {kpi.kind}")
            split = "split" in panel.values
            panels.append(
                Panel(
                    kpi=kpi.name if kpi else "",
                    split=panel.choice("split", ("canary_control",)) if split else None,
                    quantile=quantile,
                    title=panel.text("title", default=kpi.name if kpi else ""),
                )
            )
        dashboards.append((title, tuple(panels)))
    return tuple(dashboards)

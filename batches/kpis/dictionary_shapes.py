"""What a Kpi dictionary is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from batches.kpis.dictionary_json import listed
from batches.kpis.names import did_you_mean
from batches.metric_sources.base import Selector, SourceSpec

KpiKind = Literal["ratio", "histogram", "gauge"]
Reduce = Literal["sum", "max", "avg"]
EmittedBy = Literal["every_version", "new_version"]


@dataclass(frozen=True, slots=True)
class KpiDefinition:
    """One canonical metric. `direction` says which way is better."""

    name: str
    kind: KpiKind
    unit: str
    direction: Literal["lower", "higher"]
    range: tuple[float, float] | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KpiMapping:
    """How one source tells one Kpi: bad and total, buckets, or a value.

    `reduce` makes one of several series of a tenant; `rate_window_seconds` is set where the source
    tells counts as a rate per second over that time, and no counter. `emitted_by` says whether
    tenants have it before their upgrade too, so that its absence means something.
    """

    kpi: str
    source: str
    bad: Selector | None = None
    total: Selector | None = None
    buckets: Selector | None = None
    value: Selector | None = None
    tenant_label: str = "tenant"
    version_label: str | None = None
    native_unit: str | None = None
    reduce: Reduce | None = None
    rate_window_seconds: float | None = None
    emitted_by: EmittedBy = "every_version"

    @property
    def new_version_only(self) -> bool:
        """Tell whether nobody has this before the upgrade."""
        return self.emitted_by == "new_version"

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Return everything that one look at this Kpi reads."""
        every = (self.bad, self.total, self.buckets, self.value)
        return tuple(selector for selector in every if selector is not None)

    @property
    def asked(self) -> dict[str, str]:
        """Return what is read for each part, for the record."""
        parts = {"bad": self.bad, "total": self.total, "buckets": self.buckets, "value": self.value}
        return {part: str(selector) for part, selector in parts.items() if selector is not None}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of one Kpi."""

    kpi: str
    split: str | None = None
    quantile: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The whole file, checked; dashboards are their title with their panels."""

    kpis: Mapping[str, KpiDefinition]
    sources: Mapping[str, SourceSpec]
    mappings: tuple[KpiMapping, ...] = ()
    dashboards: tuple[tuple[str, tuple[Panel, ...]], ...] = ()

    def kpi(self, name: str) -> KpiDefinition | None:
        """Return the Kpi of this name or alias."""
        definition = self.kpis.get(name)
        if definition is not None:
            return definition
        return next((kpi for kpi in self.kpis.values() if name in kpi.aliases), None)

    def name_of(self, name: str) -> str:
        """Return what the dictionary itself calls the Kpi of this name or alias."""
        definition = self.kpi(name)
        return name if definition is None else definition.name

    def mappings_for(self, name: str) -> tuple[KpiMapping, ...]:
        """Return the mappings of the Kpi in the order of the file: the first that answers wins."""
        definition = self.kpi(name)
        if definition is None:
            return ()
        return tuple(mapping for mapping in self.mappings if mapping.kpi == definition.name)

    def is_of_new_version_only(self, name: str) -> bool:
        """Tell whether nobody on the old version has the Kpi, by any of its mappings."""
        mappings = self.mappings_for(name)
        return bool(mappings) and all(mapping.new_version_only for mapping in mappings)

    def unknown(self, names: Iterable[str]) -> dict[str, str]:
        """Return a sentence for each name that is not a Kpi: what to write instead."""
        known = {word: kpi.name for kpi in self.kpis.values() for word in (kpi.name, *kpi.aliases)}
        units = {kpi.name: kpi.unit for kpi in self.kpis.values()}
        return {
            name: f"no Kpi is called '{name}'"
            + (
                did_you_mean(name, known, units)
                or f"; add it to the Kpi dictionary, which has {listed(known)}"
            )
            for name in names
            if self.kpi(name) is None
        }

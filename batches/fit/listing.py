"""The Kpi dictionary beside what its newest probes found: what pages, REST and commands show."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from batches.configured import dictionary
from batches.fit.checks import Facts
from batches.fit.findings import LEVELS, NO_ANSWER, Finding, Level
from batches.fit.kept import NOT_PROBED, fit_of, is_fresh, kept_fits
from batches.guardrails.measurement import shown
from batches.kpis.dictionary import Dictionary, KpiDefinition, KpiMapping
from batches.models import KpiFit
from plans.models import Tenant, User
from plans.people.visible_rows import keys_seen
from plans.policies.newest import newest_policies
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import NotFound


@dataclass(frozen=True, slots=True)
class Value:
    """What one tenant's value was at the probe; `n` is how many events are behind a share."""

    tenant: str
    value: float
    n: float
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """What is read at the source for one part of a Kpi: a metric's name or a query."""

    part: str
    text: str


@dataclass(frozen=True, slots=True)
class MappingLine:
    """One mapping with its newest probe; `probed_at` is None where there was none."""

    mapping: KpiMapping
    unit: str
    source_kind: str
    url: str
    can_be_probed: bool
    probed_at: datetime | None
    fresh: bool
    took_ms: int
    level: Level | None
    findings: tuple[Finding, ...]
    tenants: int
    without: tuple[str, ...]
    lacking: int
    facts: Facts

    @property
    def source(self) -> str:
        """Return the name of the source."""
        return self.mapping.source

    @property
    def selectors(self) -> list[Read]:
        """Return what is read, by its part of the Kpi."""
        parts = {
            "bad": self.mapping.bad,
            "total": self.mapping.total,
            "buckets": self.mapping.buckets,
            "value": self.mapping.value,
        }
        return [Read(part, str(found)) for part, found in parts.items() if found is not None]

    @property
    def mute(self) -> bool:
        """Tell whether the source gave no answer at all."""
        return any(one.kind == NO_ANSWER for one in self.findings)

    @property
    def with_data(self) -> int:
        """Return how many of the tenants had data."""
        return self.tenants - self.lacking

    @property
    def values(self) -> list[Value]:
        """Return the values of the first tenants."""
        return [
            Value(tenant, value, n, shown(value, self.unit))
            for tenant, value, n in self.facts.values
        ]


@dataclass(frozen=True, slots=True)
class KpiLine:
    """One Kpi with its mappings in the order in which a plan tries them."""

    definition: KpiDefinition
    mappings: tuple[MappingLine, ...]
    policies: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the Kpi's name."""
        return self.definition.name

    @property
    def range(self) -> str:
        """Return the range in words, empty where there is none."""
        ends = self.definition.range
        return f"{ends[0]:g} to {ends[1]:g}" if ends else ""

    @property
    def level(self) -> Level | None:
        """Return the worst level of its probes, None where nothing was probed."""
        levels = [one.level for one in self.mappings if one.level is not None]
        return max(levels, key=LEVELS.index, default=None)

    @property
    def can_be_probed(self) -> bool:
        """Tell whether a source outside can be asked for it."""
        return any(one.can_be_probed for one in self.mappings)


@dataclass(frozen=True, slots=True)
class Eyes:
    """Which tenants a reader may know of; of the others nothing is named, in no sentence either."""

    hidden: frozenset[str] = frozenset()

    @classmethod
    def of(cls, user: User) -> "Eyes":
        """Return the eyes of a person."""
        if (seen := keys_seen(user)) is None:
            return cls()
        return cls(frozenset(Tenant.objects.values_list("key", flat=True)) - seen)

    def finding(self, one: Finding) -> Finding:
        """Return the finding, without its words where they name somebody else's tenant."""
        if not self.hidden.intersection(_words(f"{one.sentence} {one.advice}")):
            return one
        return replace(one, sentence="it concerns tenants that are not yours", advice="")

    def facts(self, facts: Facts) -> Facts:
        """Return the facts without the values of other tenants."""
        return replace(facts, values=tuple(v for v in facts.values if v[0] not in self.hidden))


def _words(text: str) -> set[str]:
    return {word.strip(".") for word in re.findall(r"[A-Za-z0-9._-]+", text)}


def kpi_lines(
    *, now: datetime, only: Collection[str] | None = None, user: User | None = None
) -> list[KpiLine]:
    """Return the Kpis of the dictionary, or those named; BadInput where it cannot be read.

    For a person: what probes found of tenants that are not theirs is left out.
    """
    eyes = Eyes() if user is None else Eyes.of(user)
    known = dictionary()
    kept = kept_fits(known)
    users = _policies_by_kpi(known)
    return [
        KpiLine(
            kpi,
            tuple(_line(known, one, kept, now, eyes) for one in known.mappings_for(kpi.name)),
            tuple(users.get(kpi.name, ())),
        )
        for kpi in known.kpis.values()
        if only is None or kpi.name in only
    ]


def kpi_line(name: str, *, now: datetime, user: User | None = None) -> KpiLine:
    """Return the Kpi of this name or alias; NotFound says what may have been meant."""
    known = dictionary()
    definition = known.kpi(name)
    if definition is None:
        raise NotFound(known.unknown([name])[name])
    (line,) = kpi_lines(now=now, only=[definition.name], user=user)
    return line


def _policies_by_kpi(known: Dictionary) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for row in newest_policies():
        watched = parse_policy_file(row.text).policies[row.name].watched_kpis
        for name in {kpi.name for kpi in map(known.kpi, watched) if kpi is not None}:
            users.setdefault(name, []).append(row.name)
    return users


def _line(
    known: Dictionary,
    mapping: KpiMapping,
    kept: Mapping[tuple[str, str], KpiFit],
    now: datetime,
    eyes: Eyes,
) -> MappingLine:
    spec = known.sources[mapping.source]
    row = kept.get((mapping.kpi, mapping.source))
    fit = fit_of(row) if row is not None else None
    return MappingLine(
        mapping=mapping,
        unit=known.kpis[mapping.kpi].unit,
        source_kind=spec.kind,
        url=str(spec.options.get("url", "")),
        can_be_probed=spec.kind not in NOT_PROBED,
        probed_at=row.probed_at if row is not None else None,
        fresh=row is not None and is_fresh(row, now),
        took_ms=row.took_ms if row is not None else 0,
        level=fit.level if fit is not None else None,
        findings=tuple(map(eyes.finding, fit.findings)) if fit is not None else (),
        tenants=row.tenants if row is not None else 0,
        without=tuple(k for k in fit.without if k not in eyes.hidden) if fit else (),
        lacking=len(fit.without) if fit is not None else 0,
        facts=eyes.facts(fit.facts) if fit is not None else Facts(),
    )

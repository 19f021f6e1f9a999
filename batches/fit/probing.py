"""Probe mappings of the Kpi dictionary at their sources, and keep what was found.

Sources are asked beside the request, within time limits, and never in a transaction: a monitoring
system that hangs must not lock the database.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import transaction

from batches.configured import dictionary, outbound_rules, secret_environ
from batches.fit.checks import judge
from batches.fit.kept import is_probed, kpis_to_probe, mapping_digest
from batches.fit.observation import Observation
from batches.fit.reading import observe, probed_spec
from batches.kpis.dictionary import Dictionary, KpiMapping
from batches.metric_sources import MetricSource, MetricUnavailable, SourceSpec, build
from batches.models import KpiFit
from batches.pushes.series import KeptSeries
from batches.runtime.surroundings import here
from plans.models import Tenant, User
from plans.people.permissions import require
from plans.policies.policy import UpgradePolicy
from plans.refusal import NotFound
from plans.trail import events

logger = logging.getLogger(__name__)
READ_SECONDS = 5.0
SOURCE_SECONDS = 15.0
Build = Callable[[SourceSpec], MetricSource]


def sources_of(spec: SourceSpec) -> MetricSource:
    """Return the source as the dictionary describes it, and what was pushed to it."""
    return build(spec, environ=secret_environ(), rules=outbound_rules(), store=KeptSeries())


@dataclass(frozen=True, slots=True)
class ToProbe:
    """What is asked: mappings as they are written now, and about whom."""

    known: Dictionary
    mappings: tuple[KpiMapping, ...]
    tenants: tuple[str, ...]


Observed = Mapping[tuple[str, str], Observation]


def probe(
    *,
    kpis: Collection[str] | None,
    by: User | None,
    now: datetime,
    via: str,
    build_source: Build = sources_of,
) -> list[KpiFit]:
    """Probe every mapping of these Kpis (None: of all) and return what is kept of it.

    Raises NotFound for a name that is no Kpi, BadInput where the dictionary is broken.
    """
    if by is not None:
        require(by, "probe")
    wanted = to_probe(kpis)
    began = here().monotonic()
    observed = here().run(observe_all(wanted, build_source)) if wanted.mappings else {}
    took_ms = round(1000 * (here().monotonic() - began))
    rows = judged(wanted, observed, took_ms=took_ms, now=now)
    return keep(rows, by=by, now=now, via=via)


def to_probe(kpis: Collection[str] | None) -> ToProbe:
    """Return what to ask about these Kpis (None: about all). Raises NotFound, BadInput."""
    known = dictionary()
    tenants = Tenant.objects.order_by("key").values_list("key", flat=True)
    return ToProbe(known, tuple(_mappings(known, kpis)), tuple(tenants))


def judged(wanted: ToProbe, observed: Observed, *, took_ms: int, now: datetime) -> list[KpiFit]:
    """Return what is to be kept of what the sources told; asks no database."""
    rows = []
    for mapping in wanted.mappings:
        definition = wanted.known.kpis[mapping.kpi]
        seen = observed[mapping.source, mapping.kpi]
        fit = judge(mapping, definition, seen, tenants=wanted.tenants)
        rows.append(
            KpiFit(
                kpi=mapping.kpi,
                source=mapping.source,
                digest=mapping_digest(wanted.known, mapping),
                probed_at=now,
                took_ms=took_ms,
                level=fit.level,
                findings=[finding.to_json() for finding in fit.findings],
                tenants=len(wanted.tenants),
                without=list(fit.without),
                facts=asdict(fit.facts),
            )
        )
    return rows


def _mappings(known: Dictionary, kpis: Collection[str] | None) -> list[KpiMapping]:
    if kpis is not None and (unknown := known.unknown(kpis)):
        raise NotFound("; ".join(unknown.values()))
    wanted = {kpi.name for name in kpis or () if (kpi := known.kpi(name)) is not None}
    return [
        mapping
        for mapping in sorted(known.mappings, key=lambda one: (one.kpi, one.source))
        if (kpis is None or mapping.kpi in wanted) and is_probed(known, mapping)
    ]


async def observe_all(
    wanted: ToProbe, build_source: Build = sources_of
) -> dict[tuple[str, str], Observation]:
    """Ask all sources at once; one that hangs takes nothing from the others. Writes nothing."""
    by_source: dict[str, list[KpiMapping]] = defaultdict(list)
    for mapping in wanted.mappings:
        by_source[mapping.source].append(mapping)
    told = await asyncio.gather(
        *(
            _observe(wanted.known.sources[source], mappings, wanted.tenants, build_source)
            for source, mappings in by_source.items()
        )
    )
    return {
        (source, kpi): observation
        for source, observed in zip(by_source, told, strict=True)
        for kpi, observation in observed.items()
    }


async def _observe(
    spec: SourceSpec,
    mappings: list[KpiMapping],
    tenants: Collection[str],
    build_source: Build,
) -> dict[str, Observation]:
    at = here().now()
    try:
        source = build_source(probed_spec(spec))
    except MetricUnavailable as unavailable:
        return {
            one.kpi: Observation(at, cause=unavailable.cause, said=unavailable.sentence)
            for one in mappings
        }
    seconds = min(READ_SECONDS, float(spec.options.get("timeout_seconds", READ_SECONDS)))
    try:
        async with asyncio.timeout(SOURCE_SECONDS):
            return await observe(source, spec, mappings, at=at, tenants=tenants, timeout=seconds)
    except TimeoutError:
        said = f"no answer to all questions within {SOURCE_SECONDS:g} s"
        return {one.kpi: Observation(at, cause="timeout", said=said) for one in mappings}
    except Exception as error:
        logger.exception("The metric source %s could not be probed.", spec.name)
        said = f"{type(error).__name__}: {error}"[:300]
        return {one.kpi: Observation(at, cause="bad_answer", said=said) for one in mappings}
    finally:
        await source.close()


@transaction.atomic
def keep(rows: Iterable[KpiFit], *, by: User | None, now: datetime, via: str) -> list[KpiFit]:
    """Keep the rows; the trail says of which mappings something else was found than before."""
    kept, changed = [], []
    for row in rows:
        before = KpiFit.objects.filter(kpi=row.kpi, source=row.source).first()
        values = {
            field.name: getattr(row, field.name)
            for field in KpiFit._meta.concrete_fields
            if field.name not in ("id", "kpi", "source")
        }
        saved, _made = KpiFit.objects.update_or_create(
            kpi=row.kpi, source=row.source, defaults=values
        )
        kept.append(saved)
        if before is None or _gist(before) != _gist(saved):
            changed.append(saved)
    if changed:
        events.record(
            stream=None,
            kind="kpi_fit_changed",
            sentence=_told(changed),
            actor=by,
            via=via,
            now=now,
            payload={
                "mappings": [
                    {
                        "kpi": row.kpi,
                        "source": row.source,
                        "level": row.level,
                        "findings": [one["kind"] for one in row.findings],
                    }
                    for row in changed
                ]
            },
        )
    return kept


def _gist(row: KpiFit) -> tuple[str, str, tuple[str, ...]]:
    return row.digest, row.level, tuple(one["kind"] for one in row.findings)


def _told(rows: list[KpiFit]) -> str:
    words = {"fine": "fits", "note": "fits", "warning": "fits, with a warning"}
    return (
        "Probed: "
        + "; ".join(
            f"{row.kpi} from {row.source} {words.get(row.level, 'does not fit')}" for row in rows
        )
        + "."
    )


def probe_when_old(
    *,
    policy: UpgradePolicy,
    now: datetime,
    via: str,
    only: Collection[str] | None = None,
    again: bool = True,
) -> None:
    """Probe what the policy watches where the newest probe is old, or found something.

    Not within a transaction. A broken dictionary is told where the plan's names are checked.
    """
    if old := kpis_to_probe(policy, now, only=only, again=again):
        probe(kpis=old, by=None, now=now, via=via)

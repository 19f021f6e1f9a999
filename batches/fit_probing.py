"""Probe mappings of the Kpi dictionary at their sources, and keep what was found.

Sources are asked beside the request, within time limits, and never in a transaction: a monitoring
system that hangs must not lock the database.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches.canonical_json import canonical_json
from batches.configured import dictionary, outbound_rules, secret_environ
from batches.dictionary import Dictionary, KpiMapping
from batches.fit import Facts, Fit, judge
from batches.fit_findings import finding_of
from batches.fit_gate import Probed, Weighed, Whose, weigh
from batches.fit_observation import Observation
from batches.fit_reading import observe
from batches.metric_sources import MetricSource, SourceSpec, build
from batches.models import KpiFit
from batches.surroundings import here
from plans import events
from plans.models import Tenant, User
from plans.permissions import require
from plans.policy import UpgradePolicy
from plans.refusal import BadInput, NotFound

logger = logging.getLogger(__name__)
FRESH = timedelta(minutes=10)
"""How long a probe counts at submit; an older one is made anew."""
READ_SECONDS = 5.0
SOURCE_SECONDS = 15.0
NOT_PROBED = frozenset({"simulated"})
"""Kinds that exist only inside a process: nothing outside can be asked."""
Build = Callable[[SourceSpec], MetricSource]


def _configured(spec: SourceSpec) -> MetricSource:
    return build(spec, environ=secret_environ(), rules=outbound_rules())


def mapping_digest(known: Dictionary, mapping: KpiMapping) -> str:
    """Return what names the entries of the file that a probe was made of."""
    spec = known.sources[mapping.source]
    body: dict[str, Any] = {
        "kpi": asdict(known.kpis[mapping.kpi]),
        "mapping": asdict(mapping),
        "source": {"kind": spec.kind, "options": dict(spec.options)},
    }
    return hashlib.sha256(canonical_json(body)).hexdigest()


def probe(
    *,
    kpis: Collection[str] | None,
    by: User | None,
    now: datetime,
    via: str,
    build_source: Build = _configured,
) -> list[KpiFit]:
    """Probe every mapping of these Kpis (None: of all) and return what is kept of it.

    Raises NotFound for a name that is no Kpi, BadInput where the dictionary is broken.
    """
    if by is not None:
        require(by, "probe")
    known = dictionary()
    mappings = _mappings(known, kpis)
    tenants = list(Tenant.objects.values_list("key", flat=True))
    by_source: dict[str, list[KpiMapping]] = defaultdict(list)
    for mapping in mappings:
        by_source[mapping.source].append(mapping)
    began = here().monotonic()
    observed = (
        here().run(_observe_all(known, by_source, tenants, build_source)) if by_source else {}
    )
    took_ms = round(1000 * (here().monotonic() - began))
    rows = []
    for mapping in mappings:
        definition = known.kpis[mapping.kpi]
        fit = judge(mapping, definition, observed[mapping.source, mapping.kpi], tenants=tenants)
        rows.append(
            KpiFit(
                kpi=mapping.kpi,
                source=mapping.source,
                digest=mapping_digest(known, mapping),
                probed_at=now,
                took_ms=took_ms,
                level=fit.level,
                findings=[finding.to_json() for finding in fit.findings],
                tenants=len(tenants),
                without=list(fit.without),
                facts=asdict(fit.facts),
            )
        )
    return _kept(rows, by=by, now=now, via=via)


def _mappings(known: Dictionary, kpis: Collection[str] | None) -> list[KpiMapping]:
    if kpis is not None and (unknown := known.unknown(kpis)):
        raise NotFound("; ".join(unknown.values()))
    wanted = {kpi.name for name in kpis or () if (kpi := known.kpi(name)) is not None}
    return [
        mapping
        for mapping in sorted(known.mappings, key=lambda one: (one.kpi, one.source))
        if (kpis is None or mapping.kpi in wanted) and _is_probed(known, mapping)
    ]


def _is_probed(known: Dictionary, mapping: KpiMapping) -> bool:
    return known.sources[mapping.source].kind not in NOT_PROBED


async def _observe_all(
    known: Dictionary,
    by_source: Mapping[str, list[KpiMapping]],
    tenants: Collection[str],
    build_source: Build,
) -> dict[tuple[str, str], Observation]:
    """Ask all sources at once; one that hangs takes nothing from the others."""
    told = await asyncio.gather(
        *(
            _observe(known.sources[source], mappings, tenants, build_source)
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
    source, at = build_source(spec), here().now()
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
def _kept(rows: Iterable[KpiFit], *, by: User | None, now: datetime, via: str) -> list[KpiFit]:
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


# What was kept.


def fit_of(row: KpiFit) -> Fit:
    """Return the fit that a row keeps."""
    facts = dict(row.facts)
    facts["bounds"] = tuple(facts.get("bounds", ()))
    facts["values"] = tuple(tuple(one) for one in facts.get("values", ()))
    return Fit(tuple(finding_of(one) for one in row.findings), tuple(row.without), Facts(**facts))


def kept_fits(known: Dictionary) -> dict[tuple[str, str], KpiFit]:
    """Return the newest probe of each mapping as it is written now, by Kpi and source."""
    rows = {(row.kpi, row.source): row for row in KpiFit.objects.all()}
    digests = {(one.kpi, one.source): mapping_digest(known, one) for one in known.mappings}
    return {place: row for place, row in rows.items() if digests.get(place) == row.digest}


def is_fresh(row: KpiFit, now: datetime) -> bool:
    """Tell whether the probe still counts; one from the future is of a clock that was moved."""
    return abs(now - row.probed_at) <= FRESH


def probe_when_old(*, policy: UpgradePolicy, now: datetime, via: str) -> None:
    """Probe what the policy watches where the newest probe is old, or found something.

    Not within a transaction. A broken dictionary is told where the plan's names are checked.
    """
    try:
        known = dictionary()
    except BadInput:
        return
    kept = kept_fits(known)
    old = {
        mapping.kpi
        for name in policy.watched_kpis
        for mapping in known.mappings_for(name)
        if _is_probed(known, mapping) and not _counts(kept.get((mapping.kpi, mapping.source)), now)
    }
    if old:
        probe(kpis=old, by=None, now=now, via=via)


def _counts(row: KpiFit | None, now: datetime) -> bool:
    # Whoever has put right what was found must not wait until it is forgotten.
    return row is not None and is_fresh(row, now) and row.level in ("fine", "note")


def weighed(*, policy: UpgradePolicy, whose: Whose, now: datetime) -> Weighed:
    """Return what the kept probes say about a plan; asks no source."""
    try:
        known = dictionary()
    except BadInput:
        return Weighed()
    kept = kept_fits(known)
    probed = {
        kpi.name: [_probed(known, mapping, kept, now) for mapping in known.mappings_for(kpi.name)]
        for name in policy.watched_kpis
        if (kpi := known.kpi(name)) is not None
    }
    return weigh(policy, known, probed, whose=whose)


def _probed(
    known: Dictionary,
    mapping: KpiMapping,
    kept: Mapping[tuple[str, str], KpiFit],
    now: datetime,
) -> Probed:
    if not _is_probed(known, mapping):
        return Probed(mapping, Fit(()))
    row = kept.get((mapping.kpi, mapping.source))
    if row is None:
        return Probed(mapping, None)
    return Probed(mapping, fit_of(row), is_fresh(row, now))

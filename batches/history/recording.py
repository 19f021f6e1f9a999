"""Record every Kpi of all tenants once a minute, whether a plan runs or not.

The watch only asks for it; the hands of the paperwork read and write, so that a tick costs nothing.
Tenants that a live plan has touched are left out: history is what tenants are like while nothing is
released. It may be done twice, or at the same time as itself: the cursor moves by compare-and-set.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django_q.tasks import async_task

from batches.configured import dictionary, outbound_rules, secret_environ
from batches.history.rollups import merged, packed, rolled, unpacked
from batches.kpis.dictionary import Dictionary, KpiDefinition, KpiMapping
from batches.metric_sources import MetricUnavailable, Selector, SourceSpec, build
from batches.models import KpiHistoryCursor, KpiRollup, TenantUpgrade
from batches.pushes.series import KeptSeries
from batches.runtime import surroundings
from batches.sources.increments import LookSample, take_look
from batches.sources.reader import DEFAULT_TIMEOUT_SECONDS, GRACE_SECONDS, Build, SourceAnswer
from batches.sources.readings import tells_of
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Tenant
from plans.refusal import BadInput

logger = logging.getLogger(__name__)

MINUTE, FIVE_MINUTES, HOUR = 60, 300, 3600
TASK = "batches.tasks.record_history"
CLUSTER = "paperwork"
SOON_SECONDS = 30.0
"""A reading so short after the one before is a task that was handed out twice."""
OLDEST_SECONDS = 180.0
"""Counters that were read longer ago are no base for an increment: it would cover a gap."""
NOTHING_TOLD = "its sources told nothing of any tenant"

_asked: dict[str, float] = {}


def hand_out(now: datetime) -> None:
    """Ask the paperwork for a reading, once a minute; a chore of the watch."""
    if not settings.KPI_HISTORY:
        return
    clock = surroundings.here().monotonic()
    if clock - _asked.get("at", clock - MINUTE) < MINUTE:
        return
    _asked["at"] = clock
    if known_sources():
        async_task(TASK, cluster=CLUSTER)


def known_sources() -> bool:
    """Tell whether the dictionary can be used and reads anything outside this process."""
    try:
        known = dictionary()
    except BadInput:
        # The watch says so for every live plan, and the system check at each start.
        return False
    return any(known.sources[mapping.source].kind != "simulated" for mapping in known.mappings)


def record(*, build: Build | None = None) -> list[str]:
    """Read all sources once and keep what they say; return the Kpis of which something was kept."""
    now = surroundings.here().now()
    soon = now - timedelta(seconds=SOON_SECONDS)
    if KpiHistoryCursor.objects.filter(at__gt=soon, at__lte=now).exists():
        return []
    known = dictionary()
    tenants = _left_alone()
    if not tenants:
        return []
    answers = surroundings.here().run(_read(known, build or _configured))
    kept = [
        name
        for name, definition in known.kpis.items()
        if _keep(known, definition, answers, tenants)
    ]
    for name in kept:
        roll_up(name, now)
    return kept


def _configured(spec: SourceSpec) -> Any:
    return build(spec, environ=secret_environ(), rules=outbound_rules(), store=KeptSeries())


def _left_alone() -> list[str]:
    """Return the tenants that no live plan has upgraded or is calling."""
    touched = (
        TenantUpgrade.objects.touched()
        .filter(plan__state__in=LIVE_PLAN_STATES)
        .exclude(state__in=("rolled_back", "excluded"))
    )
    return list(
        Tenant.objects.exclude(key__in=touched.values("tenant_key"))
        .order_by("key")
        .values_list("key", flat=True)
    )


async def _read(known: Dictionary, build_source: Build) -> dict[str, SourceAnswer]:
    wanted: dict[str, dict[Selector, None]] = {}
    for mapping in known.mappings:
        wanted.setdefault(mapping.source, {}).update(dict.fromkeys(mapping.selectors))
    answers = await asyncio.gather(
        *(
            _read_one(known.sources[name], list(selectors), build_source)
            for name, selectors in wanted.items()
        )
    )
    return {answer.source: answer for answer in answers}


async def _read_one(
    spec: SourceSpec, selectors: list[Selector], build_source: Build
) -> SourceAnswer:
    at = surroundings.here().now()
    timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS))
    try:
        source = build_source(spec)
    except MetricUnavailable as unavailable:
        return SourceAnswer(spec.name, at, None, unavailable)
    try:
        async with asyncio.timeout(timeout + GRACE_SECONDS):
            return SourceAnswer(spec.name, at, await source.read(selectors, timeout=timeout), None)
    except TimeoutError:
        late = MetricUnavailable("timeout", f"no answer within {timeout:g} s")
        return SourceAnswer(spec.name, at, None, late)
    except MetricUnavailable as unavailable:
        return SourceAnswer(spec.name, at, None, unavailable)
    finally:
        await source.close()


def _keep(
    known: Dictionary,
    definition: KpiDefinition,
    answers: Mapping[str, SourceAnswer],
    tenants: list[str],
) -> bool:
    """Keep one Kpi's reading by the first of its mappings whose source told something of it."""
    mappings = known.mappings_for(definition.name)
    telling = (m for m in mappings if _tells(m, definition, answers[m.source], tenants))
    mapping = next(telling, None)
    before = KpiHistoryCursor.objects.filter(kpi=definition.name).first()
    if mapping is None:
        if mappings and before is not None:
            silent = answers[mappings[0].source].unavailable
            trouble = silent.sentence if silent is not None else NOTHING_TOLD
            KpiHistoryCursor.objects.filter(pk=before.pk).update(trouble=trouble[:300])
        return False
    look, after = _look(mapping, definition, answers[mapping.source], tenants, before)
    try:
        with transaction.atomic():
            if not _move_on(definition.name, look, after, before):
                return False
            if look.control:
                _add(definition.name, look)
    except IntegrityError:
        # Another process has made the first row of this Kpi or span just now.
        logger.info("The reading of %s was kept by somebody else.", definition.name)
        return False
    return True


def _tells(
    mapping: KpiMapping, definition: KpiDefinition, answer: SourceAnswer, tenants: list[str]
) -> bool:
    return answer.series is not None and tells_of(
        {selector: answer.series[selector] for selector in mapping.selectors},
        mapping,
        definition,
        at=answer.at,
        oldest=timedelta(seconds=OLDEST_SECONDS),
        tenants=frozenset(tenants),
    )


def _look(
    mapping: KpiMapping,
    definition: KpiDefinition,
    answer: SourceAnswer,
    tenants: list[str],
    before: KpiHistoryCursor | None,
) -> tuple[LookSample, dict[str, Any]]:
    goes_on = before is not None and before.source == mapping.source
    return take_look(
        mapping=mapping,
        definition=definition,
        answers={selector: (answer.series or {})[selector] for selector in mapping.selectors},
        at=answer.at,
        upgraded={},
        control=tenants,
        target_version="",
        cursor=before.cursor if before is not None and goes_on else {},
        max_age_seconds=OLDEST_SECONDS,
    )


def _move_on(
    kpi: str, look: LookSample, after: dict[str, Any], before: KpiHistoryCursor | None
) -> bool:
    """Move the cursor from where it was read; False where somebody else has moved it since."""
    moved = {
        "source": look.source,
        "at": look.at,
        "cursor": after,
        "trouble": look.sentence[:300] if not look.ok else "",
    }
    if before is None:
        KpiHistoryCursor.objects.create(kpi=kpi, **moved)
        return True
    there = KpiHistoryCursor.objects.filter(pk=before.pk, at=before.at, source=before.source)
    return there.update(**moved) == 1


def _add(kpi: str, look: LookSample) -> None:
    """Add a look to the minute in which it was taken."""
    at = span_start(look.at, MINUTE)
    seen = rolled(look.control)
    row = KpiRollup.objects.filter(kpi=kpi, step=MINUTE, at=at).first()
    if row is not None:
        seen = merged([unpacked(bytes(row.body)), seen])
    _write(kpi, MINUTE, at, seen)


def _write(kpi: str, step: int, at: datetime, seen: Any) -> None:
    names = {tenant for tenants in seen.values() for tenant in tenants}
    KpiRollup.objects.update_or_create(
        kpi=kpi, step=step, at=at, defaults={"tenants": len(names), "body": packed(seen)}
    )


def span_start(moment: datetime, step: int) -> datetime:
    """Return where the span of this many seconds begins that holds the moment."""
    return datetime.fromtimestamp(moment.timestamp() // step * step, moment.tzinfo)


def roll_up(kpi: str, now: datetime) -> None:
    """Make the five minutes and hours that are over and not made yet; twice changes nothing.

    Each is made as a whole from what it consists of, in a transaction of its own.
    """
    for step, finer in ((FIVE_MINUTES, MINUTE), (HOUR, FIVE_MINUTES)):
        ends = span_start(now, step)
        parts = KpiRollup.objects.filter(kpi=kpi, step=finer, at__lt=ends)
        newest = (
            KpiRollup.objects.filter(kpi=kpi, step=step)
            .order_by("-at")
            .values_list("at", flat=True)
        ).first()
        if newest is not None:
            parts = parts.filter(at__gte=newest + timedelta(seconds=step))
        for at in sorted({span_start(at, step) for at in parts.values_list("at", flat=True)}):
            within = KpiRollup.objects.filter(
                kpi=kpi, step=finer, at__gte=at, at__lt=at + timedelta(seconds=step)
            )
            bodies = [unpacked(bytes(body)) for body in within.values_list("body", flat=True)]
            with transaction.atomic():
                _write(kpi, step, at, merged(bodies))

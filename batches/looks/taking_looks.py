"""What a source answered -> one look of one plan at one Kpi, kept as it came."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batches.configured import dictionary
from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.looks.kept_rows import put
from batches.looks.recall import Watched, is_missing, kept_seconds
from batches.metric_sources import MetricUnavailable
from batches.models import KpiCursor, KpiSample, TenantUpgrade
from batches.sources.increments import LookSample, failed_look, oldest_reading, take_look
from batches.sources.reader import SourceAnswer
from batches.sources.readings import tells_of
from plans.models import Plan

# Whoever was left out before anything was called goes on as before, and is worth comparing.
UNTOUCHED = ("pending", "excluded")


@dataclass(frozen=True, slots=True)
class TenantsNow:
    """Who of the plan runs the new version since when, who the old one, and the batch of each.

    Whoever is between the two, was taken back or is a person's belongs to neither: its requests
    were answered by both versions.
    """

    upgraded: Mapping[str, datetime]
    control: Sequence[str]
    batch_of: Mapping[str, int]


def tenants_now(plan: Plan, at: datetime) -> TenantsNow:
    """Return the plan's tenants as a look of that moment sees them."""
    upgrades = list(
        TenantUpgrade.objects.filter(plan=plan).values_list(
            "tenant_key", "state", "upgraded_at", "batch_id", "touched_at"
        )
    )
    # Nobody was upgraded later than now: such a moment is of a clock that was moved since.
    upgraded = {
        key: min(since, at)
        for key, state, since, _batch, _touched in upgrades
        if state == "upgraded" and since
    }
    return TenantsNow(
        upgraded=upgraded,
        control=[
            key
            for key, state, _since, _batch, touched in upgrades
            if state in UNTOUCHED and touched is None
        ],
        batch_of={key: batch for key, _state, _since, batch, _touched in upgrades},
    )


def take(
    plan: Plan,
    watched: Watched,
    kpi: str,
    mapping: KpiMapping,
    answer: SourceAnswer,
    tenants: TenantsNow,
) -> LookSample:
    """Return the look that the answer gives, with its sample and cursor written."""
    definition = dictionary().kpi(kpi)
    if definition is None:
        raise KeyError(kpi)
    cursor = KpiCursor.objects.filter(plan=plan, kpi=kpi, source=answer.source).first()
    if answer.series is None:
        unavailable = answer.unavailable
        look = failed_look(
            kpi=kpi,
            source=answer.source,
            at=answer.at,
            cause=unavailable.cause if unavailable else "source_down",
            sentence=unavailable.sentence if unavailable else "",
        )
    else:
        look, after = take_look(
            mapping=mapping,
            definition=definition,
            answers={s: answer.series[s] for s in mapping.selectors},
            at=answer.at,
            upgraded=tenants.upgraded,
            control=tenants.control,
            target_version=plan.release.version,
            cursor=cursor.cursor if cursor is not None else {},
            max_age_seconds=oldest_reading(
                watched.look_seconds, watched.known.sources.get(answer.source)
            ),
        )
        put(
            KpiCursor,
            {"plan": plan, "kpi": kpi},
            {"source": answer.source, "at": answer.at, "cursor": after},
        )
    if kpi not in plan.metric_bindings:
        _bind(plan, watched, mapping, definition, answer, tenants)
    missing = is_missing(look)
    KpiSample.objects.create(
        plan=plan,
        kpi=kpi,
        at=look.at,
        source=look.source,
        ok=not missing,
        cause=(look.sentence or look.cause)[:300] if missing else "",
        look=look.to_json(),
        asked=mapping.asked,
    )
    return look


def _bind(
    plan: Plan,
    watched: Watched,
    mapping: KpiMapping,
    definition: KpiDefinition,
    answer: SourceAnswer,
    tenants: TenantsNow,
) -> None:
    """Keep the first mapping whose source tells something of the plan; else try the next one.

    A source that answers with nothing is never kept: another one may know the Kpi.
    """
    everybody = {*tenants.upgraded, *tenants.control}
    if not everybody:
        return
    kpi = definition.name
    oldest = oldest_reading(watched.look_seconds, watched.known.sources.get(answer.source))
    if answer.series is not None and tells_of(
        {s: answer.series[s] for s in mapping.selectors},
        mapping,
        definition,
        at=answer.at,
        oldest=timedelta(seconds=oldest),
        tenants=everybody,
    ):
        plan.metric_bindings = {**plan.metric_bindings, kpi: mapping.source}
        Plan.objects.filter(pk=plan.pk).update(metric_bindings=plan.metric_bindings)
    else:
        watched.candidates[kpi] = watched.candidates.get(kpi, 0) + 1


def remember(watched: Watched, kpi: str, look: LookSample) -> None:
    """Keep the look at hand for as long as a guardrail's window reaches back."""
    watched.unanswered_since.pop(kpi, None)
    looks = watched.looks.setdefault(kpi, deque())
    looks.append(look)
    longest = kept_seconds(watched.guards)
    while looks and look.at - looks[0].at > timedelta(seconds=longest):
        looks.popleft()
    if is_missing(look):
        watched.missing_since.setdefault(kpi, look.at)
        watched.missing_words[kpi] = look.sentence or look.cause
    else:
        watched.missing_since.pop(kpi, None)


def unseen(answer: SourceAnswer) -> SourceAnswer:
    """Return the answer as a rehearsal of missing data sees it."""
    gone = MetricUnavailable("source_down", "left out on purpose by the drill")
    return replace(answer, series=None, unavailable=gone)

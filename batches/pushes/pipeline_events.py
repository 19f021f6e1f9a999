"""Take in what a pipeline tells: series of Kpis, and the timelines of the plans that it names."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from batches.metric_sources import SourceSpec
from batches.models import PipelineEvent, PipelineRun, PushedSeries, PushedSource
from batches.pushes.cdevents import PipelineNews
from batches.pushes.pipeline_metrics import Change, Run, changes_of
from batches.pushes.points import FUTURE_TOLERANCE
from batches.pushes.pushing import MAX_SERIES, bucket_after, locked_source
from plans.models import Plan, Tenant, User
from plans.people.permissions import may, require, require_over
from plans.refusal import BadInput
from plans.trail import events

EVENTS_PER_SECOND: Final = 20
LONGEST_DELAY: Final = timedelta(hours=24)
FOLLOWED: Final = (
    "draft",
    "awaiting_approval",
    "approved",
    "running",
    "paused",
    "rolling_back",
    "needs_hand",
)
"""Plans whose timeline still is of use to somebody who decides."""


@transaction.atomic
def take_event(
    *, spec: SourceSpec, news: PipelineNews, by: User, now: datetime, via: str
) -> dict[str, Any]:
    """Keep the event once: count it, and tell of it on the plans of the release that it names.

    The same event (source and id) changes nothing and gets the same answer. Raises NotAllowed,
    TooFast, BadInput for an event that is late or of the future.
    """
    require(by, "push")
    _require_its_tenant(news, by)
    if (known := _known(news)) is not None:
        return _answer(known, known_already=True)
    _check_time(news, now)
    plans = [Plan.objects.locked(pk) for pk in _plans_of(news, by)] if news.for_timeline else []
    source = locked_source(spec.name)
    # Under the source's lock: of two at once with the same id one is here by now.
    if (known := _known(news)) is not None:
        return _answer(known, known_already=True)
    bucket = bucket_after(spec, source, 1, now, per_second=EVENTS_PER_SECOND)
    source.bucket_left, source.bucket_at = bucket.left, bucket.at
    changes = changes_of(news, _run(news, now))
    row = PipelineEvent.objects.create(
        origin=news.origin,
        event_id=news.event_id,
        kind=news.kind,
        sentence=news.sentence[:500],
        outcome=news.outcome,
        subject_id=news.subject_id,
        tenant=news.tenant,
        plugin=news.plugin,
        version=news.version,
        at=news.at,
        received_at=now,
        plans=[plan.external_id for plan in plans],
    )
    _apply(spec, source, changes, news)
    source.accepted += 1
    source.last_at = now
    source.last_by = by.get_full_name()[:120]
    source.save()
    for plan in plans:
        events.record(
            stream=plan,
            kind="pipeline_event",
            sentence=row.sentence,
            actor=by,
            via=via,
            now=now,
            payload={
                "origin": news.origin,
                "id": news.event_id,
                "type": news.kind,
                "subject": news.subject_id,
                "outcome": news.outcome,
                "tenant": news.tenant,
                "at": news.at.isoformat(),
            },
        )
    return _answer(row, known_already=False, metrics=changes)


def _require_its_tenant(news: PipelineNews, by: User) -> None:
    """Raise NotAllowed when the event tells of a tenant that is not the sender's to tell of."""
    if not news.tenant:
        return
    tenant = Tenant.objects.filter(key=news.tenant).first()
    # One that the console does not know carries no labels: only who sends for all may name it.
    require_over(by, "push", [tenant.labels if tenant is not None else {}])


def _known(news: PipelineNews) -> PipelineEvent | None:
    return PipelineEvent.objects.filter(origin=news.origin, event_id=news.event_id).first()


def _answer(
    row: PipelineEvent, *, known_already: bool, metrics: Sequence[Change] = ()
) -> dict[str, Any]:
    return {
        "event": str(row.pk),
        "known_already": known_already,
        "plans": row.plans,
        "metrics": sorted({change.metric for change in metrics}),
    }


def _check_time(news: PipelineNews, now: datetime) -> None:
    if news.at > now + FUTURE_TOLERANCE:
        ahead = (news.at - now).total_seconds()
        raise BadInput([f"future: the event is {ahead:.0f} s ahead; set the sender's clock"])
    if now - news.at > LONGEST_DELAY:
        raise BadInput(["late: the event is more than 24 hours old; nobody decides by it any more"])


def _plans_of(news: PipelineNews, by: User) -> list[uuid.UUID]:
    """Return the plans that the event is about, in the order in which plans are locked."""
    named = Q()
    if news.digest:
        named |= Q(release__digest__in=(news.digest, f"sha256:{news.digest}"))
    if news.plugin and news.version:
        named |= Q(plugin__key=news.plugin, release__version=news.version)
    if news.plan:
        named |= Q(external_id=news.plan)
    if not named:
        return []
    found = Plan.objects.filter(named, state__in=FOLLOWED).order_by("pk")
    return [plan.pk for plan in found if may(by, "push", plan)]


def _run(news: PipelineNews, now: datetime) -> Run:
    """Note what the event says of a run, and return what was told of it before."""
    if news.predicate not in ("started", "finished"):
        return Run()
    if news.predicate == "started":
        PipelineRun.objects.update_or_create(
            origin=news.origin,
            kind=news.subject,
            run_id=news.subject_id,
            defaults={"started_at": news.at, "seen_at": now},
        )
        return Run()
    good = news.good
    if news.subject == "testcaserun" and news.suite_run and good is not None:
        suite, _new = PipelineRun.objects.get_or_create(
            origin=news.origin,
            kind="testsuiterun",
            run_id=news.suite_run,
            defaults={"seen_at": now},
        )
        suite.passed += good
        suite.failed += not good
        suite.seen_at = now
        suite.save()
    row = PipelineRun.objects.filter(
        origin=news.origin, kind=news.subject, run_id=news.subject_id
    ).first()
    return Run() if row is None else Run(row.started_at, row.passed, row.failed)


def _apply(
    spec: SourceSpec, source: PushedSource, changes: Sequence[Change], news: PipelineNews
) -> None:
    most = int(spec.options.get("max_series", MAX_SERIES))
    for change in changes:
        identity = hashlib.sha256("\n".join(change.identity).encode()).hexdigest()
        row = PushedSeries.objects.filter(source=spec.name, identity=identity).first()
        if row is None:
            if source.series >= most:
                source.refused += 1
                source.last_refusal = f"too_many_series: '{spec.name}' keeps {most}"
                source.last_refused_at = news.at
                continue
            source.series += 1
            row = PushedSeries(
                source=spec.name,
                identity=identity,
                metric=change.metric,
                kind="gauge" if change.value is not None else "counter",
                at=news.at,
                raw=[0.0],
                base=[0.0],
            )
        if change.value is None:
            row.raw = [float(row.raw[0]) + change.add]
        elif news.at >= row.at:
            row.raw = [change.value]
        else:
            # An older run that was told of later says nothing about now.
            continue
        row.labels = dict(change.labels)
        row.at = max(row.at, news.at)
        row.save()

"""Take in what somebody pushes to a metric source."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from batches.configured import dictionary
from batches.metric_sources import SourceSpec
from batches.models import PushedSeries, PushedSource, PushReceipt
from batches.pushes import limits
from batches.pushes.limits import Bucket
from batches.pushes.points import KeptPoint, PointRefused, PushedPoint, merge
from plans.models import Tenant, User
from plans.people.permissions import reach_of, require
from plans.refusal import BadInput, Refused

CHUNK: Final = 500
"""So many points in one transaction: rollbacks write to the same database."""
MAX_SERIES: Final = 50_000
POINTS_PER_SECOND: Final = 2_000.0
REFUSALS_SHOWN: Final = 50
_COLUMNS: Final = ("metric", "labels", "kind", "delta", "at", "start", "raw", "base", "bounds")


class TooFast(Refused):
    """More comes in than the source takes; `wait` says in how many seconds there is room."""

    status = 429
    default_code = "too_fast"

    def __init__(self, sentence: str, *, wait: float) -> None:
        super().__init__(sentence)
        self.wait = wait


class SourcesUnreadable(Refused):
    """The Kpi dictionary is broken: what is sent now may be sent again when it is mended."""

    status = 503
    default_code = "sources_unreadable"
    wait = 30.0


class KeyUsedOtherwise(Refused):
    """The idempotency key came with another body before."""

    status = 422
    default_code = "idempotency_key_reused"


@dataclass(slots=True)
class Intake:
    """What became of the points of one request."""

    source: str
    accepted: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    refused_total: int = 0

    def refuse(self, index: int, code: str, detail: str) -> None:
        """Remember a refusal; the first ones are told one by one, all are counted."""
        self.refused_total += 1
        if len(self.refused) < REFUSALS_SHOWN:
            self.refused.append({"index": index, "code": code, "detail": detail})

    def to_json(self) -> dict[str, Any]:
        """Return the answer."""
        return {
            "source": self.source,
            "accepted": self.accepted,
            "refused": self.refused,
            "refused_total": self.refused_total,
        }


def take_points(
    *,
    spec: SourceSpec,
    points: Sequence[PushedPoint],
    by: User,
    now: datetime,
    key: str = "",
    digest: str = "",
    refused: Sequence[tuple[int, str, str]] = (),
) -> dict[str, Any]:
    """Keep the points that can be used and name the others; return the answer.

    Each chunk is one transaction, and a point that is here already changes nothing: a request that
    broke off half-way is sent again as a whole. With a key the same request gets the same answer.
    Raises NotAllowed, TooFast, KeyUsedOtherwise.
    """
    require(by, "push")
    if key and (known := _answered(spec.name, key, digest)) is not None:
        return known
    intake = Intake(spec.name)
    for index, code, detail in refused:
        intake.refuse(index, code, detail)
    numbered = _of_their_tenants(spec.name, points, by, intake)
    # Asked without a lock first: whoever sends too fast must not keep writers waiting as well.
    bucket_after(spec, PushedSource.objects.filter(name=spec.name).first(), len(points), now)
    chunks = [numbered[start : start + CHUNK] for start in range(0, len(numbered), CHUNK)] or [[]]
    for turn, chunk in enumerate(chunks):
        with transaction.atomic():
            source = locked_source(spec.name)
            if turn == 0:
                bucket = bucket_after(spec, source, len(points), now)
                source.bucket_left, source.bucket_at = bucket.left, bucket.at
            _take_chunk(spec, source, chunk, intake, now)
            if turn == len(chunks) - 1:
                # Under the source's lock: of two at once with the same key one is here already.
                if key and (known := _answered(spec.name, key, digest)) is not None:
                    return known
                _tell(source, intake, by, now)
                if key:
                    PushReceipt.objects.create(
                        source=spec.name, key=key, digest=digest, answer=intake.to_json(), at=now
                    )
            source.save()
    return intake.to_json()


def _of_their_tenants(
    source: str, points: Sequence[PushedPoint], by: User, intake: Intake
) -> list[tuple[int, PushedPoint]]:
    """Return the points of tenants for which the person may send; name the others."""
    numbered = list(enumerate(points))
    reach = reach_of(by, "push")
    if reach.everything:
        return numbered
    theirs = set(Tenant.objects.within(reach).values_list("key", flat=True))
    named_by = {one.tenant_label for one in dictionary().mappings if one.source == source}
    kept: list[tuple[int, PushedPoint]] = []
    for index, point in numbered:
        named = {point.labels[label] for label in named_by if label in point.labels}
        if named and named <= theirs:
            kept.append((index, point))
        else:
            intake.refuse(
                index,
                "not_your_tenant",
                f"not_your_tenant: you send for tenants with {reach.words()} only; name one of"
                f" them in the label {' or '.join(sorted(named_by)) or 'tenant'}",
            )
    return kept


def bucket_after(
    spec: SourceSpec,
    row: PushedSource | None,
    points: int,
    now: datetime,
    *,
    per_second: float = POINTS_PER_SECOND,
) -> Bucket:
    """Return the source's bucket without the points. Raises TooFast."""
    per_second = float(spec.options.get("points_per_second", per_second))
    known = None
    if row is not None and row.bucket_left is not None and row.bucket_at is not None:
        known = Bucket(row.bucket_left, row.bucket_at)
    bucket = limits.take(known, points, per_second=per_second, now=now)
    if isinstance(bucket, Bucket):
        return bucket
    raise TooFast(
        f"'{spec.name}' takes {per_second:g} per second; send again in"
        f" {max(1, math.ceil(bucket))} s, or raise points_per_second of the source.",
        wait=bucket,
    )


def locked_source(name: str) -> PushedSource:
    """Return the source's row under its lock; what is pushed to one source comes one by one."""
    PushedSource.objects.get_or_create(name=name)
    return PushedSource.objects.select_for_update(no_key=True).get(name=name)


def _take_chunk(
    spec: SourceSpec,
    source: PushedSource,
    chunk: Sequence[tuple[int, PushedPoint]],
    intake: Intake,
    now: datetime,
) -> None:
    identified = [(index, point, identity_of(point)) for index, point in chunk]
    known = {
        row.identity: _kept(row)
        for row in PushedSeries.objects.filter(
            source=spec.name, identity__in={identity for _i, _p, identity in identified}
        )
    }
    most = int(spec.options.get("max_series", MAX_SERIES))
    oldest = timedelta(seconds=spec.stale_seconds)
    changed: dict[str, tuple[PushedPoint, KeptPoint]] = {}
    for index, point, identity in identified:
        before = known.get(identity)
        if before is None and source.series >= most:
            intake.refuse(
                index,
                "too_many_series",
                f"too_many_series: '{spec.name}' keeps {most}; send fewer labels, or raise"
                " max_series of the source",
            )
            continue
        try:
            after = merge(before, point, now=now, oldest=oldest)
        except PointRefused as refused:
            intake.refuse(index, refused.code, refused.sentence)
            continue
        intake.accepted += 1
        source.series += before is None
        if after is not before:
            known[identity] = after
            changed[identity] = (point, after)
    _write(spec.name, changed)


def _tell(source: PushedSource, intake: Intake, by: User, now: datetime) -> None:
    source.accepted += intake.accepted
    source.refused += intake.refused_total
    source.last_at = now
    source.last_by = by.get_full_name()[:120]
    if intake.refused:
        source.last_refusal = str(intake.refused[0]["detail"])[:300]
        source.last_refused_at = now


def identity_of(point: PushedPoint) -> str:
    """Return what tells a series from all others of its source."""
    named = [point.metric, *sorted(point.labels.items())]
    return hashlib.sha256(json.dumps(named, ensure_ascii=False).encode()).hexdigest()


def _kept(row: PushedSeries) -> KeptPoint:
    return KeptPoint(
        kind=row.kind,  # type: ignore[arg-type]
        at=row.at,
        raw=tuple(map(float, row.raw)),
        base=tuple(map(float, row.base)),
        bounds=None if row.bounds is None else tuple(map(float, row.bounds)),
        start=row.start,
        delta=row.delta,
    )


def _write(source: str, changed: Mapping[str, tuple[PushedPoint, KeptPoint]]) -> None:
    PushedSeries.objects.bulk_create(
        [
            PushedSeries(
                source=source,
                identity=identity,
                metric=point.metric,
                labels=dict(point.labels),
                kind=after.kind,
                delta=after.delta,
                at=after.at,
                start=after.start,
                raw=_written(after.raw),
                base=_written(after.base),
                bounds=None if after.bounds is None else list(after.bounds),
            )
            for identity, (point, after) in changed.items()
        ],
        update_conflicts=True,
        unique_fields=["source", "identity"],
        update_fields=_COLUMNS,
    )


def _written(values: tuple[float, ...]) -> list[float | str]:
    """Return the values for a JSON column, which knows no NaN; float() reads the words back."""
    return [value if math.isfinite(value) else str(value) for value in values]


def _answered(source: str, key: str, digest: str) -> dict[str, Any] | None:
    receipt = PushReceipt.objects.filter(source=source, key=key).first()
    if receipt is None:
        return None
    if receipt.digest != digest:
        raise KeyUsedOtherwise(
            "This Idempotency-Key came with other samples before; take a new key for each batch."
        )
    answer: dict[str, Any] = receipt.answer
    return answer


def push_source(name: str | None, *, kind: str) -> SourceSpec:
    """Return the dictionary's source of that kind and name, or its only one.

    Raises BadInput where there is none, SourcesUnreadable while the dictionary is broken.
    """
    try:
        sources = dictionary().sources
    except BadInput as broken:
        raise SourcesUnreadable(
            "The Kpi dictionary of the console cannot be read; send again when it is mended."
        ) from broken
    able = {spec.name: spec for spec in sources.values() if spec.kind == kind}
    if not able:
        raise BadInput(
            [f'the Kpi dictionary has no source of kind {kind}; add {{"kind": "{kind}"}} to it']
        )
    if name is None and len(able) == 1:
        return next(iter(able.values()))
    if name is None:
        raise BadInput([f"source: say which one; there are {', '.join(sorted(able))}"])
    if name not in able:
        known = ", ".join(sorted(able))
        raise BadInput([f"source: no source of kind {kind} is called {name!r}; there are {known}"])
    return able[name]

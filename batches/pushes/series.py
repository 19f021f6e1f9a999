"""Pushed series as the watch reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection

from batches.metric_sources import MetricUnavailable, Series
from batches.models import PushedSeries
from batches.runtime import surroundings
from plans.database_away import DATABASE_AWAY

BUCKET, COUNT = "_bucket", "_count"


class KeptSeries:
    """The table of pushed series (PushedStore)."""

    def current(
        self, source: str, metrics: Sequence[str], *, stale_seconds: float
    ) -> dict[str, list[Series]]:
        """Return the series of each metric that were sent lately enough.

        A histogram is read by its name (or NAME_bucket) as buckets with `le`, and by NAME_count as
        how many there were in all. Raises MetricUnavailable, also where nothing of the whole source
        is new enough: then a plan may try the Kpi's next mapping.
        """
        with _from_any_thread():
            return self._current(source, metrics, stale_seconds)

    def names(self, source: str) -> tuple[str, ...]:
        """Return the metrics that are kept; a histogram also by NAME_bucket and NAME_count."""
        with _from_any_thread():
            rows = PushedSeries.objects.filter(source=source).order_by()
            kept = sorted(set(rows.values_list("metric", "kind")))
        ends = {"histogram": ("", BUCKET, COUNT)}
        return tuple(name + end for name, kind in kept for end in ends.get(kind, ("",)))

    @staticmethod
    def _current(
        source: str, metrics: Sequence[str], stale_seconds: float
    ) -> dict[str, list[Series]]:
        oldest = surroundings.here().now() - timedelta(seconds=stale_seconds)
        named = {*metrics, *(stem for name in metrics for stem in _stems(name))}
        rows = PushedSeries.objects.filter(source=source, metric__in=named, at__gte=oldest)
        cells = rows.values_list("metric", "labels", "raw", "base", "bounds", "at")
        found: dict[str, list[Series]] = {name: [] for name in metrics}
        wanted = frozenset(metrics)
        for row in cells.iterator(chunk_size=2000):
            for name, series in _series(*row):
                if name in wanted:
                    found[name].append(series)
        if not any(found.values()) and not _anything(source, oldest):
            raise MetricUnavailable(
                "name_gone", f"nothing was sent to {source} in the last {stale_seconds:g} s"
            )
        return found


@contextmanager
def _from_any_thread() -> Iterator[None]:
    try:
        yield
    except DATABASE_AWAY as away:
        raise MetricUnavailable("source_down", "the console's database is away") from away
    finally:
        # A connection belongs to its thread, and nobody knows which one reads next.
        if not connection.in_atomic_block:
            connection.close()


def _anything(source: str, oldest: datetime) -> bool:
    return PushedSeries.objects.filter(source=source, at__gte=oldest).exists()


def _stems(name: str) -> list[str]:
    return [name.removesuffix(end) for end in (BUCKET, COUNT) if name.endswith(end)]


def _series(
    metric: str,
    labels: dict[str, str],
    raw: list[float | str],
    base: list[float | str],
    bounds: list[float] | None,
    at: datetime,
) -> Iterator[tuple[str, Series]]:
    values = [float(before) + float(now) for before, now in zip(base, raw, strict=True)]
    if bounds is None:
        yield metric, Series(labels, values[0], at)
        return
    total = 0.0
    for bound, count in zip([*bounds, "+Inf"], values, strict=True):
        total += count
        one = Series({**labels, "le": str(bound)}, total, at)
        yield metric, one
        yield metric + BUCKET, one
    yield metric + COUNT, Series(labels, total, at)

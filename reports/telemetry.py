"""The console's own numbers for Prometheus, read from the database at each scrape.

Nothing is counted in a process: any web process answers the same, and a restart loses nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db.models import Count, Max, Q
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from batches.models import Alert, Batch, Heartbeat, Rollback, RollbackDrill
from batches.rollout.success_rate import DAYS, success_rates
from plans.models import Event, Plan, TrailCheck
from plans.trail.checkpoints import newest

BATCH_MINUTES = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0)
ROLLBACK_MS = (1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 300_000, 600_000)
DRILL_SECONDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0)
QUOTE_RATIOS = (0.25, 0.5, 0.67, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0)
NEVER = float("inf")


def exposition(now: datetime) -> bytes:
    """Return all metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(ConsoleCollector(now))
    return generate_latest(registry)


class ConsoleCollector(Collector):
    """Reads every family from the database."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or timezone.now()

    def collect(self) -> Iterator[Metric]:
        """Yield the families, one or two queries each."""
        yield self._success_rate()
        yield self._batch_minutes()
        yield self._rollback_ms()
        yield from self._drills()
        yield self._quote_ratio()
        yield self._alerts()
        yield self._pauses()
        yield self._plans()
        yield from self._trail()
        yield from self._watch()

    def describe(self) -> Iterable[Metric]:
        """Say nothing, so that registering does not read the database."""
        return ()

    def _success_rate(self) -> Metric:
        family = GaugeMetricFamily(
            "version_upgrade_success_rate",
            f"Tenants on target and read back / tenants attempted, last {DAYS} days.",
            labels=["plugin"],
        )
        for plugin, rate in success_rates(self.now).items():
            family.add_metric([plugin], rate.share)
        return family

    def _batch_minutes(self) -> Metric:
        family = HistogramMetricFamily(
            "version_upgrade_batch_duration_minutes",
            "How long a batch called its tenants, without its soak and its waits for openings.",
            labels=["plugin"],
        )
        minutes: dict[str, list[float]] = defaultdict(list)
        rows = Batch.objects.filter(calling_since__isnull=False, calls_done_at__isnull=False)
        for plugin, began, ended, waited in rows.values_list(
            "plan__plugin__key", "calling_since", "calls_done_at", "waited_seconds"
        ).iterator():
            # The filter has left no open end; the types of the columns do not know.
            if began is not None and ended is not None:
                minutes[plugin].append(((ended - began).total_seconds() - waited) / 60)
        for plugin, values in sorted(minutes.items()):
            family.add_metric([plugin], *_histogram(values, BATCH_MINUTES))
        return family

    def _rollback_ms(self) -> Metric:
        family = HistogramMetricFamily(
            "version_rollback_duration_ms",
            "From the trigger (for a pause: the pause) until the last tenant was read back.",
            labels=["plugin", "trigger"],
        )
        took: dict[tuple[str, str], list[float]] = defaultdict(list)
        rows = Rollback.objects.filter(finished_at__isnull=False).order_by()
        rows = rows.exclude(plan__drills__kind=RollbackDrill.REHEARSAL)
        for plugin, trigger, began, ended in rows.values_list(
            "plan__plugin__key", "trigger", "clock_from", "verified_at"
        ).iterator():
            # A rollback that left tenants to people was never complete: only +Inf holds it.
            took[plugin, trigger].append(
                (ended - began).total_seconds() * 1000 if ended is not None else NEVER
            )
        for labels, values in sorted(took.items()):
            family.add_metric(list(labels), *_histogram(values, ROLLBACK_MS))
        return family

    def _drills(self) -> Iterator[Metric]:
        took = HistogramMetricFamily(
            "version_rollback_drill_seconds",
            "Drills: from the trigger until the last tenant was read back.",
            labels=["deployer", "inject"],
        )
        total = CounterMetricFamily(
            "version_rollback_drill", "Drills that have ended.", labels=["outcome"]
        )
        success = GaugeMetricFamily(
            "version_rollback_drill_last_success_timestamp_seconds",
            "When a drill of the deployer passed last.",
            labels=["deployer"],
        )
        seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        outcomes: Counter[str] = Counter()
        last: dict[str, float] = {}
        rows = RollbackDrill.objects.filter(ended_at__isnull=False).order_by("ended_at")
        for deployer, inject, outcome, spent, ended in rows.values_list(
            "deployer", "inject", "outcome", "seconds", "ended_at"
        ).iterator():
            outcomes[outcome] += 1
            if outcome != "cut_short":
                # A drill that was never back is in +Inf alone.
                seconds[deployer, inject].append(spent if spent is not None else NEVER)
            if outcome == "passed" and ended is not None:
                last[deployer] = ended.timestamp()
        for labels, values in sorted(seconds.items()):
            took.add_metric(list(labels), *_histogram(values, DRILL_SECONDS))
        for outcome, n in sorted(outcomes.items()):
            total.add_metric([outcome], n)
        for deployer, at in sorted(last.items()):
            success.add_metric([deployer], at)
        yield took
        yield total
        yield success

    def _quote_ratio(self) -> Metric:
        family = HistogramMetricFamily(
            "version_rollback_quote_ratio",
            "Seconds from the trigger to the last read-back / quoted seconds: of the worst case"
            " (above 1 the quote was wrong) and of the expected time.",
            labels=["deployer", "quote"],
        )
        ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
        rows = Rollback.objects.filter(verified_at__isnull=False, touched__gt=0).order_by()
        for deployer, began, ended, worst, expected in rows.values_list(
            "plan__deployer", "triggered_at", "verified_at", "quote_seconds", "expected_seconds"
        ).iterator():
            if ended is None:
                continue
            took = (ended - began).total_seconds()
            for quote, seconds in (("worst", worst), ("expected", expected)):
                if seconds:
                    ratios[deployer, quote].append(took / seconds)
        for labels, values in sorted(ratios.items()):
            family.add_metric(list(labels), *_histogram(values, QUOTE_RATIOS))
        return family

    def _alerts(self) -> Metric:
        family = CounterMetricFamily(
            "version_upgrade_alert", "Alerts that were raised.", labels=["kind"]
        )
        for row in Alert.objects.order_by().values("kind").annotate(n=Count("pk")):
            family.add_metric([row["kind"]], row["n"])
        return family

    def _pauses(self) -> Metric:
        family = CounterMetricFamily(
            "version_upgrade_paused", "Pauses, by a person or by the console.", labels=["by"]
        )
        pauses = Event.objects.filter(kind="plan_paused").aggregate(
            person=Count("pk", filter=Q(actor__isnull=False)),
            console=Count("pk", filter=Q(actor__isnull=True)),
        )
        for by in ("person", "console"):
            family.add_metric([by], pauses[by])
        return family

    def _plans(self) -> Metric:
        family = GaugeMetricFamily("version_upgrade_plans", "Plans by state.", labels=["state"])
        for row in Plan.objects.order_by().values("state").annotate(n=Count("pk")):
            family.add_metric([row["state"]], row["n"])
        return family

    def _trail(self) -> Iterator[Metric]:
        intact = GaugeMetricFamily(
            "version_upgrade_trail_intact",
            "1 where the last check of the trail found nothing changed, 0 where it did; absent"
            " before the first.",
        )
        checked = GaugeMetricFamily(
            "version_upgrade_trail_check_age_seconds", "Seconds since the trail was checked."
        )
        outcome = GaugeMetricFamily(
            "version_upgrade_trail_check_outcome", "The exit code of audit_verify at that check."
        )
        anchored = GaugeMetricFamily(
            "version_upgrade_trail_checkpoint_age_seconds",
            "Seconds since the last signed checkpoint.",
        )
        if (check := TrailCheck.objects.order_by("-at").first()) is not None:
            intact.add_metric([], 0 if check.alarming else 1)
            outcome.add_metric([], check.outcome)
            checked.add_metric([], max(0.0, (self.now - check.at).total_seconds()))
        if (last := newest()) is not None:
            anchored.add_metric([], max(0.0, (self.now - last.at).total_seconds()))
        yield from (intact, outcome, checked, anchored)

    def _watch(self) -> Iterator[Metric]:
        beat = Heartbeat.objects.filter(kind="watch").aggregate(at=Max("at"), tick=Max("tick_ms"))
        age = GaugeMetricFamily(
            "version_upgrade_watch_age_seconds",
            "Seconds since any watch was last heard of; absent when none ever was.",
        )
        tick = GaugeMetricFamily("version_upgrade_watch_tick_ms", "The slowest watch's last tick.")
        if beat["at"] is not None:
            age.add_metric([], max(0.0, (self.now - beat["at"]).total_seconds()))
            tick.add_metric([], beat["tick"])
        yield age
        yield tick


def _histogram(
    values: list[float], bounds: Iterable[float]
) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets and the sum of what was finished."""
    buckets: list[tuple[str, float]] = [
        (f"{bound:g}" if bound < 1000 else f"{bound:.0f}", sum(1 for v in values if v <= bound))
        for bound in bounds
    ]
    buckets.append(("+Inf", len(values)))
    return buckets, sum(value for value in values if value != NEVER)

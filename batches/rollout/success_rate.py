"""The success rate over 30 days per plugin, and the alert when it falls below what was agreed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q

from batches.alerting import alerts
from batches.drills.drilling import under_drill
from batches.models import Alert, TenantUpgrade
from plans.counted_words import counted

DAYS = 30
AGREED_PERCENT = 98.0
DECIDED = ("upgraded", "rolled_back", "failed", "unknown", "needs_hand", "excluded")
KIND = "success_rate"


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Tenants on target and read back out of the tenants that were attempted."""

    good: int
    attempted: int

    @property
    def share(self) -> float:
        """Return the rate, 0 to 1."""
        return self.good / self.attempted


def success_rates(now: datetime) -> Mapping[str, SuccessRate]:
    """Return the rate of each plugin that was upgraded anywhere in the last 30 days.

    Rolled back and excluded tenants count against it, as long as a call ever reached them.
    """
    on_target = Q(
        state="upgraded", observed_at__isnull=False, version_observed=F("plan__release__version")
    )
    rows = (
        TenantUpgrade.objects.touched()
        .filter(touched_at__gte=now - timedelta(days=DAYS), state__in=DECIDED)
        .exclude(pk__in=under_drill())
        # A rehearsal is meant to be taken back; that is no failure.
        .exclude(plan__drills__kind="rehearsal")
        .order_by()
        .values("plan__plugin__key")
        .annotate(attempted=Count("pk"), good=Count("pk", filter=on_target))
    )
    return {row["plan__plugin__key"]: SuccessRate(row["good"], row["attempted"]) for row in rows}


def alert_below(now: datetime) -> None:
    """Open an alert for each plugin below the agreed rate; close those that have recovered."""
    open_alerts = set(
        Alert.objects.filter(kind=KIND, resolved_at=None).values_list("key", flat=True)
    )
    rates = success_rates(now)
    gone = Alert.objects.filter(kind=KIND, resolved_at=None).exclude(
        key__in=[alerts.alert_key(None, KIND, about=plugin) for plugin in rates]
    )
    for alert in gone:
        # Nothing of it was upgraded in these days, so there is no rate that could recover.
        alerts.resolve(plan=None, kind=KIND, about=str(alert.payload.get("plugin", "")), now=now)
    for plugin, rate in rates.items():
        key = alerts.alert_key(None, KIND, about=plugin)
        below = 100 * rate.share < AGREED_PERCENT
        if below and key not in open_alerts:
            alerts.fire(
                plan=None,
                kind=KIND,
                about=plugin,
                sentence=f"{plugin}: {rate.good} of {counted(rate.attempted, 'tenant')}"
                f" upgraded in {DAYS}"
                f" days are on their target and were read back ({100 * rate.share:.1f} %, agreed"
                f" {AGREED_PERCENT:g} %)",
                now=now,
                payload={"plugin": plugin, "value": 100 * rate.share, "threshold": AGREED_PERCENT},
            )
        elif not below and key in open_alerts:
            alerts.resolve(plan=None, kind=KIND, about=plugin, now=now)

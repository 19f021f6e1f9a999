"""Bring what was announced to its addresses: claim, send, write down, try again later."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from batches.configured import outbound_rules
from plans.models import User
from plans.people.permissions import require
from plans.refusal import Refused
from plans.trail import events
from reports.models import Delivery
from reports.telling import notifications, webhooks
from upgradeconsole.known_secrets import masked
from upgradeconsole.sealing import KeysUnusable, SealBroken

logger = logging.getLogger(__name__)
# Longer than a task of the paperwork cluster may take: a slow one is not sent beside itself.
CLAIM_SECONDS = 180
AT_ONCE = 100
WAITS = (5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)
"""Seconds before each next try; after the last one a delivery is given up (about 16 hours)."""


def claim_due(now: datetime) -> list[int]:
    """Return deliveries to send now; nobody else gets them for a while.

    Whoever claims them and dies loses nothing: after CLAIM_SECONDS they are due again.
    """
    claimed = []
    until = now + timedelta(seconds=CLAIM_SECONDS)
    for pk, next_at in Delivery.objects.due(now).values_list("pk", "next_at")[:AT_ONCE]:
        # Compare-and-set: of two watches that saw the same row, one gets it.
        if Delivery.objects.filter(pk=pk, next_at=next_at, delivered_at=None).update(next_at=until):
            claimed.append(pk)
    return claimed


def deliver(ids: Sequence[int], *, now: datetime) -> int:
    """Send these deliveries and write down the outcome of each; return how many arrived."""
    waiting = list(
        Delivery.objects.filter(pk__in=ids, delivered_at=None, given_up_at=None)
        .select_related("announcement", "endpoint")
        .order_by("pk")
    )
    hooks = [row for row in waiting if row.channel == Delivery.WEBHOOK]
    mails = [row for row in waiting if row.channel == Delivery.MAIL]
    results: dict[int, str] = {}
    if hooks:
        results |= _sent(hooks)
    if mails:
        results |= notifications.send(mails)
    for row in waiting:
        _write_down(row, results[row.pk], now)
    return sum(1 for problem in results.values() if not problem)


def _sent(hooks: Sequence[Delivery]) -> dict[int, str]:
    """Send what can be signed; what cannot is not sent unsigned."""
    parcels, results = [], {}
    for row in hooks:
        try:
            parcels.append(_parcel(row))
        except (SealBroken, KeysUnusable) as broken:
            results[row.pk] = f"its secret cannot be opened: {broken}"
    return results | webhooks.send(parcels, rules=outbound_rules())


def _parcel(row: Delivery) -> webhooks.Parcel:
    secret = row.endpoint.open_secret() if row.endpoint is not None else ""
    return webhooks.Parcel(row.pk, row.target, secret, row.event())


def _write_down(row: Delivery, problem: str, now: datetime) -> None:
    problem = masked(problem)
    stored = Delivery.objects.filter(pk=row.pk)
    if not problem:
        stored.update(delivered_at=now, attempts=F("attempts") + 1, last_error="")
        return
    if row.attempts >= len(WAITS):
        logger.error("Gave up on %s to %s: %s", row.channel, row.target, problem)
        stored.update(given_up_at=now, attempts=F("attempts") + 1, last_error=problem[:500])
        return
    wait = timedelta(seconds=WAITS[row.attempts])
    stored.update(next_at=now + wait, attempts=F("attempts") + 1, last_error=problem[:500])


class HasArrived(Refused):
    """There is nothing left to send."""

    default_code = "has_arrived"


@transaction.atomic
def send_again(*, delivery_id: int, by: User, now: datetime) -> None:
    """Try a delivery that waits or was given up at once; raise HasArrived for any other."""
    require(by, "administer")
    row = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
    if row.delivered_at is not None:
        raise HasArrived(f"This has arrived at {row.target}; it is not sent twice.")
    Delivery.objects.filter(pk=row.pk).update(given_up_at=None, next_at=now, attempts=0)
    events.record(
        stream=None,
        kind="delivery_sent_again",
        sentence=f"{by.get_full_name()} had the {row.channel} to {row.target} sent again.",
        actor=by,
        via="admin",
        now=now,
        payload={"delivery": row.pk},
    )

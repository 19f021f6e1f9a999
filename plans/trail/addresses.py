"""Erase the addresses of events; the chain holds salted digests and stays whole."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from plans.counted_words import counted
from plans.models import EventAddress, User
from plans.people.permissions import require
from plans.refusal import BadInput
from plans.trail import events

AT_ONCE = 5000


def forget_old(*, now: datetime) -> int:
    """Erase those that were kept long enough; return how many."""
    if not settings.ADDRESSES_KEPT_DAYS:
        return 0
    before = now - timedelta(days=settings.ADDRESSES_KEPT_DAYS)
    oldest = EventAddress.objects.select_related("event").order_by("pk").first()
    if oldest is None or oldest.event.at >= before:
        return 0
    return _erase(before, "their time is over", by=None, via="watch", now=now)


def erase_addresses(
    *, before: datetime, reason: str, by: User | None, now: datetime, via: str
) -> int:
    """Erase the addresses of all events before a moment; return how many.

    `by` None is a command run on the machine itself. Raises BadInput without a reason.
    """
    if by is not None:
        require(by, "administer")
    if not reason.strip():
        raise BadInput(["reason: say why, e.g. 'asked for by the data protection officer'"])
    if before > now:
        raise BadInput(["before: this moment has not come yet"])
    return _erase(before, reason.strip(), by=by, via=via, now=now)


@transaction.atomic
def _erase(before: datetime, why: str, *, by: User | None, via: str, now: datetime) -> int:
    old = EventAddress.objects.filter(event__at__lt=before).order_by("pk")
    keys = list(old.values_list("pk", flat=True)[:AT_ONCE])
    if not keys:
        return 0
    erased = 0
    while keys:
        erased += EventAddress.objects.filter(pk__in=keys).delete()[0]
        keys = list(old.values_list("pk", flat=True)[:AT_ONCE])
    events.record(
        stream=None,
        kind="trail_addresses_erased",
        sentence=f"The addresses of {counted(erased, 'event')} before {before:%Y-%m-%d} were"
        f" erased: {why}.",
        actor=by,
        via=via,
        now=now,
        reason=why,
        payload={"erased": erased, "before": before.isoformat()},
    )
    return erased

"""When a schedule of drills runs next. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def next_run(days: Collection[str], at: time, zone: str, *, after: datetime) -> datetime:
    """Return the first moment after `after` at that wall time on one of the days, in UTC.

    A time that the clocks skip is the moment after the jump; one that they show twice counts once.
    """
    there = ZoneInfo(zone)
    today = after.astimezone(there).date()
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        if DAYS[day.weekday()] not in days:
            continue
        moment = datetime.combine(day, at, tzinfo=there).astimezone(UTC)
        if moment > after:
            return moment
    raise ValueError("a schedule needs at least one day")

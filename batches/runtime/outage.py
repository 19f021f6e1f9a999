"""What the watch knows of a database that does not answer: since when, and who was told."""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from batches.alerting import local_alerts
from batches.runtime import free_space
from plans.models import Plan
from plans.trail import events

logger = logging.getLogger(__name__)

KIND = "database_away"
WORTH_TELLING = timedelta(seconds=5)


class Outage:
    """One outage after the other; the first failure begins one, the next good tick ends it."""

    def __init__(self) -> None:
        self.since: datetime | None = None
        self._told = False

    def failed(self, error: Exception, *, began: datetime, now: datetime) -> None:
        """Note that a tick failed; tell of it once, by local path, as soon as it lasts."""
        self.since = self.since or began
        logger.warning("The database did not answer; this tick is skipped: %s", error)
        if free_space.says_full(error):
            free_space.release_reserve("a write found the disk full")
        if not self._told and now - self.since >= WORTH_TELLING:
            self._told = True
            local_alerts.tell(
                KIND,
                f"the database has not answered since {self.since:%H:%M:%S} UTC ({error}); nothing"
                " is started or taken back until it does, every deadline keeps running",
            )

    def answered(self, *, now: datetime, leads: bool) -> None:
        """End the outage, if there is one: say in the trail how long nothing was looked at.

        The trail of every plan that was held up says so, and that of the system; of several
        watches the one that leads says it.
        """
        since = self.since
        if since is None:
            return
        lag = now - since
        if lag >= WORTH_TELLING:
            sentence = (
                f"The database did not answer for {lag.total_seconds():.0f} s, since"
                f" {since:%H:%M:%S} UTC; the watch goes on."
            )
            if leads:
                _say_in_trails(sentence, since, now)
            if self._told:
                local_alerts.tell(KIND, f"over: {sentence.rstrip('.')}")
        self.since, self._told = None, False


@transaction.atomic
def _say_in_trails(sentence: str, since: datetime, now: datetime) -> None:
    # What the first tick afterwards brought to its end had been held up as well.
    held_up = Plan.objects.live() | Plan.objects.filter(ended_at__gte=since)
    for stream in [*held_up.order_by("pk"), None]:
        events.record(
            stream=stream,
            kind="watch_lagged",
            sentence=sentence,
            actor=None,
            via="watch",
            now=now,
            payload={"since": since.isoformat(), "seconds": (now - since).total_seconds()},
        )

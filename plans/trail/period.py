"""A period of the trail, rounded outwards to the checkpoints around it, so that it can be proved.

What somebody asks for begins and ends anywhere. Handed out is all that came between two
checkpoints: the last one before the period and the first one after it. So the first event follows a
signed head, the last one is a signed head, and that nothing is missing in between can be shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Max, Min, QuerySet

from plans.models import Checkpoint, Event, Stream
from plans.trail.checkpoints import Heads, heads_at, newest

EARLIEST = datetime.min.replace(tzinfo=UTC)
BEFORE = timedelta(minutes=1)
"""How much older than the period the checkpoint before it is: an act may have begun meanwhile."""


@dataclass(frozen=True, slots=True)
class Period:
    """The checkpoints around a period; none before = from the first event on, none after = none."""

    before: Checkpoint | None
    after: Checkpoint | None
    until: datetime | None

    def events(self, stream: str = "") -> Iterator[QuerySet[Event]]:
        """Yield the events of each stream that has any, in the streams' order."""
        begun = heads_at(self.before) if self.before is not None else Heads()
        signed = heads_at(self.after) if self.after is not None else Heads()
        streams = Stream.objects.filter(head_seq__gt=0).order_by("pk")
        if stream:
            streams = streams.filter(key=stream)
        for pk, key, last in streams.values_list("pk", "key", "head_seq"):
            begin = begun.get(key, (0, ""))[0]
            if last <= begin:
                continue
            rows = Event.objects.filter(stream_id=pk, seq__gt=begin).order_by("seq")
            if self.until is not None:
                # Clocks differ: what is left out is after all that is of the period.
                last_in = rows.filter(at__lt=self.until).aggregate(last=Max("seq"))["last"] or 0
                rows = rows.filter(seq__lte=max(last_in, signed.get(key, (0, ""))[0]))
            yield rows


def period_around(since: datetime | None, until: datetime | None) -> Period:
    """Return the checkpoints around a period; the newest one where none was taken after it."""
    after = None
    if until is not None:
        later = Checkpoint.objects.filter(at__gte=until).order_by("number")
        after = later.defer("heads").first()
    return Period(_last_before(since, until), after or newest(), until)


def _last_before(since: datetime | None, until: datetime | None) -> Checkpoint | None:
    if since is None or since - EARLIEST < BEFORE:
        return None
    earlier = Checkpoint.objects.filter(at__lte=since - BEFORE)
    of_it = Event.objects.filter(at__gte=since)
    if until is not None:
        of_it = of_it.filter(at__lt=until)
    first = of_it.aggregate(first=Min("pk"))["first"]
    if first is not None:
        # Clocks differ: what says to be of the period is in it, whenever it was written.
        earlier = earlier.filter(last_event__lt=first)
    return earlier.order_by("-number").defer("heads").first()

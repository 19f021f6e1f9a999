"""What the watch does when its machine's wall clock was moved: it says so, and keeps soaks true."""

from datetime import datetime, timedelta

from django.db import transaction

from batches.alerting import alerts
from batches.models import Alert, Batch
from batches.rollout.pacing import soak_left
from batches.runtime.steady_clock import SteadyClock
from plans.trail import events

KIND = "clock_jump"
QUIET_AFTER = timedelta(minutes=10)
RUNS = ("soaking", "running")


@transaction.atomic
def note_move(*, seconds: float, clock: SteadyClock, now: datetime) -> None:
    """Alert of a clock that was moved, and put the soaks that run on the new time."""
    soaks = 0
    running = Batch.objects.filter(state="soaking", plan__state="running")
    # Plan by plan and always in the same order, so that nobody waits crosswise.
    for batch_id in running.order_by("plan_id").values_list("pk", flat=True):
        batch, plan = Batch.objects.locked(batch_id)
        if batch.soak_counted_at is None or (str(batch.state), str(plan.state)) != RUNS:
            continue
        counted = clock.placed(soak_name(batch.pk), batch.soak_counted_at)
        batch.soak_left = soak_left(batch.soak_left, counted, now, counting=True)
        batch.soak_counted_at = now
        batch.save()
        soaks += 1
    way = "forward" if seconds > 0 else "back"
    sentence = (
        f"the clock of the watch's machine was moved {way} by {abs(seconds):.1f} s; deadlines and"
        " soaks that run are counted on by the steady clock. Check the machine's time service"
    )
    events.record(
        stream=None,
        kind="clock_moved",
        sentence=f"{sentence[0].upper()}{sentence[1:]}.",
        actor=None,
        via="watch",
        now=now,
        payload={"seconds": round(seconds, 3), "soaks": soaks},
    )
    alerts.fire(plan=None, kind=KIND, sentence=sentence, now=now, payload={"seconds": seconds})


def settle_down(now: datetime) -> None:
    """End the alert when the clock has been left alone for a while."""
    open_alert = Alert.objects.filter(plan=None, kind=KIND, resolved_at=None).first()
    if open_alert is not None and not timedelta(0) <= now - open_alert.opened_at < QUIET_AFTER:
        alerts.resolve(plan=None, kind=KIND, now=now)


def soak_name(batch_id: int) -> str:
    """Return under which name a batch's soak is known to the steady clock."""
    return f"batch:{batch_id}:soak"

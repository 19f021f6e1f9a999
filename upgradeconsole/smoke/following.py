"""Follow a plan to its end: tell each event, open manual gates, wait for the report."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from batches.models import Batch, Rollback
from batches.rollout.control import promote
from plans.approvals.grants import REHEARSED
from plans.database_away import DATABASE_AWAY
from plans.lifecycle import PLAN
from plans.log_in.step_up import StepUp
from plans.models import Event, Plan, User
from plans.refusal import Refused
from reports.models import UpgradeReport

LOOK_EVERY = 0.25
LIVE_BATCHES = ("deploying", "soaking", "held", "rolling_back")


@dataclass(slots=True)
class Following:
    """Where the telling of a plan's trail stands."""

    plan_id: Any
    gatekeeper: User
    say: Callable[[str], None]
    stopping: threading.Event
    _told: int = field(default=0)

    def to_the_end(self, *, seconds: float) -> bool:
        """Return True when the plan has ended, False when the time is over first."""
        until = time.monotonic() + seconds
        while True:
            self.tell()
            plan = Plan.objects.get(pk=self.plan_id)
            if self._has_ended(plan):
                self.tell()
                return True
            self._open_gate(plan)
            if time.monotonic() > until or self.stopping.wait(LOOK_EVERY):
                return False

    def to_the_report(self, *, seconds: float) -> bool:
        """Return True when the report of the ending is there; False, after saying why, if not."""
        until = time.monotonic() + seconds
        while True:
            self.tell()
            report = UpgradeReport.objects.filter(plan_id=self.plan_id).first()
            if report is not None and report.ready:
                return True
            if time.monotonic() > until or self.stopping.wait(LOOK_EVERY):
                break
        why = report.error if report is not None and report.error else "nothing was heard of it"
        self.say(f"No report within {seconds:.0f} s: {why}.")
        return False

    def tell(self) -> None:
        """Say every event that is new."""
        new = Event.objects.filter(stream__key=f"plan:{self.plan_id}", seq__gt=self._told)
        for event in new.order_by("seq"):
            self.say(f"{event.at:%H:%M:%S}  {event.sentence}")
            self._told = event.seq

    @staticmethod
    def _has_ended(plan: Plan) -> bool:
        if str(plan.state) in PLAN.endings:
            return True
        # A part was taken back and a person is to choose what becomes of the rest: a rehearsal
        # has shown what it can.
        return (
            str(plan.state) == "paused"
            and plan.resume_by is None
            and Rollback.objects.filter(plan=plan, finished_at__isnull=False).exists()
        )

    def _open_gate(self, plan: Plan) -> None:
        """Let the next batch begin where the policy wants a person to."""
        if str(plan.state) != "running":
            return
        batches = Batch.objects.filter(plan=plan)
        if batches.filter(state__in=LIVE_BATCHES).exists():
            return
        waiting = batches.filter(state="pending").order_by("number").first()
        if waiting is None or waiting.advance != "manual" or waiting.promoted_at is not None:
            return
        try:
            now = timezone.now()
            proved = StepUp((REHEARSED,), now)
            promote(plan_id=plan.pk, by=self.gatekeeper, now=now, via="command", step_up=proved)
        except (Refused, *DATABASE_AWAY) as error:
            self.say(f"The gate stays shut: {error}; trying again.")

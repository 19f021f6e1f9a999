"""What the watch does with approved plans: start them when their time has come, or let them expire.

What the others wait for is said on their pages; an alert tells of what will not come by itself.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from batches.alerting import alerts
from batches.models import Alert
from batches.rollout import progress
from batches.rollout.launch import (
    GRANT_REFUSED,
    KpisUnfit,
    NotYet,
    TenantsTaken,
    start,
    why_not_yet,
)
from batches.runtime.watch_duties import Duties
from batches.watch.start_probes import StartProbes
from plans.approvals import approval
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan
from plans.refusal import Refused

logger = logging.getLogger(__name__)

CANNOT_START = "cannot_start"
UNDECIDED = "watch_failed"
"""The alert of a plan about which the watch cannot decide: it failed at it."""

Alone = Callable[[Callable[[Plan, datetime], None], Plan, datetime], bool]


class Starting:
    """Looks at approved plans; `alone` keeps what goes wrong with one from the others."""

    def __init__(
        self, duties: Duties, alone: Alone, *, on_answer: Callable[[], None] = lambda: None
    ) -> None:
        self._duties = duties
        self._alone = alone
        self._well: list[Any] = []
        self._probes = StartProbes(on_answer=on_answer)

    def stop(self) -> None:
        """End what runs beside the watch."""
        self._probes.stop()

    def start_what_may(self, plans: Sequence[Plan], now: datetime) -> None:
        """Start approved plans of these whose time has come; say what the others wait for."""
        approved = [plan for plan in plans if str(plan.state) == "approved"]
        approved.sort(key=lambda plan: (plan.approved_at or now, plan.pk))
        self._well = [plan.pk for plan in approved if self._alone(self._start_one, plan, now)]

    def end_alerts_that_are_over(self, told: Collection[str], now: datetime) -> None:
        """Close what was told of plans that could not start, where they wait for it no more.

        `told`: the kinds of alert that fire now.
        """
        if not {CANNOT_START, GRANT_REFUSED, UNDECIDED} & set(told):
            return
        over = Q(kind__in=(CANNOT_START, GRANT_REFUSED)) & ~Q(plan__state="approved")
        # While it runs, whoever decides about it says when that works again.
        over |= Q(kind=UNDECIDED) & ~Q(plan__state__in=("approved", *LIVE_PLAN_STATES))
        over |= Q(kind=UNDECIDED, plan__in=self._well)
        for alert in Alert.objects.filter(over, resolved_at=None).select_related("plan"):
            with self._duties.fence_of_chores():
                alerts.resolve(plan=alert.plan, kind=alert.kind, now=now)

    def _start_one(self, plan: Plan, now: datetime) -> None:
        if waits := why_not_yet(plan, now):
            self._say_waiting(plan, waits, now)
            return
        if not self._probes.are_made(plan, now, fence=self._duties.fence_of_chores):
            return
        try:
            with self._duties.fence_of_chores():
                start(plan_id=plan.pk, by=None, now=now, via="watch")
        except Refused as refused:
            self._say_waiting(plan, refused.sentence, now)
            if isinstance(refused, KpisUnfit):
                self._probes.refused(plan)
            if not isinstance(refused, NotYet | TenantsTaken):
                with self._duties.fence_of_chores():
                    alerts.fire(plan=plan, kind=CANNOT_START, sentence=refused.sentence, now=now)

    def _say_waiting(self, plan: Plan, sentence: str, now: datetime) -> None:
        words = sentence.rstrip(".")
        if plan.waiting_for != words[: progress.WORDS]:
            with self._duties.fence_of_chores():
                progress.say_waiting(plan_id=plan.pk, sentence=words, now=now)

    def expire_what_must(self, now: datetime) -> None:
        """Let plans go that nobody approved, or that did not begin, in time."""
        for plan_id in approval.due_to_expire(now):
            try:
                with self._duties.fence_of_chores():
                    approval.expire(plan_id=plan_id, now=now)
            except Refused as refused:
                logger.info("Plan %s did not expire: %s", plan_id, refused.sentence)

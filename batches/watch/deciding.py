"""Decide about live plans, one after the other, and do what was decided.

Commits wake the watch many times a second, and most plans are at rest then: those are read all
together. What is to be done about a plan rests on rows of its own, read right before.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from batches.alerting import alerts
from batches.decisions.decide import decide
from batches.decisions.decision_facts import Action, PlanFacts
from batches.decisions.plan_facts import plan_facts
from batches.decisions.plan_rows import PlanRows, rows_of, rows_together
from batches.evidence.watching import evidence_facts
from batches.looks.observation import Observer
from batches.rollout import progress
from batches.runtime.steady_clock import SteadyClock
from batches.runtime.watch_duties import Fence
from batches.watch.acting import Acting, is_said
from batches.watch.passing_alerts import WatchAlerts
from plans.database_away import DATABASE_AWAY
from plans.drafting.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput, Refused

logger = logging.getLogger(__name__)

MOST_ACTIONS_PER_TICK = 20
UNDER_WAY = frozenset(
    {"run_rollback", "call_batch", "restore_stragglers", "read_half_done", "wait", "alert"}
)
"""Actions that go on by themselves, or wait: what comes after them is for a later tick."""

Decision = Callable[[Plan, datetime], None]


class Deciding:
    """From the rows of plans to what is done about them, each write within the plan's fence."""

    def __init__(
        self, acting: Acting, observer: Observer, fence: Fence, clock: SteadyClock
    ) -> None:
        self._acting = acting
        self._observer = observer
        self._fence = fence
        self._clock = clock
        self._alerts = WatchAlerts(observer, fence)
        self._policies: dict[tuple[Any, int], UpgradePolicy] = {}
        self._at_rest: set[Any] = set()

    def keep_only(self, live: Sequence[Plan]) -> None:
        """Keep each policy of these plans as it is in force, and nothing of other plans."""
        keys = {(plan.pk, plan.revision) for plan in live}
        for known in self._policies.keys() - keys:
            del self._policies[known]

    def about(self, plans: Sequence[Plan], now: datetime) -> Iterator[tuple[Plan, Decision]]:
        """Yield what decides about each plan; one that fails must not hold the others up.

        Plans that were at rest at the last tick are read together: mostly they still are.
        """
        together = self._rows_together([plan for plan in plans if plan.pk in self._at_rest], now)
        self._at_rest = set()
        for plan in plans:
            yield plan, partial(self._one_plan, together=together.get(plan.pk))

    def _rows_together(self, plans: Sequence[Plan], now: datetime) -> dict[Any, PlanRows]:
        """Return the rows of these plans; of none where one of them cannot be read."""
        if len(plans) < 2:
            return {}
        try:
            return rows_together({plan.pk: self._policy(plan) for plan in plans}, now)
        except DATABASE_AWAY:
            raise
        except Exception:
            # Each is read by itself then, so that only the broken one is held up, and told of.
            logger.exception("The plans could not be read together.")
            return {}

    def _one_plan(self, plan: Plan, now: datetime, together: PlanRows | None = None) -> None:
        """Do one thing after the other about a plan, until nothing is to be done now.

        `together`: its rows as they were read with those of other plans. By then somebody may have
        moved the plan, so they can only say that it is at rest; else it is read again.
        """
        last: Action | None = None
        if together is not None:
            if self._rests(plan, together, now):
                return
            plan = _anew(plan)
        for _turn in range(MOST_ACTIONS_PER_TICK):
            # Anew each time: the plan may have been adjusted since the last turn.
            policy = self._policy(plan)
            rows = rows_of(plan.pk, policy, now)
            facts = self._facts(plan, policy, rows, now)
            action = decide(facts)
            news = self._alerts.news(plan, policy, rows, facts, action)
            self._alerts.tell(plan, news)
            reach("watch.decided")
            if action.do == "stop" and plan.waiting_for:
                with self._fence(plan.pk):
                    progress.stop_waiting(plan_id=plan.pk)
            if last is None and not news and _nothing_to_do(plan, action):
                self._at_rest.add(plan.pk)
            if action.do == "stop" or action == last:
                return
            try:
                self._acting.apply(plan, facts, action, now)
                reach("watch.acted")
            except Refused as refused:
                # Somebody else moved the plan between the facts and the act; look again.
                logger.info("Plan %s: %s: %s", plan.external_id, action.do, refused.sentence)
                return
            if action.do in UNDER_WAY:
                return
            last = action
            plan = _anew(plan)

    def _rests(self, plan: Plan, rows: PlanRows, now: datetime) -> bool:
        """Tell whether nothing is to be done or said about the plan as these rows show it."""
        policy = self._policy(plan)
        facts = self._facts(plan, policy, rows, now)
        action = decide(facts)
        if self._alerts.news(plan, policy, rows, facts, action) or not _nothing_to_do(plan, action):
            return False
        reach("watch.decided")
        self._at_rest.add(plan.pk)
        return True

    def _facts(self, plan: Plan, policy: UpgradePolicy, rows: PlanRows, now: datetime) -> PlanFacts:
        try:
            self._observer.look_when_due(plan, policy, now)
            evidence = evidence_facts(plan, policy, now, rows)
            return plan_facts(
                plan,
                policy,
                now,
                breaches=[*self._observer.breaches(plan, policy), *evidence.breaches],
                incident=evidence.incident,
                inconclusive=evidence.inconclusive,
                missing=self._observer.missing(plan, policy, now),
                all_seen_at=self._observer.all_seen_at(plan, policy),
                promotable=evidence.and_then(self._observer.promotable(plan, policy, now)),
                clock=self._clock,
                rows=rows,
            )
        except BadInput as broken:
            # A broken file must not keep a rollback from running; it keeps batches from passing.
            with self._fence(plan.pk):
                alerts.fire(plan=plan, kind="configuration", sentence=str(broken), now=now)
            return plan_facts(
                plan, policy, now, unreadable=str(broken), clock=self._clock, rows=rows
            )

    def _policy(self, plan: Plan) -> UpgradePolicy:
        key = (plan.pk, plan.revision)
        if key not in self._policies:
            self._policies[key] = policy_of(current_revision(plan))
        return self._policies[key]


def _anew(plan: Plan) -> Plan:
    return Plan.objects.select_related("plugin", "release").get(pk=plan.pk)


def _nothing_to_do(plan: Plan, action: Action) -> bool:
    """Tell whether the action comes to nothing: there is none, or a wait that was told already."""
    return is_said(plan, action) or (action.do == "stop" and not plan.waiting_for)

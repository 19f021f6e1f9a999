"""The watch: level-triggered, it looks at every live plan and does what has to be done next.

Each tick: lease, finished looks, due looks, one decision after another per plan until nothing is
left to do, chores, heartbeat. Rollbacks run here, at once, in the effect loop's own thread: the
promise never waits for a queue. A commit anywhere wakes it; at most a second passes between ticks.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from auditlog.context import set_actor
from django.db import OperationalError, close_old_connections
from django.utils import timezone

from batches import alerts, free_space, leases, offline, progress, watch_chores
from batches.acting import Acting
from batches.commit_signal import CommitSignal
from batches.decide import Action, PlanFacts, decide
from batches.effect_thread import EffectThread
from batches.launch import NotYet, TenantsTaken, start, why_not_yet
from batches.models import Alert, Heartbeat
from batches.observation import Observer
from batches.outage import Outage
from batches.plan_facts import plan_facts
from batches.success_rate import alert_below
from plans import approval
from plans.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.models import Plan
from plans.policy import UpgradePolicy
from plans.refusal import BadInput, Refused

logger = logging.getLogger(__name__)

DECIDE_LEASE = "watch:decide"
TICK_SECONDS = 1.0
SHORTEST_TICK_SECONDS = 0.05
MOST_ACTIONS_PER_TICK = 20
HEARTBEAT_SECONDS = 1.0
SUCCESS_RATE_SECONDS = 60.0
WARNING = "guardrail_warning"


class Watch:
    """The loop."""

    def __init__(self) -> None:
        self.holder = leases.new_holder("watch")
        self.stopping = threading.Event()
        self.signal = CommitSignal()
        self.effects = EffectThread()
        self.observer = Observer(on_answer=self.signal.nudge)
        self.acting = Acting(self.effects, self.observer)
        self._keeper: leases.Keeper | None = None
        self._policies: dict[tuple[Any, int], UpgradePolicy] = {}
        self._outage = Outage()
        self._patience = TICK_SECONDS
        self._beat_at = 0.0
        self._rated_at = 0.0

    def run(self) -> None:
        """Tick until `stopping` is set."""
        self.effects.start()
        self.observer.start()
        try:
            with set_actor(None):
                while not self.stopping.is_set():
                    began = time.monotonic()
                    self._tick_or_skip(timezone.now())
                    self._wait(time.monotonic() - began)
        finally:
            self.observer.stop()
            self.effects.stop()
            if self._keeper is not None:
                self._keeper.stop()
            self.signal.close()

    def _tick_or_skip(self, now: datetime) -> None:
        """Tick; where the database is busy, full or away, the next tick tries again."""
        try:
            free_space.release_when_full()
            self.tick(now)
            self._outage.answered(now=timezone.now(), leads=self._keeper is not None)
        except OperationalError as error:
            # Effects that run go on: the ledger is as patient.
            self._outage.failed(error, began=now, now=timezone.now())
            close_old_connections()

    def _wait(self, spent: float) -> None:
        self.stopping.wait(SHORTEST_TICK_SECONDS)
        left = self._patience - spent - SHORTEST_TICK_SECONDS
        self.signal.wait(max(0.0, left), stop=self.stopping)

    def tick(self, now: datetime) -> None:
        """Look at everything once."""
        reach("watch.ticking")
        began = time.monotonic()
        self._patience = TICK_SECONDS
        if not self._leads(now):
            self._beat("standby", began)
            # Look again as soon as the lease could run out: a takeover has ten seconds in all.
            self._patience = min(TICK_SECONDS, leases.seconds_left(DECIDE_LEASE, now=now) + 0.02)
            return
        # First of all: a plan that was taken back offline must not go forward from there.
        offline.take_in_records(now)
        try:
            self.observer.ingest_finished(now)
        except BadInput as broken:
            # Looks are lost until the file is mended; the plans below say so and promote nothing.
            logger.warning("What the sources answered cannot be used: %s", broken)
        for plan in Plan.objects.live().select_related("plugin", "release").order_by("started_at"):
            self._alone(self._one_plan, plan, now)
        self._start_what_may(now)
        self._expire_what_must(now)
        if began - self._rated_at >= SUCCESS_RATE_SECONDS:
            self._rated_at = began
            alert_below(now)
            offline.forget_what_is_over()
        free_space.tell(now)
        for name, chore in watch_chores.CHORES.items():
            try:
                chore(now)
            except (OperationalError, OSError, Refused):
                logger.exception("The chore %s failed; it is tried again.", name)
        self._beat("leading", began)

    def _leads(self, now: datetime) -> bool:
        """Hold the lease to decide; on SQLite there is one decider."""
        if self._keeper is not None and not self._keeper.lost:
            return True
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        lease = leases.acquire(DECIDE_LEASE, holder=self.holder, kind="watch", now=now)
        if lease is None:
            return False
        self._keeper = leases.Keeper(lease).start()
        return True

    def _beat(self, role: str, began: float) -> None:
        spent = (time.monotonic() - began) * 1000
        if role == "leading" and time.monotonic() - self._beat_at < HEARTBEAT_SECONDS:
            return
        self._beat_at = time.monotonic()
        Heartbeat.objects.update_or_create(
            name=self.holder if role == "standby" else "watch",
            defaults={
                "kind": "watch",
                "at": timezone.now(),
                "tick_ms": round(spent, 2),
                "detail": {"role": role, "holder": self.holder},
            },
        )

    # Plans.

    def _policy(self, plan: Plan) -> UpgradePolicy:
        key = (plan.pk, plan.revision)
        if key not in self._policies:
            self._policies[key] = policy_of(current_revision(plan))
        return self._policies[key]

    @staticmethod
    def _alone(act: Callable[[Plan, datetime], None], plan: Plan, now: datetime) -> None:
        """Do something about one plan; what goes wrong there must not hold the other plans up."""
        try:
            act(plan, now)
        except OperationalError:
            raise
        except Exception as error:
            logger.exception("The watch could not decide about plan %s.", plan.external_id)
            alerts.fire(
                plan=plan,
                kind="watch_failed",
                sentence="the watch cannot decide about this plan, so nothing moves:"
                f" {type(error).__name__}: {error}",
                now=now,
            )

    def _one_plan(self, plan: Plan, now: datetime) -> None:
        policy = self._policy(plan)
        last: Action | None = None
        for _turn in range(MOST_ACTIONS_PER_TICK):
            facts = self._facts(plan, policy, now)
            self._condition_alerts(plan, facts, now)
            action = decide(facts)
            reach("watch.decided")
            if action.do == "stop" and plan.waiting_for:
                progress.stop_waiting(plan_id=plan.pk)
            if action.do == "stop" or action == last:
                return
            try:
                self.acting.apply(plan, facts, action, now)
                reach("watch.acted")
            except Refused as refused:
                # Somebody else moved the plan between the facts and the act; look again.
                logger.info("Plan %s: %s: %s", plan.external_id, action.do, refused.sentence)
                return
            last = action
            plan = Plan.objects.select_related("plugin", "release").get(pk=plan.pk)

    def _facts(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> PlanFacts:
        try:
            self.observer.look_when_due(plan, policy, now)
            return plan_facts(
                plan,
                policy,
                now,
                breaches=self.observer.breaches(plan, policy),
                missing=self.observer.missing(plan, policy, now),
                promotable=self.observer.promotable(plan, policy, now),
            )
        except BadInput as broken:
            # A broken file must not keep a rollback from running; it keeps batches from passing.
            alerts.fire(plan=plan, kind="configuration", sentence=str(broken), now=now)
            return plan_facts(plan, policy, now, unreadable=str(broken))

    def _condition_alerts(self, plan: Plan, facts: PlanFacts, now: datetime) -> None:
        """Let alerts fall silent by themselves when what they tell of is over."""
        if facts.unreadable:
            return
        over = ["configuration", "watch_failed"]
        if not facts.missing:
            over.append("missing_metrics")
        if Alert.objects.filter(plan=plan, kind__in=over, resolved_at=None).exists():
            alerts.resolve_all(plan=plan, now=now, kinds=over, why="it is mended")
        self._warn(plan, facts, now)

    @staticmethod
    def _warn(plan: Plan, facts: PlanFacts, now: datetime) -> None:
        """Alert of guardrails that are to warn only, as long as they are broken."""
        warnings = {b.key[:120]: b for b in facts.breaches if b.action == "warn"}
        known = {
            str(alert.payload.get("guardrail"))
            for alert in Alert.objects.filter(plan=plan, kind=WARNING, resolved_at=None)
        }
        for key in warnings.keys() - known:
            breach = warnings[key]
            alerts.fire(
                plan=plan,
                kind=WARNING,
                about=key,
                sentence=breach.sentence,
                now=now,
                payload={"guardrail": key, "kpi": breach.kpi},
            )
        for key in known - warnings.keys():
            alerts.resolve(plan=plan, kind=WARNING, about=key, now=now)

    def _start_what_may(self, now: datetime) -> None:
        """Start approved plans whose time has come; say what the others wait for."""
        for plan in Plan.objects.filter(state="approved").order_by("approved_at"):
            self._alone(self._start_one, plan, now)

    @staticmethod
    def _start_one(plan: Plan, now: datetime) -> None:
        if waits := why_not_yet(plan, now):
            progress.say_waiting(plan_id=plan.pk, sentence=waits.rstrip("."), now=now)
            return
        try:
            start(plan_id=plan.pk, by=None, now=now, via="watch")
        except Refused as refused:
            progress.say_waiting(plan_id=plan.pk, sentence=refused.sentence.rstrip("."), now=now)
            if not isinstance(refused, NotYet | TenantsTaken):
                alerts.fire(plan=plan, kind="cannot_start", sentence=refused.sentence, now=now)

    def _expire_what_must(self, now: datetime) -> None:
        for plan_id in approval.due_to_expire(now):
            try:
                approval.expire(plan_id=plan_id, now=now)
            except Refused as refused:
                logger.info("Plan %s did not expire: %s", plan_id, refused.sentence)

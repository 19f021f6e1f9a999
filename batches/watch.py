"""The watch: level-triggered, it looks at every live plan and does what has to be done next.

Each tick: lease, finished looks, due looks, one decision after another per plan until nothing is
left to do, chores, heartbeat. Rollbacks run here, at once, in the effect loop's own thread: the
promise never waits for a queue. A commit anywhere wakes it; at most a second passes between ticks.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from auditlog.context import set_actor
from django.db import OperationalError, close_old_connections, transaction
from django.utils import timezone

from batches import alerts, control, leases, progress, rollback, watch_chores
from batches.commit_signal import CommitSignal
from batches.decide import Action, PlanFacts, decide
from batches.effects import EffectLoop
from batches.execution import call_batch, new_effect_loop, restore_stragglers, take_back
from batches.launch import NotYet, TenantsTaken, open_batch, start
from batches.models import Batch, Heartbeat, Rollback
from batches.observation import Observer
from batches.plan_facts import plan_facts
from plans import approval
from plans.drafting import current_revision, policy_of
from plans.models import Plan
from plans.policy import UpgradePolicy
from plans.refusal import Refused

logger = logging.getLogger(__name__)

DECIDE_LEASE = "watch:decide"
TICK_SECONDS = 1.0
SHORTEST_TICK_SECONDS = 0.05
MOST_ACTIONS_PER_TICK = 20
HEARTBEAT_SECONDS = 1.0


class EffectThread:
    """One event loop in a thread of its own, in which the watch's effect runs live."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="effects", daemon=True)
        self.effects: EffectLoop = new_effect_loop()
        self._running: dict[str, Future[Any]] = {}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        """Begin to accept runs."""
        self._thread.start()

    def submit(self, name: str, run: Coroutine[Any, Any, bool]) -> None:
        """Run a coroutine unless one of that name is running already."""
        if self.is_running(name):
            run.close()
            return
        self._running[name] = asyncio.run_coroutine_threadsafe(run, self._loop)

    def is_running(self, name: str) -> bool:
        """Tell whether the named run goes on; a failed one is logged and forgotten."""
        future = self._running.get(name)
        if future is None:
            return False
        if not future.done():
            return True
        del self._running[name]
        if future.exception() is not None:
            logger.error("The run %s failed.", name, exc_info=future.exception())
        return False

    def stop(self, patience: float = 5.0) -> None:
        """End all runs: leases are let go, so that another watch goes on at once."""

        async def end() -> None:
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.effects.close()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=patience)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=patience)


class Watch:
    """The loop."""

    def __init__(self) -> None:
        self.holder = leases.new_holder("watch")
        self.stopping = threading.Event()
        self.signal = CommitSignal()
        self.effects = EffectThread()
        self.observer = Observer(on_answer=self.signal.nudge)
        self._keeper: leases.Keeper | None = None
        self._policies: dict[tuple[Any, int], UpgradePolicy] = {}
        self._beat_at = 0.0

    def run(self) -> None:
        """Tick until `stopping` is set."""
        self.effects.start()
        self.observer.start()
        try:
            with set_actor(None):
                while not self.stopping.is_set():
                    began = time.monotonic()
                    try:
                        self.tick(timezone.now())
                    except OperationalError:
                        # Busy or away: the next tick tries again, running effects go on.
                        logger.warning("The database did not answer; this tick is skipped.")
                        close_old_connections()
                    self._wait(time.monotonic() - began)
        finally:
            self.observer.stop()
            self.effects.stop()
            if self._keeper is not None:
                self._keeper.stop()
            self.signal.close()

    def _wait(self, spent: float) -> None:
        self.stopping.wait(SHORTEST_TICK_SECONDS)
        self.signal.wait(
            max(0.0, TICK_SECONDS - spent - SHORTEST_TICK_SECONDS), stop=self.stopping
        )

    def tick(self, now: datetime) -> None:
        """Look at everything once."""
        began = time.monotonic()
        if not self._leads(now):
            self._beat("standby", began)
            return
        self.observer.ingest_finished(now)
        for plan in Plan.objects.live().select_related("plugin", "release").order_by("started_at"):
            self._one_plan(plan, now)
        self._start_what_may(now)
        self._expire_what_must(now)
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

    def _one_plan(self, plan: Plan, now: datetime) -> None:
        policy = self._policy(plan)
        self.observer.look_when_due(plan, policy, now)
        last: Action | None = None
        for _turn in range(MOST_ACTIONS_PER_TICK):
            facts = self._facts(plan, policy, now)
            self._condition_alerts(plan, facts, now)
            action = decide(facts)
            if action.do == "stop" or action == last:
                return
            try:
                self._apply(plan, facts, action, now)
            except Refused as refused:
                # Somebody else moved the plan between the facts and the act; look again.
                logger.info("Plan %s: %s: %s", plan.external_id, action.do, refused.sentence)
                return
            last = action
            plan = Plan.objects.select_related("plugin", "release").get(pk=plan.pk)

    def _facts(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> PlanFacts:
        return plan_facts(
            plan,
            policy,
            now,
            breaches=self.observer.breaches(plan, policy),
            missing=self.observer.missing(plan, policy, now),
            promotable=self.observer.promotable(plan, policy),
        )

    def _condition_alerts(self, plan: Plan, facts: PlanFacts, now: datetime) -> None:
        """Let the missing-data alert fall silent by itself when the data is back."""
        if not facts.missing:
            alerts.resolve(plan=plan, kind="missing_metrics", now=now)

    def _apply(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        batch = Batch.objects.get(pk=action.batch) if action.batch is not None else None
        match action.do:
            case "run_rollback":
                self._run_rollback(plan, facts)
            case "escalate_rollback":
                self._escalate(plan, facts, now)
            case "miss_rollback":
                self._miss(plan, facts, now)
            case "finish_rollback":
                self._finish_rollback(plan, facts, now)
            case "rollback":
                self._begin_rollback(plan, policy_scope=facts.scope, action=action, now=now)
            case "pause":
                self._pause(plan, action, now)
            case "hold":
                self._hold(plan, action, now)
            case "alert":
                alerts.fire(
                    plan=plan, kind=action.kind, sentence=action.sentence, now=now, batch=batch
                )
            case "call_batch":
                self.effects.submit(
                    f"effects:{plan.pk}",
                    call_batch(
                        self.effects.effects,
                        batch_id=action.batch or 0,
                        plan_id=plan.pk,
                        executor="watch",
                    ),
                )
            case "restore_stragglers":
                self.effects.submit(
                    f"effects:{plan.pk}",
                    restore_stragglers(
                        self.effects.effects,
                        batch_id=action.batch or 0,
                        plan_id=plan.pk,
                        executor="watch",
                    ),
                )
            case "exclude_untouched":
                with transaction.atomic():
                    locked = Plan.objects.locked(plan.pk)
                    rollback.exclude_untouched(locked, now=now, batch=batch)
            case "settle_calls":
                progress.settle_calls(batch_id=action.batch or 0, now=now)
            case "pass_soak":
                progress.pass_soak(batch_id=action.batch or 0, why=action.sentence, now=now)
            case "open_batch":
                open_batch(batch_id=action.batch or 0, quote_sentence=action.sentence, now=now)
            case "complete":
                with transaction.atomic():
                    ended = progress.complete(plan_id=plan.pk, now=now)
                    alerts.resolve_all(plan=ended, now=now)
            case "needs_hand":
                ended = progress.need_a_hand(plan_id=plan.pk, now=now)
                alerts.fire(
                    plan=ended,
                    kind="needs_hand",
                    sentence="tenants need a person",
                    now=now,
                )
            case "wait":
                progress.say_waiting(plan_id=plan.pk, sentence=action.sentence, now=now)
                if action.kind:
                    alerts.fire(plan=plan, kind=action.kind, sentence=action.sentence, now=now)
            case unknown:
                raise ValueError(f"the watch knows no action {unknown!r}")

    def _run_rollback(self, plan: Plan, facts: PlanFacts) -> None:
        if facts.rollback is None:
            return
        self.effects.submit(
            f"rollback:{plan.pk}",
            take_back(
                self.effects.effects,
                rollback_id=facts.rollback.pk,
                plan_id=plan.pk,
                executor="watch",
            ),
        )

    def _escalate(self, plan: Plan, facts: PlanFacts, now: datetime) -> None:
        if facts.rollback is None:
            return
        self._run_rollback(plan, facts)
        left = facts.rollback.left
        rollback.note_escalation(rollback_id=facts.rollback.pk, left=left, now=now)
        alerts.fire(
            plan=plan,
            kind="rollback_late",
            sentence=f"{len(left)} tenants are not back 30 s before the promise ends",
            now=now,
            payload={"tenants": list(left), "deadline": facts.rollback.deadline.isoformat()},
        )

    def _miss(self, plan: Plan, facts: PlanFacts, now: datetime) -> None:
        if facts.rollback is None:
            return
        left = facts.rollback.left
        rollback.note_missed(rollback_id=facts.rollback.pk, left=len(left), now=now)
        alerts.fire(
            plan=plan,
            kind="rollback_failed",
            sentence=f"{len(left)} tenants were not back in time; work on them goes on",
            now=now,
            payload={"tenants": list(left), "deadline": facts.rollback.deadline.isoformat()},
        )

    def _finish_rollback(self, plan: Plan, facts: PlanFacts, now: datetime) -> None:
        if facts.rollback is None:
            return
        with transaction.atomic():
            ended = rollback.finish(rollback_id=facts.rollback.pk, now=now)
            state = str(ended.state)
            if state == "needs_hand":
                record = Rollback.objects.get(pk=facts.rollback.pk)
                alerts.fire(
                    plan=ended,
                    kind="rollback_failed",
                    sentence=f"{record.needs_hand} tenants could not be taken back",
                    now=now,
                )
            elif state == "rolled_back":
                alerts.resolve_all(plan=ended, now=now)

    def _begin_rollback(
        self, plan: Plan, *, policy_scope: str, action: Action, now: datetime
    ) -> None:
        kind, _colon, guardrail = action.kind.partition(":")
        ruling = self.observer.ruling_of(plan, guardrail) if guardrail else None
        with transaction.atomic():
            record = rollback.request_rollback(
                plan_id=plan.pk,
                by=None,
                reason=action.sentence,
                now=now,
                via="watch",
                trigger=kind,
                scope="plan" if kind == "pause" else policy_scope,
                ruling=ruling,
            )
            if kind != "pause":
                alerts.fire(
                    plan=plan,
                    kind=kind,
                    sentence=action.sentence,
                    now=now,
                    batch=Batch.objects.filter(plan=plan, calling_since__isnull=False)
                    .order_by("-number")
                    .first(),
                    payload=self._breach_payload(plan, guardrail)
                    | {"deadline": record.deadline.isoformat()},
                )

    def _breach_payload(self, plan: Plan, guardrail: str) -> dict[str, Any]:
        ruling = self.observer.ruling_of(plan, guardrail) if guardrail else None
        if ruling is None:
            return {}
        return {
            "kpi": ruling.kpi,
            "value": ruling.value,
            "threshold": ruling.threshold,
            "unit": ruling.unit,
        }

    def _pause(self, plan: Plan, action: Action, now: datetime) -> None:
        with transaction.atomic():
            control.pause(plan_id=plan.pk, by=None, reason=action.sentence, now=now, via="watch")
            alerts.fire(plan=plan, kind="breach", sentence=action.sentence, now=now)

    def _hold(self, plan: Plan, action: Action, now: datetime) -> None:
        with transaction.atomic():
            batch = control.hold(
                batch_id=action.batch or 0, kind=action.kind, reason=action.sentence, now=now
            )
            alerts.fire(plan=plan, kind=action.kind, sentence=action.sentence, now=now, batch=batch)

    def _start_what_may(self, now: datetime) -> None:
        """Start approved plans whose time has come; say what the others wait for."""
        for plan in Plan.objects.filter(state="approved").order_by("approved_at"):
            try:
                start(plan_id=plan.pk, by=None, now=now, via="watch")
            except (NotYet, TenantsTaken) as refused:
                progress.say_waiting(
                    plan_id=plan.pk, sentence=refused.sentence.rstrip("."), now=now
                )
            except Refused as refused:
                progress.say_waiting(
                    plan_id=plan.pk, sentence=refused.sentence.rstrip("."), now=now
                )
                alerts.fire(
                    plan=plan, kind="cannot_start", sentence=refused.sentence, now=now
                )

    def _expire_what_must(self, now: datetime) -> None:
        for plan_id in approval.due_to_expire(now):
            try:
                approval.expire(plan_id=plan_id, now=now)
            except Refused as refused:
                logger.info("Plan %s did not expire: %s", plan_id, refused.sentence)

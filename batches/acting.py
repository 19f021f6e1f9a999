"""Do what was decided: each action of batches/decide.py is one method here, one use case each."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction

from batches import alerts, control, progress, rollback
from batches.decide import Action, PlanFacts
from batches.effect_thread import EffectThread
from batches.execution import call_batch, restore_stragglers, take_back
from batches.launch import open_batch
from batches.models import Batch, Rollback
from batches.observation import Observer
from plans.models import Plan

Act = Callable[[Plan, PlanFacts, Action, datetime], None]


class Acting:
    """The watch's hands: applies actions through the use cases and the effect thread."""

    def __init__(self, effects: EffectThread, observer: Observer) -> None:
        self._effects = effects
        self._observer = observer
        self._acts: dict[str, Act] = {
            "run_rollback": self._run_rollback,
            "escalate_rollback": self._escalate,
            "miss_rollback": self._miss,
            "finish_rollback": self._finish_rollback,
            "rollback": self._begin_rollback,
            "pause": self._pause,
            "hold": self._hold,
            "alert": self._alert,
            "call_batch": self._call_batch,
            "restore_stragglers": self._restore_stragglers,
            "exclude_untouched": self._exclude_untouched,
            "settle_calls": self._settle_calls,
            "pass_soak": self._pass_soak,
            "open_batch": self._open_batch,
            "complete": self._complete,
            "needs_hand": self._need_a_hand,
            "wait": self._wait,
        }

    def apply(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        """Do one action; Refused when somebody else has moved the plan since the facts."""
        self._acts[action.do](plan, facts, action, now)

    # Forward.

    def _open_batch(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        open_batch(batch_id=_batch_id(action), now=now)

    def _call_batch(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        self._effects.submit(
            f"effects:{plan.pk}",
            call_batch(
                self._effects.effects,
                batch_id=_batch_id(action),
                plan_id=plan.pk,
                executor="watch",
            ),
        )

    def _restore_stragglers(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        self._effects.submit(
            f"effects:{plan.pk}",
            restore_stragglers(
                self._effects.effects,
                batch_id=_batch_id(action),
                plan_id=plan.pk,
                executor="watch",
            ),
        )

    def _exclude_untouched(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        with transaction.atomic():
            locked = Plan.objects.locked(plan.pk)
            batch = Batch.objects.get(pk=_batch_id(action))
            rollback.exclude_untouched(locked, now=now, batches=[batch])

    def _settle_calls(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        progress.settle_calls(batch_id=_batch_id(action), now=now)

    def _pass_soak(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        progress.pass_soak(batch_id=_batch_id(action), why=action.sentence, now=now)

    def _complete(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        with transaction.atomic():
            ended = progress.complete(plan_id=plan.pk, now=now)
            alerts.resolve_all(plan=ended, now=now)

    def _need_a_hand(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        with transaction.atomic():
            ended = progress.need_a_hand(plan_id=plan.pk, now=now)
            alerts.fire(
                plan=ended, kind="needs_hand", sentence="some tenants need a person", now=now
            )

    def _wait(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        progress.say_waiting(plan_id=plan.pk, sentence=action.sentence, now=now)
        if action.kind:
            alerts.fire(plan=plan, kind=action.kind, sentence=action.sentence, now=now)

    def _alert(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        batch = Batch.objects.get(pk=action.batch) if action.batch is not None else None
        alerts.fire(plan=plan, kind=action.kind, sentence=action.sentence, now=now, batch=batch)

    # Stop and back.

    def _run_rollback(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        self._effects.submit(
            f"rollback:{plan.pk}",
            take_back(
                self._effects.effects,
                rollback_id=facts.rollback.pk,
                plan_id=plan.pk,
                executor="watch",
            ),
        )

    def _escalate(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        self._run_rollback(plan, facts, action, now)
        left = facts.rollback.left
        rollback.note_escalation(rollback_id=facts.rollback.pk, left=left, now=now)
        alerts.fire(
            plan=plan,
            kind="rollback_late",
            sentence=f"{len(left)} tenants are not back 30 s before the promise ends",
            now=now,
            payload={"tenants": list(left), "deadline": facts.rollback.deadline.isoformat()},
        )

    def _miss(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
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

    def _finish_rollback(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        with transaction.atomic():
            ended = rollback.finish(rollback_id=facts.rollback.pk, now=now)
            record = Rollback.objects.get(pk=facts.rollback.pk)
            if record.needs_hand:
                alerts.fire(
                    plan=ended,
                    kind="rollback_failed",
                    sentence=f"{record.needs_hand} tenants could not be taken back",
                    now=now,
                )
            elif str(ended.state) == "rolled_back":
                alerts.resolve_all(plan=ended, now=now)

    def _begin_rollback(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        kind, _colon, guardrail = action.kind.partition(":")
        ruling = self._observer.ruling_of(plan, guardrail) if guardrail else None
        with transaction.atomic():
            record = rollback.request_rollback(
                plan_id=plan.pk,
                by=None,
                reason=action.sentence,
                now=now,
                via="watch",
                trigger=kind,
                scope="plan" if kind == "pause" else facts.scope,
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
        ruling = self._observer.ruling_of(plan, guardrail) if guardrail else None
        if ruling is None:
            return {}
        return {
            "kpi": ruling.kpi,
            "value": ruling.value,
            "threshold": ruling.threshold,
            "unit": ruling.unit,
        }

    def _pause(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        kind, _colon, guardrail = action.kind.partition(":")
        with transaction.atomic():
            control.pause(plan_id=plan.pk, by=None, reason=action.sentence, now=now, via="watch")
            alerts.fire(
                plan=plan,
                kind=kind,
                sentence=action.sentence,
                now=now,
                payload=self._breach_payload(plan, guardrail),
            )

    def _hold(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        kind, _colon, guardrail = action.kind.partition(":")
        with transaction.atomic():
            batch = control.hold(
                batch_id=_batch_id(action), kind=kind, reason=action.sentence, now=now
            )
            alerts.fire(
                plan=plan,
                kind=kind,
                sentence=action.sentence,
                now=now,
                batch=batch,
                payload=self._breach_payload(plan, guardrail),
            )


def _batch_id(action: Action) -> int:
    if action.batch is None:
        raise ValueError(f"{action.do} needs a batch")
    return action.batch

"""Do what was decided: each action of decisions/decide.py is one method here, a use case each."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.alerting import alerts
from batches.decisions.decision_facts import Action, PlanFacts
from batches.drills import drilling
from batches.effects.effect_thread import EffectThread
from batches.effects.execution import (
    call_batch,
    read_half_done,
    restore_stragglers,
    run_drill,
    take_back,
)
from batches.looks.observation import Observer
from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, going_on, left_behind, progress, settling, waiting
from batches.rollout.blast_radius import automatic_scope
from batches.rollout.launch import open_batch
from batches.rollout.retrying import reopen_batch
from batches.runtime.watch_duties import Fence
from plans.counted_words import counted
from plans.models import Plan
from plans.refusal import Refused

# These start runs of the effect loop, which write under leases of their own.
UNDER_LEASES_OF_THEIR_OWN = frozenset(
    {"run_rollback", "call_batch", "restore_stragglers", "run_drill", "read_half_done"}
)
Act = Callable[[Plan, PlanFacts, Action, datetime], None]


class Acting:
    """The watch's hands: applies actions through the use cases and the effect thread."""

    def __init__(self, effects: EffectThread, observer: Observer, fence: Fence) -> None:
        self._fence = fence
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
            "wait_for_opening": self._wait_for_opening,
            "go_on_at_opening": self._go_on_at_opening,
            "go_on_with_data": self._go_on_with_data,
            "restore_stragglers": self._restore_stragglers,
            "hand_over_stragglers": self._hand_over_stragglers,
            "read_half_done": self._read_half_done,
            "exclude_untouched": self._exclude_untouched,
            "begin_drill": self._begin_drill,
            "run_drill": self._run_drill,
            "advance_drill": self._advance_drill,
            "settle_calls": self._settle_calls,
            "pass_soak": self._pass_soak,
            "open_batch": self._open_batch,
            "reopen_batch": self._reopen_batch,
            "complete": self._complete,
            "needs_hand": self._need_a_hand,
            "wait": self._wait,
        }

    def apply(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        """Do one action; Refused when somebody else has moved the plan since the facts.

        What it writes is one transaction with the check that this watch still decides; LeaseLost
        when another one does.
        """
        act = self._acts[action.do]
        if action.do in UNDER_LEASES_OF_THEIR_OWN:
            act(plan, facts, action, now)
        elif not is_said(plan, action):
            with self._fence(plan.pk):
                act(plan, facts, action, now)

    # Forward.

    def _open_batch(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        open_batch(batch_id=_batch_id(action), now=now, revision=plan.revision)

    def _reopen_batch(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        reopen_batch(batch_id=_batch_id(action), now=now)

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

    def _wait_for_opening(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        waiting.wait_for_opening(batch_id=_batch_id(action), why=action.sentence, now=now)

    def _go_on_at_opening(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        waiting.go_on_at_opening(batch_id=_batch_id(action), now=now)

    def _go_on_with_data(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        going_on.go_on_with_data(plan_id=plan.pk, now=now)

    def _hand_over_stragglers(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        settling.hand_over_stragglers(batch_id=_batch_id(action), now=now)

    def _read_half_done(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        self._effects.submit(
            f"effects:{plan.pk}",
            read_half_done(self._effects.effects, plan_id=plan.pk, executor="watch"),
        )

    def _exclude_untouched(
        self, plan: Plan, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        with transaction.atomic():
            locked = Plan.objects.locked(plan.pk)
            batch = Batch.objects.get(pk=_batch_id(action))
            left_behind.exclude_untouched(locked, now=now, batches=[batch])

    def _settle_calls(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        progress.settle_calls(batch_id=_batch_id(action), now=now)

    def _pass_soak(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        progress.pass_soak(
            batch_id=_batch_id(action), why=action.sentence, now=now, revision=plan.revision
        )

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

    # The drill within a plan.

    def _begin_drill(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        drilling.begin_plan_drill(batch_id=_batch_id(action), now=now)

    def _run_drill(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        self._effects.submit(
            f"effects:{plan.pk}",
            run_drill(
                self._effects.effects, drill_id=action.kind, plan_id=plan.pk, executor="watch"
            ),
        )

    def _advance_drill(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.drill is not None:
            drilling.advance(
                drill_id=facts.drill.pk, step=action.kind, why=action.sentence, now=now
            )

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
                deadline=facts.rollback.deadline,
            ),
        )

    def _escalate(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        self._run_rollback(plan, facts, action, now)
        left = facts.rollback.left
        ending.note_escalation(rollback_id=facts.rollback.pk, left=left, now=now)
        alerts.fire(
            plan=plan,
            kind="rollback_late",
            sentence=f"{counted(len(left), 'tenant is', 'tenants are')} not back 30 s before"
            " the promise ends",
            now=now,
            payload={"tenants": list(left), "deadline": facts.rollback.deadline.isoformat()},
        )

    def _miss(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        left = facts.rollback.left
        ending.note_missed(rollback_id=facts.rollback.pk, left=left, now=now)
        alerts.fire(
            plan=plan,
            kind="rollback_failed",
            sentence=f"{counted(len(left), 'tenant was', 'tenants were')} not back in time;"
            " work on them goes on",
            now=now,
            payload={"tenants": list(left), "deadline": facts.rollback.deadline.isoformat()},
        )

    def _finish_rollback(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        if facts.rollback is None:
            return
        with transaction.atomic():
            written = Rollback.objects.values_list("deadline", flat=True).get(pk=facts.rollback.pk)
            moved = facts.rollback.deadline - written
            ended = ending.finish(rollback_id=facts.rollback.pk, now=now, clock_moved=moved)
            record = Rollback.objects.get(pk=facts.rollback.pk)
            over = "the rollback has ended"
            alerts.resolve_all(plan=ended, now=now, kinds=("rollback_late",), why=over)
            if record.needs_hand:
                alerts.fire(
                    plan=ended,
                    kind="rollback_failed",
                    sentence=f"{counted(record.needs_hand, 'tenant')} could not be taken back",
                    now=now,
                )
            elif str(ended.state) == "rolled_back":
                alerts.resolve_all(plan=ended, now=now)
            elif record.scope == "tenants" and record.trigger == "breach":
                going_on.go_on_without(plan_id=plan.pk, tenants=record.tenants, now=now)

    def _begin_rollback(self, plan: Plan, facts: PlanFacts, action: Action, now: datetime) -> None:
        kind, _colon, guardrail = action.kind.partition(":")
        ruling = self._observer.ruling_of(plan, guardrail) if guardrail else None
        scope = automatic_scope(kind, facts.scope, about=action.scope)
        named: Sequence[str] = ()
        if scope == "tenants":
            named = action.tenants or _failed_tenants(action)
            if not named:
                raise Refused(
                    "Nobody who failed is left to take back.", code="nothing_to_take_back"
                )
        with transaction.atomic():
            if _was_answered(plan, kind):
                raise Refused("A person went on with the plan meanwhile.", code="answered")
            record = rollback.request_rollback(
                plan_id=plan.pk,
                by=None,
                reason=action.sentence,
                now=now,
                via="watch",
                trigger=kind,
                scope=scope,
                tenants=named,
                ruling=ruling,
            )
            if named and action.batch is not None:
                # The plan pauses for a person; whoever resumes it lets these failures pass.
                control.acknowledge(batch_id=_batch_id(action), condition=kind, now=now)
            if kind not in {"pause", "drill"}:
                alerts.fire(
                    plan=plan,
                    kind=kind,
                    sentence=action.sentence,
                    now=now,
                    batch=Batch.objects.filter(plan=plan, calling_since__isnull=False)
                    .order_by("-number")
                    .first(),
                    payload=self._breach_payload(plan, guardrail)
                    | {"deadline": record.deadline.isoformat()}
                    | ({"tenants": list(named)} if named else {}),
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


def is_said(plan: Plan, action: Action) -> bool:
    """Tell whether waiting was told already, so that nothing is to be written."""
    words = action.sentence[: progress.WORDS]
    return action.do == "wait" and not action.kind and plan.waiting_for == words


def _was_answered(seen: Plan, kind: str) -> bool:
    """Tell whether somebody ended, since the plan was seen, the wait for whose end it goes back.

    Who resumed or released in time must not be overruled because a tick began before.
    """
    plan = Plan.objects.locked(seen.pk)
    if kind == "pause":
        return str(plan.state) != "paused" or plan.paused_at != seen.paused_at
    if kind == "hold_expired":
        return not Batch.objects.filter(plan=plan, state="held").exists()
    return False


def _failed_tenants(action: Action) -> tuple[str, ...]:
    """Return the tenants of the action's batch that a call reached and that failed."""
    failed = TenantUpgrade.objects.touched().filter(
        batch_id=_batch_id(action),
        state__in=("failed", "unknown", "restoring"),
        exhausted_at__isnull=False,
    )
    return tuple(failed.order_by("position").values_list("tenant_key", flat=True))


def _batch_id(action: Action) -> int:
    if action.batch is None:
        raise ValueError(f"{action.do} needs a batch")
    return action.batch

"""Faults that are planted into the console on purpose, to see that the simulator finds them.

Each breaks one line of the product in a way in which such consoles do break, and names the families
of worlds in which it shows and the invariant that must say so. To add one: a context manager that
breaks something, and its line in FAULTS.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from unittest import mock

from batches.decisions import plan_facts
from batches.deployers.simulated_deployer import Fault
from batches.effects import back, calls, execution, going_on_calling, seen
from batches.effects.ledger_claims import Claims
from batches.effects.ledger_writes import Writes
from batches.effects.ports import CallEnd
from batches.evidence import watching
from batches.looks.observation import Observer
from batches.rollback import ending
from batches.rollout import control, launch, readiness, stopping
from batches.runtime import leases
from batches.watch import loop
from plans.approvals import approval, grants
from plans.models import Grant
from tests.simulation import families, scenarios
from tests.simulation.families import Family
from tests.simulation.scenario import TENANTS, PlanSpec, Scenario


def _in_place_of(owner: Any, name: str, new: Any) -> AbstractContextManager[Any]:
    return mock.patch.object(owner, name, new)


def no_fence() -> AbstractContextManager[Any]:
    """The state and the epoch of a plan stop nobody who has begun to call."""
    return _in_place_of(Writes, "may_go_on", lambda self: True)


@contextmanager
def call_before_the_journal() -> Iterator[None]:
    """A call is sent first and written down afterwards."""
    original = calls.Calls.call

    async def call(self: Any, task: Any, attempt: int, before: Any, reason: str) -> CallEnd | None:
        order = {"tenant": task.tenant, "plugin": self.job.plugin, "version": task.version}
        order |= {"key": task.key, "fence": task.fence, "digest": None, "plan": self.job.plan}
        if task.direction == "install":
            await self.gate.deployer.install(
                calls.InstallOrder(**order), timeout=self.job.call_timeout
            )
        return await original(self, task, attempt, before, reason)

    with mock.patch.object(calls.Calls, "call", call):
        yield


def no_wait_for_late_calls() -> AbstractContextManager[Any]:
    """A restore counts as soon as the old version shows, whatever is still under way."""
    return _in_place_of(Claims, "late_calls", lambda self, ids: {})


@contextmanager
def deadline_from_process_time() -> Iterator[None]:
    """The deadline of a rollback is counted anew by whoever looks at it."""
    original = plan_facts._rollback_facts

    def facts(plan: Any, clock: Any) -> Any:
        found = original(plan, clock)
        later = ending.Rollback.objects.filter(plan=plan, finished_at=None).first()
        if found is None or later is None:
            return found
        return replace(found, deadline=execution.surroundings.here().now() + timedelta(seconds=180))

    with mock.patch.object(plan_facts, "_rollback_facts", facts):
        yield


def reservation_forgotten() -> AbstractContextManager[Any]:
    """A plan starts without taking its tenants for itself."""
    return _in_place_of(launch, "_reserve", lambda plan: None)


def lost_wake_up() -> AbstractContextManager[Any]:
    """Work that the hands never took is not taken by the watch either."""
    return _in_place_of(loop.Acting, "_call_batch", lambda self, *arguments: None)


def orphans_are_forgotten() -> AbstractContextManager[Any]:
    """Who was being called when a process died is never claimed again."""
    original = Claims._claimable

    def claimable(self: Any, limit: int) -> list[Any]:
        return [row for row in original(self, limit) if row.state not in {"upgrading", "restoring"}]

    return _in_place_of(Claims, "_claimable", claimable)


@contextmanager
def no_read_back() -> Iterator[None]:
    """An answer of 200 is believed without looking at the tenant."""
    original = calls.Calls.read_back

    async def believe(self: Any, task: Any, *, patient: bool) -> Any:
        if patient and task.direction == "install":
            return calls.Observed(task.version)
        return await original(self, task, patient=patient)

    with mock.patch.object(calls.Calls, "read_back", believe):
        yield


def _lying(scenario: Scenario, dice: Any) -> None:
    """The platform says yes and does nothing."""
    scenario.plans.append(PlanSpec(TENANTS[:3], "two"))
    scenario.faults[TENANTS[0]] = Fault("ok", applies="never")


def restore_is_believed() -> AbstractContextManager[Any]:
    """A tenant counts as back when the platform has answered at all."""
    return _in_place_of(back, "back", lambda task, seen: not isinstance(seen, Exception))


def lease_outlives_its_holder() -> AbstractContextManager[Any]:
    """A lease lasts for two minutes, so that nobody takes over from the dead."""
    return _in_place_of(leases, "LEASE_SECONDS", 120.0)


def event_outside_of_its_change() -> AbstractContextManager[Any]:
    """The moves of tenants are not told to the trail when they restore."""
    original = Writes._tell

    def tell(self: Any, now: Any) -> None:
        if self.scope.direction != "restore":
            original(self, now)

    return _in_place_of(Writes, "_tell", tell)


def missing_data_passes() -> AbstractContextManager[Any]:
    """A soak ends by the clock alone."""
    return _in_place_of(Observer, "promotable", lambda self, *arguments: (True, "the time is over"))


@contextmanager
def one_approval_is_enough() -> Iterator[None]:
    """The first yes approves a plan, and its signed approval alone starts it."""
    with (
        _in_place_of(approval.ApprovalRequest, "missing_roles", _first_only),
        _in_place_of(grants, "spend_quorum", _spend_what_is_there),
    ):
        yield


def _spend_what_is_there(plan: Any, request: Any, *, op: str, now: datetime) -> Any:
    bound = grants.bound_by_request(plan, request)
    given = tuple(Grant.objects.filter(request=request))
    for grant in given:
        grants.spend(grant, bound, op=op, now=now)
    return given


def approvals_are_only_looked_at() -> AbstractContextManager[Any]:
    """Signed approvals are there, but nothing uses them up."""
    return _in_place_of(
        grants, "spend_quorum", lambda _plan, request, **_: Grant.objects.filter(request=request)
    )


def gates_open_unsigned() -> AbstractContextManager[Any]:
    """A manual gate opens without anybody's grant."""

    def unsigned(plan: Any, _action: str, **_: Any) -> Any:
        return Grant.objects.filter(plan=plan)[0]

    return _in_place_of(grants, "own_act", unsigned)


def _first_only(request: Any, given: Any) -> list[str]:
    return [] if list(given) else list(request.roles)


@contextmanager
def quote_is_ignored() -> Iterator[None]:
    """Batches begin however long the way back would take."""
    original = readiness.gate_quote

    def gate(plan: Any, policy: Any) -> Any:
        return replace(original(plan, policy), limit=1e9)

    with _in_place_of(plan_facts, "gate_quote", gate), _in_place_of(launch, "gate_quote", gate):
        yield


def freeze_is_ignored() -> AbstractContextManager[Any]:
    """Whoever calls a batch goes on calling although a freeze has begun."""
    return _in_place_of(going_on_calling, "is_frozen", lambda *arguments: False)


def _frozen_midway(scenario: Scenario, dice: Any) -> None:
    """A freeze begins while a batch is called one by one, with most of it still to come."""
    scenario.plans.append(PlanSpec(TENANTS[:8], "two"))
    scenario.parallelism, scenario.latency = 1, 0.6
    scenario.cue("batch_passed", "freeze", dice.uniform(0.8, 1.6))
    scenario.happen(30, "act", "lift")


def retries_outlive_a_stop() -> AbstractContextManager[Any]:
    """Who was to be called again stays so in a plan that is stopped."""
    return _in_place_of(stopping, "call_off_retries", lambda *arguments, **more: None)


def _retry_and_stop(scenario: Scenario, dice: Any) -> None:
    """Who was taken back is to be called again, and then the plan is stopped."""
    scenario.plans.append(PlanSpec(TENANTS[:4], "lenient"))
    scenario.cue("batch_passed", "roll_back_tenants", 0.2)
    scenario.cue("rollback_finished", "retry_some", 0.2)
    scenario.cue("tenants_retried", "stop_here", 0.2)


def _gated(scenario: Scenario, dice: Any) -> None:
    """A plan whose second batch waits at a gate that somebody opens."""
    scenario.plans.append(PlanSpec(TENANTS[:4], "manual"))
    scenario.cue("batch_passed", "promote", 0.2)


def pause_is_forgotten() -> AbstractContextManager[Any]:
    """A pause that nobody ends lasts for ever."""
    original = control.pause

    def pause(**arguments: Any) -> Any:
        plan = original(**arguments)
        type(plan).objects.filter(pk=plan.pk).update(resume_by=None)
        return plan

    return _in_place_of(control, "pause", pause)


def escalation_is_silent() -> AbstractContextManager[Any]:
    """Nobody is told that a rollback will be late, or was."""
    quiet = lambda self, plan, facts, action, now: self._run_rollback(plan, facts, action, now)  # noqa: E731
    return _in_place_of(loop.Acting, "_escalate", quiet)


@contextmanager
def usual_is_guessed_anew() -> Iterator[None]:
    """What counts as usual is asked for at each look, and comes out otherwise each time."""
    original, looks = watching.usual_of, count()

    def usual(*arguments: Any, **more: Any) -> Any:
        known, short = original(*arguments, **more)
        return replace(known, phi=known.phi + 0.1 * next(looks)), short

    with mock.patch.object(watching, "usual_of", usual):
        yield


def untouched_are_forgotten() -> AbstractContextManager[Any]:
    """Whom the rolled-back plan never reached stays as it was."""
    forget = lambda plan, record, now: None  # noqa: E731
    return _in_place_of(ending, "account_for_untouched", forget)


def digests_are_not_compared() -> AbstractContextManager[Any]:
    """A tenant counts as upgraded by the name of its version alone."""
    return _in_place_of(seen, "digest_fits", lambda wanted, seen: True)


def _other_artifact(scenario: Scenario, dice: Any) -> None:
    """The platform installs something else than it was told, and says so when it is read."""
    scenario.plans.append(PlanSpec(TENANTS[:3], "two"))
    scenario.faults[TENANTS[0]] = Fault(digest="0" * 64)


def quarantine_is_for_later() -> AbstractContextManager[Any]:
    """What became of a release since the run began is not asked before the next calls."""
    return _in_place_of(going_on_calling, "with_trust", lambda calling: calling)


def _quarantined_midway(scenario: Scenario, dice: Any) -> None:
    """A release is put into quarantine in the middle of a long batch's calls."""
    scenario.plans.append(PlanSpec(TENANTS, "lenient"))
    scenario.parallelism, scenario.latency, scenario.lose_hints = 1, 0.2, 1.0
    scenario.cue("batch_opened", "quarantine", 0.5)


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault, where it shows, and what says so."""

    plant: Callable[[], AbstractContextManager[Any]]
    families: tuple[Family, ...]
    says: tuple[str, ...]
    first_seed: int = 0


FAULTS: dict[str, Planted] = {
    fault.plant.__name__: fault
    for fault in (
        Planted(no_fence, (families.interrupted,), ("I4 stop",)),
        Planted(call_before_the_journal, (families.calm,), ("I4",)),
        Planted(no_wait_for_late_calls, (families.late,), ("I4",)),
        Planted(deadline_from_process_time, (families.missed,), ("I3",)),
        Planted(reservation_forgotten, (families.rivals,), ("I1",)),
        Planted(lost_wake_up, (families.unhanded,), ("nobody called",)),
        Planted(orphans_are_forgotten, (scenarios.crashes,), ("stuck", "I2", "I3")),
        Planted(no_read_back, (_lying,), ("I2 platform",)),
        Planted(restore_is_believed, (families.stubborn,), ("I4 back",)),
        Planted(lease_outlives_its_holder, (scenarios.crashes,), ("nobody took over",)),
        Planted(event_outside_of_its_change, (families.breach,), ("I10",)),
        Planted(missing_data_passes, (families.held,), ("I11",)),
        Planted(one_approval_is_enough, (families.calm,), ("I5",)),
        Planted(approvals_are_only_looked_at, (families.calm,), ("I5",)),
        Planted(gates_open_unsigned, (_gated,), ("I5",)),
        Planted(quote_is_ignored, (families.quoted,), ("I14",)),
        Planted(freeze_is_ignored, (_frozen_midway,), ("I4 closed",)),
        Planted(retries_outlive_a_stop, (_retry_and_stop,), ("I2",)),
        Planted(pause_is_forgotten, (families.paused,), ("I3 pause",)),
        Planted(escalation_is_silent, (families.missed,), ("I3",)),
        Planted(usual_is_guessed_anew, (families.weighed,), ("I9",)),
        Planted(untouched_are_forgotten, (families.breach,), ("I2",)),
        Planted(digests_are_not_compared, (_other_artifact,), ("artifact",)),
        Planted(quarantine_is_for_later, (_quarantined_midway,), ("trust",)),
    )
}

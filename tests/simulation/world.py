"""One world: the console's processes, the platform, people and faults, until nothing is left to do.

`run` plays a scenario to its end and returns the world, whose logs and rows the invariants judge.
"""

import asyncio
import json
import logging
import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest import mock

from django.db import IntegrityError, OperationalError
from django.utils import timezone
from django_fsm.signals import post_transition

from batches import effects, hands_loop, leases, ledger, surroundings, watch_chores
from batches.deployers.simulated_deployer import SimulatedOptions
from batches.effect_thread import EffectThread
from batches.effects import EffectLoop
from batches.observation import Observer
from batches.watch import Watch
from plans import drafting, failpoints
from plans.models import Plan
from plans.policy import UpgradePolicy
from plans.refusal import BadInput, Refused
from tests.simulation.far_platform import OLD, Fleet, Monitoring, Platform
from tests.simulation.faults import Strike, Strikes
from tests.simulation.hands import Hands
from tests.simulation.operators import ACTS, Cast, Moment
from tests.simulation.scenarios import TENANTS, Cue, PlanSpec, Scenario
from tests.simulation.simulated_database import ROLLING_BACK, SharedConnection, locked
from tests.simulation.simulated_machine import SimulatedMachine
from tests.simulation.virtual_loop import PROCESS, Fiber, Process, ProcessDied, VirtualLoop

BUSY_TIMEOUT = 20.0
TAKEOVER = 10.0
LOOKS = (
    (ledger, "IDLE_LOOK_SECONDS", 0.4),
    (effects, "SETTLE_LOOK", 0.5),
    (hands_loop, "JOIN_LOOK_SECONDS", 0.7),
)
"""How far apart the engine's looks are here, longer than in production: each costs queries."""
QUIET = 7.0
CLEARING_UP = 420.0
"""Seconds in which everything must have ended after the last fault, with people who help."""
OVER = ("completed", "rolled_back", "rejected", "expired", "cancelled", "archived")


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One event as the world saw it committed."""

    at: float
    stream: str
    seq: int
    kind: str
    payload: dict[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One row of the journal as the world saw it committed."""

    at: float
    key: str
    attempt: int
    install: bool


HINT_SECONDS = 0.4
"""How far apart two wake-ups by commits are; the real ones are 0.05 s apart."""


class CommitHint:
    """The watch's wake-up in the simulator: told of each commit, unless the hint is lost."""

    def __init__(self, machine: SimulatedMachine, slowness: float) -> None:
        self._machine = machine
        self._slowness = slowness
        self._flag = machine.flag()

    def nudge(self) -> None:
        self._flag.set()

    def wait(self, seconds: float, *, stop: surroundings.Flag | None = None) -> bool:
        seconds *= self._slowness
        self._machine.sleep(min(seconds, HINT_SECONDS))
        woken = self._flag.wait(max(0.0, seconds - HINT_SECONDS))
        self._flag.clear()
        return woken

    def close(self) -> None:
        """Nothing is open."""


class World:
    """The state of one run."""

    def __init__(self, scenario: Scenario, shared: SharedConnection, cast: Cast) -> None:
        self.scenario = scenario
        self.dice = scenario.dice
        self.shared = shared
        self.cast = cast
        self.loop = VirtualLoop()
        self.loop.on_error = self._loop_error
        self.machine = SimulatedMachine(self.loop)
        options = SimulatedOptions(
            version=OLD,
            latency_seconds=scenario.latency,
            jitter_seconds=scenario.latency / 2,
            seed=str(scenario.seed),
        )
        self.fleet = Fleet(self.loop, options, strict=scenario.strict)
        self.fleet.faults.update(scenario.faults)
        self.platform = Platform(self.loop, self.fleet, scenario.parallelism)
        self.monitoring = Monitoring(self.loop, self.fleet, TENANTS, str(scenario.seed))
        self.monitoring.bad_share.update(scenario.bad_share)
        self.strikes = Strikes(list(scenario.strikes))
        self.processes: list[Process] = []
        self.hints: dict[Process, CommitHint] = {}
        self.hands: list[Hands] = []
        self.plans: dict[int, Any] = {}
        self.trail: list[TrailEntry] = []
        self.journal: list[JournalEntry] = []
        self.sampled: list[float] = []
        """When each look was committed, in the order of their rows."""
        self.problems: list[str] = []
        self.refused: Counter[str] = Counter()
        self.refusals: list[tuple[float, str, str]] = []
        self.acted: Counter[str] = Counter()
        self.moves: Counter[tuple[str, str]] = Counter()
        self.points: Counter[str] = Counter()
        self.locked_until = 0.0
        self.locks: list[tuple[float, float]] = []
        self.downs: list[tuple[float, float, str]] = []
        self.jumps: list[tuple[float, float]] = []
        self.on_commit: list[Callable[[World], None]] = []
        self.ended_at = 0.0
        # Where the invariants that are asked after each commit have come to.
        self.heads: dict[str, tuple[int, str]] = {}
        self.checked = 0
        self.quoted = 0
        self._born = Counter[str]()
        newest = shared.raw.execute("SELECT MAX(id) FROM plans_event").fetchone()
        self._last_event = int(newest[0] or 0)
        self._told = False
        self._enqueued = False
        self._journalled = False
        self._sampled = False
        self._moved: list[tuple[str, str]] = []
        self._heard: Counter[tuple[str, str]] = Counter()
        self._cues = list(scenario.cues)
        self._over = False
        self._restored: list[str] = []
        self.happenings: dict[str, Callable[..., None]] = {
            "monitoring": self._break_monitoring,
            "lock_database": self._lock_database,
            "jump_clock": self._jump_clock,
            "reset_counters": self.monitoring.reset_counters,
            "mend_tenants": self.fleet.faults.clear,
            "act": lambda act: self.act(str(act)),
        }

    # What the code under test meets.

    def reach(self, point: str) -> None:
        """Be at a named point."""
        self.points[point] += 1
        self.touch(point)

    def touch(self, at: str) -> None:
        """Be at a touch: die, stand still, or go on."""
        process = PROCESS.get()
        if process is None:
            return
        if not process.alive:
            raise ProcessDied
        strike = self.strikes.due(at, process.kind, self.loop.time(), lambda: self.leads(process))
        if strike is not None:
            self._strike(strike, process)

    def leads(self, process: Process) -> bool:
        """Tell whether the process holds the lease to decide, in the database."""
        return self.leader() == process.name

    def leader(self) -> str:
        """Return the process in whose name the lease to decide stands."""
        row = self.shared.raw.execute(
            "SELECT holder FROM batches_lease WHERE name = 'watch:decide'"
        ).fetchone()
        return str(row[0]) if row else ""

    def _strike(self, strike: Strike, process: Process) -> None:
        strike.struck_at, strike.struck = self.loop.time(), process.name
        if strike.act == "busy":
            if self.shared.between_transactions:
                raise locked()
            return
        self.downs.append((self.loop.time(), self.loop.time() + strike.seconds, process.name))
        if process.kind == "watch" and self.leads(process):
            others = [p for p in self.processes if p.kind == "watch" and p is not process]
            self._later(TAKEOVER, self._check_takeover, process, others, self.loop.time())
        if strike.act == "freeze":
            process.freeze(strike.seconds)
            fiber = Fiber.current()
            if fiber is not None and self.shared.between_transactions:
                fiber.wait(0)
            return
        process.die()
        self.loop.outside.run(self.loop.call_later, strike.seconds, self._again, process)
        raise ProcessDied

    def _check_takeover(self, lost: Process, others: list[Process], since: float) -> None:
        """Complain unless another watch decides by now, where there was one all the time."""
        ready = [p for p in others if p.alive and not p.frozen and p.born < since]
        disturbed = any(
            end > since and begin < self.loop.time() for begin, end in self.locks
        ) or any(end > since and name != lost.name for _begin, end, name in self.downs)
        if ready and not disturbed and not lost.alive and self.leader() == lost.name:
            self.problems.append(f"nobody took over from {lost.name} within {TAKEOVER} s")

    def before_statement(self, sql: str) -> None:
        """See a statement before it runs."""
        process = PROCESS.get()
        if process is None:
            return
        if not process.alive:
            if sql.startswith(ROLLING_BACK):
                return
            raise ProcessDied
        if self.shared.between_transactions:
            self._give_way(sql, process)
        if sql.startswith('INSERT INTO "plans_event"'):
            self._told = True
        elif sql.startswith('INSERT INTO "batches_deployercall"'):
            self._journalled = True
        elif sql.startswith('INSERT INTO "batches_kpisample"'):
            self._sampled = True
        elif sql.startswith('INSERT INTO "django_q_ormq"'):
            self._enqueued = True
        self.touch("statement")

    def _give_way(self, sql: str, process: Process) -> None:
        fiber = Fiber.current()
        if fiber is None:
            raise RuntimeError(f"the event loop itself asks the database: {sql[:80]}")
        if process.frozen or self.dice.random() < self.scenario.give_way:
            fiber.wait(self.dice.random() * 0.02)
        if not sql.startswith("SELECT"):
            until = self.loop.time() + BUSY_TIMEOUT
            while self.locked_until > self.loop.time():
                fiber.wait(min(self.locked_until, until) - self.loop.time())
                if self.loop.time() >= until:
                    raise locked()

    def before_commit(self) -> None:
        if PROCESS.get() is not None:
            self.touch("commit")

    def after_commit(self) -> None:
        """Tell everybody who wants to know; then the process may die all the same."""
        moved, self._moved = self._moved, []
        self.moves.update(moved)
        if self._told:
            self._told = False
            self._hear()
        for check in self.on_commit:
            check(self)
        self._nudge_others()
        if self._journalled:
            self._journalled = False
            self._copy_journal()
        if self._sampled:
            self._sampled = False
            self._date_samples()
        if self._enqueued:
            self._enqueued = False
            for hands in self.hands:
                hands.hint()
        if PROCESS.get() is not None:
            self.touch("committed")

    def _nudge_others(self) -> None:
        for process, hint in self.hints.items():
            if process is not PROCESS.get() and self.dice.random() >= self.scenario.lose_hints:
                hint.nudge()

    def _date_samples(self) -> None:
        query = "SELECT COALESCE(MAX(id), 0) FROM batches_kpisample"
        (newest,) = self.shared.raw.execute(query).fetchone()
        while len(self.sampled) < newest:
            self.sampled.append(self.loop.time())

    def _noted(self, sender: type, name: str, **_more: Any) -> None:
        noun = getattr(sender, "lifecycle", None)
        if noun is not None:
            self._moved.append((noun.noun, name.removeprefix("to_")))

    def _hear(self) -> None:
        """Read what was added to the trail, and let people act on it."""
        rows = self.shared.raw.execute(
            "SELECT e.id, s.key, e.seq, e.kind, e.payload, e.prev_hash, e.hash FROM plans_event e"
            " JOIN plans_stream s ON s.id = e.stream_id WHERE e.id > ? ORDER BY e.id",
            (self._last_event,),
        ).fetchall()
        for pk, stream, seq, kind, payload, before, digest in rows:
            self._last_event = pk
            entry = TrailEntry(
                self.loop.time(), stream, seq, kind, json.loads(payload), before, digest
            )
            self.trail.append(entry)
            self._cue(entry, kind)
            if kind == "tenants_moved":
                moved = entry.payload["tenants"]
                back = [key for key, state in moved.items() if state == "rolled_back"]
                if back:
                    self._restored = back
                    self._cue(entry, "tenants_restored")

    def _copy_journal(self) -> None:
        rows = self.shared.raw.execute(
            "SELECT id, key, attempt, direction FROM batches_deployercall WHERE id > ? ORDER BY id",
            (len(self.journal),),
        ).fetchall()
        for _pk, key, attempt, direction in rows:
            entry = JournalEntry(self.loop.time(), key, attempt, direction == "install")
            self.journal.append(entry)

    def _cue(self, entry: TrailEntry, kind: str) -> None:
        self._heard[entry.stream, kind] += 1
        for number, spec in enumerate(self.scenario.plans):
            if spec.after_event == kind and number not in self.plans:
                self.plans[number] = None
                self._later(0.5, self._bring, number, spec)
        for cue in list(self._cues):
            plan = self.plans.get(cue.plan)
            if plan is None or entry.stream != f"plan:{plan}" or cue.event != kind:
                continue
            if self._heard[entry.stream, kind] >= cue.nth:
                self._cues.remove(cue)
                self._later(cue.delay, self._on_cue, cue)

    def _on_cue(self, cue: Cue) -> None:
        act, _at, about = cue.act.partition("@")
        if act == "drift":
            self._drift()
        else:
            self.act(act, int(about) if about else cue.plan)

    def _drift(self) -> None:
        """Let somebody who is not the console install again what was just taken back."""
        if self._restored:
            self.fleet.drift(self._restored[0], "1.5.0")

    def _later(self, seconds: float, do: Callable[..., Any], *arguments: Any) -> None:
        self.loop.outside.run(self.loop.call_later, seconds, do, *arguments)

    def policy_of(self, plan_id: str) -> UpgradePolicy:
        """Return the policy under which a plan runs, read past the processes."""
        text, name = self.shared.raw.execute(
            "SELECT policy_text, policy_name FROM plans_planrevision WHERE plan_id = ?"
            " ORDER BY number DESC LIMIT 1",
            (plan_id,),
        ).fetchone()
        return drafting._pinned_policy(text, name)

    def measured(self) -> list[float]:
        """Return the measured durations of restores, as the quote knows them."""
        row = self.shared.raw.execute(
            "SELECT durations FROM batches_deployermeasurement WHERE direction = 'restore'"
        ).fetchone()
        return list(json.loads(row[0])) if row else []

    def journal_keys(self) -> list[tuple[str, int]]:
        """Return what must be written down once."""
        return [(entry.key, entry.attempt) for entry in self.journal]

    # What happens to it.

    def _break_monitoring(self, fault: str, seconds: float) -> None:
        self.monitoring.fault = fault

        def mend() -> None:
            self.monitoring.fault = ""

        self._later(seconds, mend)

    def _lock_database(self, seconds: float) -> None:
        self.locked_until = max(self.locked_until, self.loop.time() + seconds)
        self.locks.append((self.loop.time(), self.locked_until))

    def _jump_clock(self, seconds: float) -> None:
        self.machine.jumped += seconds
        self.jumps.append((self.loop.time(), seconds))

    # Processes.

    def _process(self, kind: str) -> Process:
        self._born[kind] += 1
        process = Process(self.loop, f"{kind}:{self._born[kind]}", kind)
        self.processes.append(process)
        return process

    def _again(self, dead: Process) -> None:
        """Start a dead process anew, as the supervisor does."""
        self.hints.pop(dead, None)
        self.hands = [hands for hands in self.hands if hands.process is not dead]
        if self._over or dead.kind == "web":
            return
        if dead.kind == "watch":
            self.start_watch()
        else:
            self.start_hands()

    def _effects(self, process: Process) -> EffectLoop:
        deployer = self.platform.deployer(process, self.touch)
        return EffectLoop(build=lambda _name: deployer)

    def start_watch(self) -> None:
        process = self._process("watch")
        hint = self.hints[process] = CommitHint(self.machine, self.scenario.slowness)

        def live() -> None:
            effects = EffectThread(self._effects(process))
            observer = Observer(on_answer=hint.nudge, build=self.monitoring.build)
            watch = Watch(signal=hint, effects=effects, observer=observer)
            watch.holder = process.name
            watch.run()

        self._watched(process, process.start(live))

    def start_hands(self) -> None:
        process = self._process("hands")
        hands = Hands(process, self.machine, self._effects(process), self.scenario)
        self.hands.append(hands)
        self._watched(process, process.start(hands.work))

    def _watched(self, process: Process, fiber: Fiber) -> None:
        def ended(done: "asyncio.Future[Any]") -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                if not isinstance(error, OperationalError):
                    self.problems.append(f"{process.name} ended: {type(error).__name__}: {error}")
                process.die()
                self._later(1.0, self._again, process)

        self.loop.outside.run(fiber.done.add_done_callback, ended)

    # People.

    def act(self, name: str, number: int = 0) -> None:
        """Let somebody do something to a plan, in a request of its own."""
        plan_id = self.plans.get(number)
        if plan_id is not None:
            self._request(lambda: self._do(name, plan_id), name)

    def _request(self, work: Callable[[], object], name: str) -> None:
        process = self._process("web")

        def ended(done: "asyncio.Future[Any]") -> None:
            self.processes.remove(process)
            if not done.cancelled() and (error := done.exception()) is not None:
                self.problems.append(f"{name}: {type(error).__name__}: {error}")

        def ask() -> None:
            try:
                work()
                self.acted[name] += 1
            except (Refused, BadInput) as refused:
                self.refused[f"{name}:{getattr(refused, 'code', '')}"] += 1
                self.refusals.append((self.loop.time(), name, str(refused)))
            except (OperationalError, IntegrityError) as error:
                if not isinstance(error, OperationalError):
                    raise

        fiber = process.start(ask)
        self.loop.outside.run(fiber.done.add_done_callback, ended)

    def _do(self, name: str, plan_id: Any) -> None:
        plan = Plan.objects.select_related("plugin", "release").get(pk=plan_id)
        ACTS[name](Moment(self.cast, self.machine.now(), self.dice), plan)

    def _bring(self, number: int, spec: PlanSpec) -> None:
        """Let a plan be drafted and led through its first acts."""

        def draft() -> None:
            plan = drafting.draft_plan(
                draft=drafting.PlanDraft(
                    "pay",
                    spec.version,
                    spec.policy,
                    "fleet",
                    drafting.TenantChoice(keys=spec.tenants),
                    f"pay-{number}",
                ),
                author=self.cast.mara,
                now=self.machine.now(),
                via="api",
            )
            self._drafted(number, plan.pk, spec)

        self._request(draft, "draft")
        self._later(3.0, self._bring_again, number, spec)

    def _bring_again(self, number: int, spec: PlanSpec) -> None:
        """Draft again, as a pipeline does whose request broke off, unless the plan is there."""
        if self.plans.get(number) is not None or self._over:
            return
        row = self.shared.raw.execute(
            "SELECT id FROM plans_plan WHERE external_id = ?", (f"pay-{number}",)
        ).fetchone()
        if row is None:
            self._bring(number, spec)
        else:
            self._drafted(number, uuid.UUID(row[0]), spec)

    def _drafted(self, number: int, plan_id: Any, spec: PlanSpec) -> None:
        self.plans[number] = plan_id
        for place, act in enumerate(spec.acts):
            self._later(0.2 + 0.3 * place, self.act, act, number)

    # Its life.

    def states(self) -> dict[Any, str]:
        """Return the state of every plan, read past the processes."""
        rows = self.shared.raw.execute("SELECT id, state FROM plans_plan").fetchall()
        return dict(rows)

    async def live(self) -> None:
        """Play the scenario, then let people clear up until everything has ended."""
        for _one in range(self.scenario.watches):
            self.start_watch()
        for _one in range(self.scenario.hands):
            self.start_hands()
        for number, spec in enumerate(self.scenario.plans):
            if not spec.after_event:
                self._later(spec.comes_at, self._bring, number, spec)
        for timed in self.scenario.happenings:
            self._later(timed.at, self.happenings[timed.what], *timed.with_)
        while self.loop.time() < self.scenario.seconds and not self._nothing_to_come():
            await asyncio.sleep(1)
        self._heal()
        until = self.loop.time() + CLEARING_UP
        while self.scenario.settles and not self._all_ended():
            if self.loop.time() >= until:
                self.problems.append(f"stuck: {self.states()}")
                break
            self._clear_up()
            await asyncio.sleep(3)
        await asyncio.sleep(2.5)
        self._over = True
        self.ended_at = self.loop.time()
        self.on_commit.clear()
        for process in list(self.processes):
            process.die()
        await asyncio.sleep(0.01)

    def _nothing_to_come(self) -> bool:
        """Tell whether everything has ended, and nobody has said or done anything for a while."""
        quiet = self.loop.time() - (self.trail[-1].at if self.trail else 0.0)
        return self.loop.time() > 4 and self._all_ended() and quiet > QUIET

    def _all_ended(self) -> bool:
        return bool(self.plans) and all(state in OVER for state in self.states().values())

    def _heal(self) -> None:
        """End all faults; only what they have done remains."""
        self.strikes.waiting.clear()
        self._cues.clear()
        self.fleet.faults.clear()
        self.monitoring.fault = ""
        self.locked_until = 0.0

    def _clear_up(self) -> None:
        """Let people do what the state of each plan asks of them."""
        held = self.shared.raw.execute(
            "SELECT plan_id FROM batches_batch WHERE state = 'held'"
        ).fetchall()
        needs = {
            "draft": "cancel",
            "awaiting_approval": "cancel",
            "approved": "cancel",
            "paused": "roll_back",
            "needs_hand": self.dice.choice(["settle_rolled_back", "settle_excluded", "retry"]),
        }
        states = self.states()
        waits = self.loop.time() - (self.trail[-1].at if self.trail else 0.0) > 40
        for number, plan_id in self.plans.items():
            if plan_id is None:
                continue
            state = states[plan_id.hex]
            if state == "running" and waits:
                self.act("roll_back", number)
            if state == "running" and (plan_id.hex,) in held:
                self.act("release_hold", number)
            elif state == "running" and self.scenario.plans[number].policy == "manual":
                self.act("promote", number)
            elif state in needs:
                self.act(needs[state], number)

    def _loop_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.problems.append(f"{context.get('message')}: {type(error).__name__}: {error}")


class _Complaints(logging.Handler):
    """What the console logs as an error is a finding."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ProcessDied | OperationalError):
            return
        words = f"{record.getMessage()} {type(error).__name__}: {error}"
        self._world.problems.append(words)


@contextmanager
def _seeded_entropy(seed: int) -> Iterator[None]:
    """Let ids and names be the same each time the seed is played."""
    source = random.Random(f"entropy {seed}")
    with (
        mock.patch.object(os, "urandom", source.randbytes),
        mock.patch.object(random, "_urandom", source.randbytes),
        mock.patch.object(random, "uniform", source.uniform),
    ):
        yield


def play(world: World) -> None:
    """Run the world in its own surroundings, until its end."""
    shared = world.shared
    old_trap = failpoints.trap(world.reach)
    old_place = surroundings.move_to(cast("surroundings.Surroundings", world.machine))
    shared.before_statement = world.before_statement
    shared.before_commit = world.before_commit
    shared.after_commit = world.after_commit
    leases._seen.clear()
    chores = dict(watch_chores.CHORES)
    if not world.scenario.paperwork:
        watch_chores.CHORES.clear()
    complaints = _Complaints(world)
    log = logging.getLogger("batches")
    post_transition.connect(world._noted, weak=False)
    with ExitStack() as stack:
        stack.callback(failpoints.trap, old_trap)
        stack.callback(surroundings.move_to, old_place)
        stack.callback(watch_chores.CHORES.update, chores)
        stack.callback(post_transition.disconnect, world._noted)
        stack.callback(log.removeHandler, complaints)
        stack.callback(setattr, log, "propagate", True)
        log.addHandler(complaints)
        log.propagate = False
        stack.enter_context(mock.patch.object(timezone, "now", world.machine.now))
        stack.enter_context(_seeded_entropy(world.scenario.seed))
        for owner, name, seconds in LOOKS:
            pace = seconds * world.scenario.slowness
            stack.enter_context(mock.patch.object(owner, name, pace))
        try:
            world.loop.run_until_complete(world.live())
        finally:
            shared.before_statement = lambda sql: None
            shared.before_commit = shared.after_commit = lambda: None
            world.loop.close()

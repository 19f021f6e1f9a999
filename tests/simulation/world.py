"""One world: the console's processes, the platform, people and faults, until nothing is left to do.

`playing.play` runs it; its logs and rows are what the invariants judge.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import OperationalError

from batches.deployers.simulated_deployer import SimulatedOptions
from batches.effects.effect_thread import EffectThread
from batches.effects.loop import EffectLoop
from batches.looks.observation import Observer
from batches.rollback.aftermath_watch import AftermathWatch
from batches.runtime import surroundings
from batches.watch.loop import Watch
from plans.drafting import drafting
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from tests.simulation.far_platform import OLD, Fleet, Monitoring, Platform
from tests.simulation.faults import Strike, Strikes
from tests.simulation.feed import Feed, JournalEntry, TrailEntry
from tests.simulation.hands import Hands
from tests.simulation.operators import Cast
from tests.simulation.people import People
from tests.simulation.scenario import TENANTS, Scenario
from tests.simulation.simulated_database import ROLLING_BACK, SharedConnection, locked
from tests.simulation.simulated_machine import SimulatedMachine
from tests.simulation.virtual_loop import PROCESS, Fiber, Process, ProcessDied, VirtualLoop

BUSY_TIMEOUT = 20.0
TAKEOVER = 10.0
UNSEEN = 4.0
"""How much longer a takeover takes whose moment is not written in the lease."""
QUIET = 4.5
"""After so long without a word in any trail a world is over; looks after a rollback break it."""
CLEARING_UP = 420.0
"""Seconds in which everything must have ended after the last fault, with people who help."""
OVER = ("completed", "stopped", "rolled_back", "rejected", "expired", "cancelled", "archived")
HINT_SECONDS = 0.6
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
        gap = min(seconds, HINT_SECONDS * self._slowness)
        self._machine.sleep(gap)
        woken = self._flag.wait(seconds - gap)
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
        self.feed = Feed(shared, self.loop)
        self.people = People(self)
        self.feed.told = self.people.hear
        self.problems: list[str] = []
        self.points: Counter[str] = Counter()
        self.locked_until = 0.0
        self.locks: list[tuple[float, float]] = []
        self.downs: list[tuple[float, float, str]] = []
        self.jumps: list[tuple[float, float]] = []
        self.on_commit: list[Callable[[World], None]] = []
        self.ended_at = 0.0
        self.ended_with: list[Plan] | None = None
        # Where the invariants that are asked after each commit have come to.
        self.heads: dict[str, tuple[int, str]] = {}
        self.checked = 0
        self.quoted = 0
        self.proven = 0
        self._born = Counter[str]()
        self.over = False
        self.happenings: dict[str, Callable[..., None]] = {
            "monitoring": self._break_monitoring,
            "lock_database": self._lock_database,
            "jump_clock": self._jump_clock,
            "reset_counters": self.monitoring.reset_counters,
            "mend_tenants": self.fleet.faults.clear,
            "act": lambda act: self.people.act(str(act)),
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
            self._refuse()
            return
        self.downs.append((self.loop.time(), self.loop.time() + strike.seconds, process.name))
        if process.kind == "watch" and self.leads(process):
            others = [p for p in self.processes if p.kind == "watch" and p is not process]
            # With a clock that was set back, who holds the lease has to be seen to be silent.
            within = TAKEOVER + (UNSEEN if self.jumps else 0)
            self.later(within, self._check_takeover, process, others, self.loop.time())
        if strike.act == "freeze":
            process.freeze(strike.seconds)
            fiber = Fiber.current()
            if fiber is not None and self.shared.between_transactions:
                fiber.wait(0)
            return
        process.die()
        self.loop.outside.run(self.loop.call_later, strike.seconds, self._again, process)
        raise ProcessDied

    def _refuse(self) -> None:
        """Let the database be busy right now, where it can be."""
        if self.shared.between_transactions:
            raise locked()

    @property
    def database_failed(self) -> bool:
        """Tell whether the database was out of reach at some time, which is worth an alert."""
        return bool(self.locks)

    def _check_takeover(self, lost: Process, others: list[Process], since: float) -> None:
        """Complain unless another watch decides by now, where there was one all the time."""
        ready = [p for p in others if p.alive and not p.frozen and p.born < since]
        disturbed = any(
            end > since and begin < self.loop.time() for begin, end in self.locks
        ) or any(
            # One that woke up in between and was lost again is judged from then on.
            begin > since if name == lost.name else end > since
            for begin, end, name in self.downs
        )
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
        self._let_through(sql)
        self.feed.statement(sql)
        self.touch("statement")

    def _give_way(self, sql: str, process: Process) -> None:
        fiber = Fiber.current()
        if fiber is None:
            raise RuntimeError(f"the event loop itself asks the database: {sql[:80]}")
        if process.frozen or self.dice.random() < self.scenario.give_way:
            fiber.wait(self.dice.random() * 0.02)

    def _let_through(self, sql: str) -> None:
        """Let a statement come to the database, or raise what the driver raises instead."""
        fiber = Fiber.current()
        if fiber is not None and self.shared.between_transactions and not sql.startswith("SELECT"):
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
        wrote_to = self.feed.committed()
        for check in self.on_commit:
            check(self)
        self._nudge_others()
        if "queue" in wrote_to:
            for hands in self.hands:
                hands.hint()
        if PROCESS.get() is not None:
            self.touch("committed")

    def _nudge_others(self) -> None:
        for process, hint in self.hints.items():
            if process is not PROCESS.get() and self.dice.random() >= self.scenario.lose_hints:
                hint.nudge()

    def later(self, seconds: float, do: Callable[..., Any], *arguments: Any) -> None:
        self.loop.outside.run(self.loop.call_later, seconds, do, *arguments)

    @property
    def trail(self) -> list[TrailEntry]:
        """Return all events in the order in which they were committed."""
        return self.feed.trail

    @property
    def journal(self) -> list[JournalEntry]:
        """Return the journal's rows in the order in which they were committed."""
        return self.feed.journal

    def policy_of(self, plan_id: str) -> UpgradePolicy:
        """Return the policy under which a plan runs, read past the processes."""
        text, name = self.shared.raw.execute(
            "SELECT r.policy_text, r.policy_name FROM plans_planrevision r JOIN plans_plan p"
            " ON p.id = r.plan_id AND p.revision = r.number WHERE p.id = ?",
            (plan_id,),
        ).fetchone()
        return drafting._parsed(text).policies[name]

    def measured(self, direction: str) -> tuple[list[float], int]:
        """Return the measured durations of calls and their number, as the quote knows them."""
        row = self.shared.raw.execute(
            "SELECT durations, count FROM batches_deployermeasurement WHERE direction = ?",
            (direction,),
        ).fetchone()
        return (list(json.loads(row[0])), row[1]) if row else ([], 0)

    def journal_keys(self) -> list[tuple[str, int]]:
        """Return what must be written down once."""
        return [(entry.key, entry.attempt) for entry in self.journal]

    # What happens to it.

    def _break_monitoring(self, fault: str, seconds: float) -> None:
        self.monitoring.fault = fault

        def mend() -> None:
            self.monitoring.fault = ""

        self.later(seconds, mend)

    def _lock_database(self, seconds: float) -> None:
        self.locked_until = max(self.locked_until, self.loop.time() + seconds)
        self.locks.append((self.loop.time(), self.locked_until))

    def _jump_clock(self, seconds: float) -> None:
        self.machine.jumped += seconds
        self.jumps.append((self.loop.time(), seconds))

    # Processes.

    def process(self, kind: str) -> Process:
        self._born[kind] += 1
        process = Process(self.loop, f"{kind}:{self._born[kind]}", kind)
        self.processes.append(process)
        return process

    def _again(self, dead: Process) -> None:
        """Start a dead process anew, as the supervisor does."""
        self.hints.pop(dead, None)
        self.hands = [hands for hands in self.hands if hands.process is not dead]
        if self.over or dead.kind == "web":
            return
        if dead.kind == "watch":
            self.start_watch()
        else:
            self.start_hands()

    def _effects(self, process: Process) -> EffectLoop:
        deployer = self.platform.deployer(process, self.touch)
        return EffectLoop(build=lambda _name: deployer)

    def start_watch(self) -> None:
        process = self.process("watch")
        hint = self.hints[process] = CommitHint(self.machine, self.scenario.slowness)

        def live() -> None:
            effects = EffectThread(self._effects(process))
            observer = Observer(on_answer=hint.nudge, build=self.monitoring.build)
            aftermath = AftermathWatch(on_answer=hint.nudge, build=self.monitoring.build)
            watch = Watch(
                signal=hint,
                effects=effects,
                observer=observer,
                aftermath=aftermath,
                holder=process.name,
            )
            watch.duties.shared = self.scenario.shared
            watch.run()

        self._watched(process, process.start(live))

    def start_hands(self) -> None:
        process = self.process("hands")
        hands = Hands(process, self.machine, self._effects(process), self.scenario)
        self.hands.append(hands)
        self._watched(process, process.start(hands.work))

    def _watched(self, process: Process, fiber: Fiber) -> None:
        def ended(done: "asyncio.Future[Any]") -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                if not isinstance(error, OperationalError):
                    self.problems.append(f"{process.name} ended: {type(error).__name__}: {error}")
                process.die()
                self.later(1.0, self._again, process)

        self.loop.outside.run(fiber.done.add_done_callback, ended)

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
                self.later(spec.comes_at, self.people.bring, number, spec)
        for timed in self.scenario.happenings:
            self.later(timed.at, self.happenings[timed.what], *timed.with_)
        while self.loop.time() < self.scenario.seconds and not self._nothing_to_come():
            await asyncio.sleep(1)
        self._heal()
        until = self.loop.time() + CLEARING_UP
        while self.scenario.settles and not self._all_ended():
            if self.loop.time() >= until:
                self.problems.append(f"stuck: {self.states()}")
                break
            self.people.clear_up()
            await asyncio.sleep(3)
        await asyncio.sleep(2.5)
        self.over = True
        self.ended_at = self.loop.time()
        self.on_commit.clear()
        for process in list(self.processes):
            process.die()
        await asyncio.sleep(0.01)

    def _nothing_to_come(self) -> bool:
        """Tell whether everything has ended, and nobody has said or done anything for a while."""
        over = self._all_ended() and not self.people.about_to_act
        if self.loop.time() <= 4 or not over or self.feed.quiet_for() <= QUIET:
            return False
        return not (self.scenario.sees_through and self._still_watched())

    def _still_watched(self) -> bool:
        """Tell whether the tenants of a rollback are still being watched."""
        watching = "SELECT 1 FROM batches_rollback WHERE aftermath = 'watching'"
        return self.shared.raw.execute(watching).fetchone() is not None

    def _all_ended(self) -> bool:
        return bool(self.plans) and all(state in OVER for state in self.states().values())

    def _heal(self) -> None:
        """End all faults; only what they have done remains."""
        self.strikes.waiting.clear()
        self.people.forget()
        self.fleet.faults.clear()
        self.monitoring.fault = ""
        self.locked_until = 0.0

    def _loop_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.problems.append(f"{context.get('message')}: {type(error).__name__}: {error}")

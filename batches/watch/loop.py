"""The watch: level-triggered, it looks at every live plan and does what has to be done next.

Each tick: lease, finished looks, due looks, one decision after another per plan until nothing is
left to do, plans that may start; once a second the chores and the heartbeat. Rollbacks run here, at
once, in the effect loop's own thread: the promise never waits for a queue. A commit anywhere wakes
it; at most a second passes between ticks.
"""

import logging
import math
from collections.abc import Callable, Sequence, Set
from datetime import datetime

from auditlog.context import set_actor
from django.db import connections

from batches.alerting import alerts
from batches.break_glass import offline
from batches.decisions import clock_moves
from batches.effects.effect_thread import EffectThread
from batches.looks.observation import Observer
from batches.models import Heartbeat
from batches.rollback import aftermath
from batches.rollback.aftermath_watch import AftermathWatch
from batches.rollout.success_rate import alert_below
from batches.runtime import free_space, leases, surroundings
from batches.runtime.commit_signal import CommitSignal, commit_signal
from batches.runtime.leases import LeaseLost
from batches.runtime.outage import Outage
from batches.runtime.steady_clock import JUMP_SECONDS, SteadyClock
from batches.runtime.watch_duties import Duties
from batches.watch import chores
from batches.watch.acting import Acting
from batches.watch.deciding import Deciding
from batches.watch.releases import ReleaseWatch
from batches.watch.starting import UNDECIDED, Starting
from plans.database_away import DATABASE_AWAY, only_this_transaction
from plans.failpoints import reach
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan
from plans.refusal import BadInput, Refused

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
SHORTEST_TICK_SECONDS = 0.05
HEARTBEAT_SECONDS = 1.0
HOUSE_SECONDS = 1.0
"""How far apart the housekeeping is, however often commits wake the watch in between."""
SUCCESS_RATE_SECONDS = 60.0
COMING = ("awaiting_approval", "approved")
"""Plans in these states may start, or run out of their time."""


class Watch:
    """The loop."""

    def __init__(
        self,
        *,
        signal: CommitSignal | None = None,
        effects: EffectThread | None = None,
        observer: Observer | None = None,
        aftermath: AftermathWatch | None = None,
        steady: Callable[[], float] | None = None,
        holder: str = "",
        house_seconds: float = HOUSE_SECONDS,
    ) -> None:
        self.steady = steady or surroundings.here().monotonic
        self.clock = SteadyClock()
        self._moved = 0.0
        self.holder = holder or leases.new_holder("watch")
        self.stopping = surroundings.here().flag()
        self.signal = signal or commit_signal()
        self.effects = effects or EffectThread()
        self.observer = observer or Observer(on_answer=self.signal.nudge)
        self.aftermath = aftermath or AftermathWatch(on_answer=self.signal.nudge)
        self.duties = Duties(self.holder)
        acting = Acting(self.effects, self.observer, self.duties.fence)
        self.deciding = Deciding(acting, self.observer, self.duties.fence, self.clock)
        self.starting = Starting(self.duties, self._alone, on_answer=self.signal.nudge)
        self.releases = ReleaseWatch()
        self._outage = Outage()
        self._patience = TICK_SECONDS
        self._role = ""
        self._beat_at = 0.0
        self._rated_at = 0.0
        self._house_seconds = house_seconds
        self._kept_at = -math.inf

    def run(self) -> None:
        """Tick until `stopping` is set."""
        self.effects.start()
        self.observer.start()
        self.aftermath.start()
        try:
            with set_actor(None):
                while not self.stopping.is_set():
                    began = surroundings.here().monotonic()
                    self._tick_or_skip()
                    self._wait(surroundings.here().monotonic() - began)
        finally:
            self.close()

    def close(self) -> None:
        """End what runs and give the leases back, so that another watch goes on at once."""
        self.observer.stop()
        self.aftermath.stop()
        self.starting.stop()
        self.effects.stop()
        self.signal.close()
        try:
            self.duties.leases.stop()
        except DATABASE_AWAY:
            logger.warning("The database is away: the leases run out by themselves.")

    def _tick_or_skip(self) -> None:
        """Tick; where the database is busy, full or away, the next tick tries again."""
        now, steady = self._clocks()
        try:
            free_space.release_when_full()
            self.tick(now, steady)
            self._outage.answered(now=surroundings.here().now(), leads=self.duties.leads)
        except DATABASE_AWAY as error:
            # Effects that run go on: the ledger is as patient.
            self._outage.failed(error, began=now, now=surroundings.here().now())
            connections.close_all()

    def _wait(self, spent: float) -> None:
        self.stopping.wait(SHORTEST_TICK_SECONDS)
        left = self._patience - spent - SHORTEST_TICK_SECONDS
        self.signal.wait(max(0.0, left), stop=self.stopping)

    def _clocks(self) -> tuple[datetime, float]:
        """Return both clocks as they are at the same moment."""
        while True:
            steady = self.steady()
            now = surroundings.here().now()
            # A process that stood still between the two would see a move that never was.
            if self.steady() - steady < JUMP_SECONDS / 4:
                return now, steady

    def tick(self, now: datetime, steady: float | None = None) -> None:
        """Look at everything once; `steady` is the steady clock at the moment of `now`."""
        reach("watch.ticking")
        began = surroundings.here().monotonic()
        moved = self.clock.look(now, self.steady() if steady is None else steady)
        if moved:
            self.observer.clock_was_moved(moved)
            self.aftermath.clock_was_moved(moved)
        self._patience = TICK_SECONDS
        for plan_id in self.duties.refresh(now):
            self.observer.forget(plan_id)
        if self.duties.idle:
            self._beat("standby", began)
            # Look again as soon as the lease could run out: a takeover has ten seconds in all.
            self._patience = min(TICK_SECONDS, self.duties.held_for + 0.02)
            return
        self._tell_of_clock(moved, now)
        # First of all: a plan that was taken back offline must not go forward from there.
        offline.take_in_records(now)
        try:
            self.observer.ingest_finished(now, fence=self.duties.fence)
        except BadInput as broken:
            # Looks are lost until the file is mended; the plans below say so and promote nothing.
            logger.warning("What the sources answered cannot be used: %s", broken)
        plans = _live_and_coming()
        live = [plan for plan in plans if str(plan.state) in LIVE_PLAN_STATES]
        self._forget_ended(live)
        mine = [plan for plan in live if self.duties.decides(plan.pk)]
        for plan, act in self.deciding.about(mine, now):
            self._alone(act, plan, now)
        if self.duties.leads:
            try:
                self.starting.start_what_may(plans, now)
                if began - self._kept_at >= self._house_seconds:
                    self._kept_at = began
                    self._keep_house(plans, now, began)
            except LeaseLost:
                logger.warning("Another watch does the chores by now.")
                self.aftermath.forget()
        else:
            self.aftermath.forget()
        self._beat("leading", began)

    def _keep_house(self, plans: Sequence[Plan], now: datetime, began: float) -> None:
        """Do what concerns no running plan, or all of them, and can wait for a second."""
        self.aftermath.tick(now, fence=self.duties.fence_of_chores, clock=self.clock)
        if any(str(plan.state) in COMING for plan in plans):
            self.starting.expire_what_must(now)
        told = alerts.open_ones()
        self._end_alerts_that_are_over(set(told.values()), now)
        if began - self._rated_at >= SUCCESS_RATE_SECONDS:
            self._rated_at = began
            self.duties.forget_dead_watches(now)
            alert_below(now)
            offline.forget_what_is_over()
            with self.duties.fence_of_chores():
                aftermath.forget_old_looks(now)
        free_space.tell(now, told)
        self.releases.tick(now, told, fence=self.duties.fence_of_chores)
        for name, chore in chores.CHORES.items():
            try:
                chore(now)
            except (*DATABASE_AWAY, OSError, Refused) as error:
                logger.exception("The chore %s failed; it is tried again.", name)
                if isinstance(error, DATABASE_AWAY):
                    # The next one needs a connection that stands.
                    connections.close_all()

    def _tell_of_clock(self, moved: float, now: datetime) -> None:
        """Say that the wall clock was moved, until it is written down."""
        self._moved += moved
        if not self._moved:
            return
        logger.warning("The wall clock was moved by %.1f s.", self._moved)
        clock_moves.note_move(seconds=self._moved, clock=self.clock, now=now)
        self._moved = 0.0

    def _beat(self, role: str, began: float) -> None:
        ended = surroundings.here().monotonic()
        spent = (ended - began) * 1000
        # Each heartbeat is a commit, and a commit wakes every other watch.
        if role == self._role and ended - self._beat_at < HEARTBEAT_SECONDS:
            return
        self._role, self._beat_at = role, ended
        # Where plans are shared out, every watch counts; else there is one that matters.
        name = self.holder if role == "standby" or self.duties.shared else "watch"
        told = {
            "kind": "watch",
            "at": surroundings.here().now(),
            "tick_ms": round(spent, 2),
            "detail": {"role": role, "holder": self.holder},
        }
        # One statement as long as the row is there, which is always but once.
        if not Heartbeat.objects.filter(name=name).update(**told):
            Heartbeat.objects.update_or_create(name=name, defaults=told)

    # Plans.

    def _forget_ended(self, live: Sequence[Plan]) -> None:
        """Keep nothing at hand of plans that have ended."""
        self.observer.keep_only({plan.pk for plan in live})
        self.deciding.keep_only(live)

    def _alone(self, act: Callable[[Plan, datetime], None], plan: Plan, now: datetime) -> bool:
        """Do something about one plan; what goes wrong there must not hold the other plans up.

        Tell whether nothing went wrong.
        """
        try:
            act(plan, now)
            return True
        except LeaseLost:
            self._passed_on(plan)
        except DATABASE_AWAY:
            if not only_this_transaction():
                raise
            logger.warning("Plan %s was locked by somebody else too long.", plan.external_id)
        except Exception as error:
            logger.exception("The watch could not decide about plan %s.", plan.external_id)
            self._say_undecided(plan, error, now)
        return False

    def _passed_on(self, plan: Plan) -> None:
        """Forget what is known of a plan about which somebody else decides by now."""
        logger.warning("Plan %s is decided about by another watch.", plan.external_id)
        self.observer.forget(plan.pk)

    def _say_undecided(self, plan: Plan, error: Exception, now: datetime) -> None:
        try:
            alerts.fire(
                plan=plan,
                kind=UNDECIDED,
                sentence="the watch cannot decide about this plan, so nothing moves:"
                f" {type(error).__name__}: {error}",
                now=now,
            )
        except DATABASE_AWAY:
            if not only_this_transaction():
                raise

    def _end_alerts_that_are_over(self, told: Set[str], now: datetime) -> None:
        """Close what was told of things that are over; `told`: the kinds of alert that fire now."""
        if clock_moves.KIND in told:
            clock_moves.settle_down(now)
        self.starting.end_alerts_that_are_over(told, now)
        if told & aftermath.KINDS:
            with self.duties.fence_of_chores():
                aftermath.close_alerts_of_archived(now)


def _live_and_coming() -> list[Plan]:
    """Return all plans about which anything may have to be decided, in one question."""
    wanted = Plan.objects.filter(state__in=(*LIVE_PLAN_STATES, *COMING))
    return list(wanted.select_related("plugin", "release").order_by("started_at"))

"""What the watch does next with a plan: one pure function from facts to one action.

The rules stand in the order in which they matter: rollback deadline, breach, missing data and its
return, batch clock, pause deadline, hold deadline, failure budget, drill, soak, next batch. The
watch applies the action, reads the facts again and asks again, until there is nothing more to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batches.pacing import allowed_failures, best_success_rate, failure_rate, overdue
from plans.policy import Conditions, Limits

ESCALATE_BEFORE_DEADLINE = timedelta(seconds=30)
TAKEOVER_SECONDS = 2.0
WAITS_TOLD = ("closed_for_good", "release_not_trusted", "quote_exceeds_limit")
"""What a plan waits for that its people are told of, for as long as it waits."""
STOPS_WIDENING = (
    "; the release cannot be taken back, so nothing is restored and no further tenant is upgraded"
)


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch as the watch sees it.

    `forward_left`: tenants that still wait for their call; `to_retry`: those of them that a stop
    left unknown. `drilled`: tenants that need a hand because of a drill; they are not failures.
    `waits_since`: since when it waits for an opening in the middle of its calls. `left_out`:
    tenants that a person left out before any call reached them.
    """

    pk: int
    number: int
    name: str
    state: str
    size: int
    counts: Mapping[str, int]
    advance: str = "automatic"
    promoted: bool = False
    forward_left: int = 0
    to_retry: int = 0
    stragglers: int = 0
    untouched_failures: int = 0
    failures: int = 0
    drilled: int = 0
    left_out: int = 0
    calls_open: int = 0
    calling_since: datetime | None = None
    waits_since: datetime | None = None
    handed_out_at: datetime | None = None
    soak_left: float = 0.0
    held_at: datetime | None = None
    held_kind: str = ""
    acknowledged: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollbackFacts:
    """An unfinished rollback. `left`: tenants that are not back; `checked`: read once more."""

    pk: str
    deadline: datetime
    left: tuple[str, ...]
    checked: bool
    escalated: bool
    missed: bool


@dataclass(frozen=True, slots=True)
class BreachFacts:
    """A guardrail that is broken now. `tenants` broke it, where its scope is each tenant."""

    key: str
    kpi: str
    action: str
    sentence: str
    scope: str = "plan"
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingFacts:
    """Monitoring data that is missing, since when and for which Kpi."""

    kpi: str
    since: datetime
    sentence: str


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """What the drill within the plan needs next: begin, run, a step of its own, or failed."""

    step: str
    sentence: str = ""
    pk: str = ""
    closed: str = ""
    """Why its tenant may not be called forward now, by windows and freezes."""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Everything that a decision about one plan depends on.

    `rehearsal` says why a plan that rehearses a rollback is to ask for it now.
    `window_open`: what comes next may be called, by the policy's windows and by all freezes;
    `window_for_good`: it never will be. `irreversible`: the release cannot be taken back.
    `all_seen_at`: when each watched Kpi had brought data again, None while one has none.
    """

    state: str
    now: datetime
    limits: Limits
    on: Conditions
    batches: tuple[BatchFacts, ...]
    scope: str = "plan"
    orchestrator_on: bool = True
    rollback_on: bool = True
    watch_may_call: bool = True
    resume_by: datetime | None = None
    rollback: RollbackFacts | None = None
    breaches: tuple[BreachFacts, ...] = ()
    missing: tuple[MissingFacts, ...] = ()
    all_seen_at: datetime | None = None
    window_open: bool = True
    window_sentence: str = ""
    window_for_good: bool = False
    irreversible: bool = False
    promotable: bool = False
    promotable_sentence: str = ""
    quote_fits: bool = True
    quote_sentence: str = ""
    release_problem: str = ""
    room_problem: str = ""
    unreadable: str = ""
    drill: DrillFacts | None = None
    rehearsal: str = ""

    @property
    def live(self) -> BatchFacts | None:
        """Return the batch that is deploying, soaking or held."""
        for batch in self.batches:
            if batch.state in {"deploying", "soaking", "held"}:
                return batch
        return None

    @property
    def next(self) -> BatchFacts | None:
        """Return the first batch that has not begun."""
        return next((batch for batch in self.batches if batch.state == "pending"), None)

    @property
    def takes_back(self) -> bool:
        """Tell whether the console may take this plan back by itself."""
        return self.rollback_on and not self.irreversible

    def stopping(self, sentence: str) -> str:
        """Return the sentence of a trigger that only stops, with what will not be done."""
        return sentence + STOPS_WIDENING if self.irreversible else sentence

    @property
    def to_reopen(self) -> BatchFacts | None:
        """Return the first batch that had ended and has tenants to be called again."""
        ended = (batch for batch in self.batches if batch.state in {"passed", "rolled_back"})
        return next((batch for batch in ended if batch.forward_left), None)

    @property
    def touched(self) -> bool:
        """Tell whether any batch has begun."""
        return any(batch.state not in {"pending", "skipped"} for batch in self.batches)

    def totals(self) -> dict[str, int]:
        """Return the tenant counts of the whole plan."""
        total: dict[str, int] = {}
        for batch in self.batches:
            for state, n in batch.counts.items():
                total[state] = total.get(state, 0) + n
        return total


@dataclass(frozen=True, slots=True)
class Action:
    """What to do: its `do` names the use case that the watch calls with the rest.

    `scope` and `tenants`: what a breach was about, where it was not the whole plan.
    """

    do: str
    sentence: str = ""
    batch: int | None = None
    kind: str = ""
    scope: str = "plan"
    tenants: tuple[str, ...] = ()


Rule = Callable[[PlanFacts], Action | None]


def _alert_and(condition: str, what: str, kind: str, sentence: str, batch: BatchFacts) -> Action:
    if what == "rollback":
        return Action("rollback", sentence, batch.pk, kind)
    return Action("hold", sentence, batch.pk, condition)


def _rollback_clock(facts: PlanFacts) -> Action | None:
    rollback = facts.rollback
    if rollback is None:
        return Action("stop") if facts.state == "rolling_back" else None
    if not rollback.left and rollback.checked:
        return Action("finish_rollback")
    if rollback.left and not rollback.missed and facts.now >= rollback.deadline:
        return Action("miss_rollback", f"{len(rollback.left)} tenants are not back")
    if (
        rollback.left
        and not rollback.escalated
        and facts.now >= rollback.deadline - ESCALATE_BEFORE_DEADLINE
    ):
        return Action("escalate_rollback", f"{len(rollback.left)} tenants are not back yet")
    return Action("run_rollback")


_WIDEST_FIRST = ("plan", "batch", "tenant")


def _breach(facts: PlanFacts) -> Action | None:
    if not facts.touched or facts.state not in {"running", "paused"}:
        return None
    # The widest first: what takes the plan back takes its tenants back as well.
    breaches = sorted(facts.breaches, key=lambda breach: _WIDEST_FIRST.index(breach.scope))
    for breach in breaches:
        if breach.action == "rollback" and facts.takes_back:
            return Action(
                "rollback",
                breach.sentence,
                kind=f"breach:{breach.key}",
                scope=breach.scope,
                tenants=breach.tenants,
            )
    live = facts.live
    for breach in breaches:
        if breach.action == "pause" and facts.state == "running":
            return Action("pause", breach.sentence, kind=f"breach:{breach.key}")
        if breach.action == "rollback" and live is not None and live.state != "held":
            # Only people roll back, or nobody can: but nothing may widen.
            return Action("hold", facts.stopping(breach.sentence), live.pk, f"breach:{breach.key}")
        if breach.action == "rollback" and live is None and facts.state == "running":
            return Action("pause", facts.stopping(breach.sentence), kind=f"breach:{breach.key}")
    return None


def missing_too_long(facts: PlanFacts) -> MissingFacts | None:
    """Return monitoring data that a plan under way has missed for longer than its policy lets."""
    live = facts.live
    if not facts.touched or facts.state not in {"running", "paused"}:
        return None
    acknowledged = live.acknowledged.get("missing_metrics") if live is not None else None
    for missing in facts.missing:
        since = max(missing.since, acknowledged or missing.since)
        if overdue(since, facts.limits.missing_metrics_minutes, facts.now):
            return missing
    return None


def _missing(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state == "held" or facts.state != "running":
        return None
    missing = missing_too_long(facts)
    if missing is None:
        return None
    what, sentence = facts.on.missing_metrics, missing.sentence
    if what == "rollback" and not facts.takes_back:
        what, sentence = "hold", facts.stopping(sentence)
    return _alert_and("missing_metrics", what, "missing_metrics", sentence, live)


def _data_back(facts: PlanFacts) -> Action | None:
    """Let a batch go on that was held for missing data alone, once all of it is there again."""
    live = facts.live
    if live is None or live.state != "held" or live.held_kind != "missing_metrics":
        return None
    if facts.state != "running" or facts.missing or facts.unreadable:
        return None
    seen, held = facts.all_seen_at, live.held_at
    if seen is None or held is None or seen <= held:
        return None
    return Action("go_on_with_data", "the data that was missing is back", live.pk)


def _batch_clock(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state != "deploying" or facts.state != "running":
        return None
    if live.waits_since is not None:
        # It waits for an opening: its clock stands still.
        return None
    since = live.acknowledged.get("batch_overrun", live.calling_since)
    if not overdue(since, facts.limits.batch_minutes, facts.now):
        return None
    sentence = (
        f"batch {live.number} ({live.name}) has been calling for more than"
        f" {facts.limits.batch_minutes:g} min"
    )
    what = facts.on.batch_overrun
    if what == "rollback" and not facts.takes_back:
        what, sentence = "hold", facts.stopping(sentence)
    return _alert_and("batch_overrun", what, "batch_overrun", sentence, live)


def _pause_deadline(facts: PlanFacts) -> Action | None:
    if facts.state != "paused":
        return None
    if facts.resume_by is not None and facts.now >= facts.resume_by and facts.touched:
        if not facts.takes_back:
            why = (
                "its release cannot be taken back"
                if facts.irreversible
                else "only people roll back while plugin-upgrade-rollback is off"
            )
            return Action(
                "alert", f"nobody resumed the paused plan, and {why}", kind="pause_expired"
            )
        return Action("rollback", "nobody resumed the paused plan", kind="pause")
    return Action("stop")


def _hold_deadline(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state != "held":
        return None
    if not overdue(live.held_at, facts.limits.hold_minutes, facts.now):
        return Action("stop")
    sentence = (
        f"batch {live.number} was held for more than {facts.limits.hold_minutes:g} min"
        " and nobody decided"
    )
    if facts.on.hold_expired == "rollback" and facts.takes_back:
        return Action("rollback", sentence, live.pk, "hold_expired")
    return Action("alert", facts.stopping(sentence), live.pk, "hold_expired")


def _over_budget(live: BatchFacts, size: int, limits: Limits) -> str:
    rate = failure_rate(live.failures, size)
    allowed = f"{limits.failure_rate:g} %"
    if limits.failures is not None:
        allowed = f"{limits.failures} tenants and {allowed}"
    return (
        f"{live.failures} of {size} tenants of batch {live.number} ({live.name})"
        f" failed: {rate:.1f} %, allowed {allowed}"
    )


def _failure_budget(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state not in {"deploying", "soaking"}:
        return None
    size, limits = live.size - live.left_out, facts.limits
    allowed = allowed_failures(size, limits.failure_rate, limits.failures)
    if live.failures > allowed and "failure_rate" not in live.acknowledged:
        what, sentence = facts.on.failure_rate, _over_budget(live, size, limits)
        if what == "rollback" and not facts.takes_back:
            what, sentence = "hold", facts.stopping(sentence)
        if facts.scope == "tenant" and not live.stragglers:
            # Whoever failed is back already: there is nobody to take back, and no more may fail.
            what = "hold"
        return _alert_and("failure_rate", what, "failure_rate", sentence, live)
    totals = facts.totals()
    drilled = sum(batch.drilled for batch in facts.batches)
    totals["needs_hand"] = totals.get("needs_hand", 0) - drilled
    totals["upgraded"] = totals.get("upgraded", 0) + drilled
    best = best_success_rate(
        totals,
        sum(b.to_retry for b in facts.batches),
        sum(b.left_out for b in facts.batches),
    )
    if best < facts.limits.success_rate and "success_rate" not in live.acknowledged:
        return Action(
            "hold",
            f"the plan can reach a success rate of {best:.1f} % at best,"
            f" its limit is {facts.limits.success_rate:g} %",
            live.pk,
            "success_rate",
        )
    return None


def _deploying(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state != "deploying":
        return None
    if live.forward_left:
        if not facts.orchestrator_on:
            return Action("wait", "nothing new starts while plugin-gray-orchestrator is off")
        if not facts.window_open:
            return _waiting(facts, live)
        if live.waits_since is not None:
            return Action("go_on_at_opening", batch=live.pk)
        waited = (
            (facts.now - live.handed_out_at).total_seconds()
            if live.handed_out_at
            else TAKEOVER_SECONDS
        )
        if facts.watch_may_call and waited >= TAKEOVER_SECONDS:
            return Action("call_batch", batch=live.pk)
        return Action("stop")
    if live.stragglers:
        return _stragglers(facts, live)
    if live.untouched_failures:
        return Action("exclude_untouched", batch=live.pk)
    if live.calls_open:
        return Action("stop")
    return Action("settle_calls", batch=live.pk)


def _drill(facts: PlanFacts) -> Action | None:
    """Take one tenant back and forward again before the first batch may pass."""
    live, drill = facts.live, facts.drill
    if drill is None or live is None or live.state != "soaking" or facts.state != "running":
        return None
    if live.pk != facts.batches[0].pk or facts.irreversible:
        # Whoever was taken forward for good is not taken back to see how that would be.
        return None
    if drill.step == "failed":
        if "drill_failed" in live.acknowledged:
            return None
        return Action("hold", drill.sentence, live.pk, "drill_failed")
    if not facts.orchestrator_on or facts.unreadable:
        # The soak waits and says why.
        return None
    if drill.closed:
        return Action("wait", f"the drill waits: {drill.closed}")
    if drill.step == "begin":
        if not facts.rollback_on:
            return Action("wait", "no drill begins while plugin-upgrade-rollback is off")
        return Action("begin_drill", batch=live.pk)
    if drill.step == "run":
        return Action("run_drill", kind=drill.pk)
    return Action("advance_drill", drill.sentence, kind=drill.step)


def _rehearsal(facts: PlanFacts) -> Action | None:
    """Take a rehearsal back as soon as its batch soaks."""
    live = facts.live
    if not facts.rehearsal or live is None or live.state != "soaking" or facts.state != "running":
        return None
    if not facts.rollback_on:
        return Action("wait", "only people roll back while plugin-upgrade-rollback is off")
    return Action("rollback", facts.rehearsal, live.pk, "drill")


def _waiting(facts: PlanFacts, live: BatchFacts) -> Action:
    """Stand still in the middle of a batch until the next opening; what failed goes back now."""
    if live.waits_since is None:
        return Action("wait_for_opening", facts.window_sentence, live.pk)
    if live.stragglers:
        return _stragglers(facts, live)
    return _closed(facts)


def _closed(facts: PlanFacts) -> Action:
    kind = "closed_for_good" if facts.window_for_good else ""
    return Action("wait", facts.window_sentence, kind=kind)


def _stragglers(facts: PlanFacts, live: BatchFacts) -> Action:
    """Take back what failed; where there is no way back, a person gets it."""
    if facts.irreversible:
        return Action("hand_over_stragglers", batch=live.pk)
    return Action("restore_stragglers", batch=live.pk)


def _soaking(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state != "soaking":
        return None
    if not facts.orchestrator_on:
        return Action("wait", "soaks hold while plugin-gray-orchestrator is off")
    if live.soak_left > 0:
        return Action("stop")
    if facts.unreadable:
        return Action("wait", facts.unreadable, kind="configuration")
    if not facts.promotable:
        return Action("wait", f"the soak is over, but {facts.promotable_sentence}")
    return Action("pass_soak", facts.promotable_sentence, live.pk)


def _gate(facts: PlanFacts, batch: BatchFacts) -> Action | None:
    """Return what keeps a batch from beginning, or from beginning again."""
    if not facts.window_open:
        return _closed(facts)
    if facts.release_problem:
        return Action("wait", facts.release_problem, kind="release_not_trusted")
    if facts.unreadable:
        return Action("wait", facts.unreadable, kind="configuration")
    if facts.room_problem:
        return Action("wait", f"batch {batch.number} may not begin: {facts.room_problem}")
    if not facts.quote_fits:
        return Action(
            "wait",
            f"batch {batch.number} may not begin: {facts.quote_sentence}",
            kind="quote_exceeds_limit",
        )
    return None


def _begin_again(facts: PlanFacts) -> Action | None:
    """Call the tenants again that a person put back to work in a batch that had ended."""
    batch = facts.to_reopen
    if batch is None:
        return None
    if not facts.orchestrator_on:
        return Action("wait", "nothing new starts while plugin-gray-orchestrator is off")
    return _gate(facts, batch) or Action("reopen_batch", facts.quote_sentence, batch.pk)


def _next_batch(facts: PlanFacts) -> Action | None:
    batch = facts.next
    if batch is None:
        if facts.totals().get("needs_hand", 0):
            return Action("needs_hand")
        return Action("complete")
    if not facts.orchestrator_on:
        return Action("wait", "nothing new starts while plugin-gray-orchestrator is off")
    if batch.advance == "manual" and not batch.promoted:
        return Action(
            "wait", f"batch {batch.number} ({batch.name}) waits for a person to promote it"
        )
    return _gate(facts, batch) or Action("open_batch", facts.quote_sentence, batch.pk)


RULES: tuple[Rule, ...] = (
    _rollback_clock,
    _breach,
    _missing,
    _data_back,
    _batch_clock,
    _pause_deadline,
    _hold_deadline,
    _failure_budget,
    _deploying,
    _drill,
    _rehearsal,
    _soaking,
    _begin_again,
    _next_batch,
)


def decide(facts: PlanFacts) -> Action:
    """Return the next action; `stop` when nothing is to be done now."""
    if facts.state not in {"running", "paused", "rolling_back"}:
        return Action("stop")
    for rule in RULES:
        action = rule(facts)
        if action is not None:
            return action
    return Action("stop")

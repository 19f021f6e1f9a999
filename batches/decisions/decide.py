"""What the watch does next with a plan: one pure function from facts to one action.

The rules stand in the order in which they matter: rollback deadline, breach, a release that is
not trusted any more, fleet incident, missing data and its return, batch clock, pause deadline, hold
deadline, failure budget, drill, soak, next batch. The watch applies the action, reads the facts
again and asks again, until there is nothing more to do.
"""

from datetime import timedelta

from batches.decisions.decide_forward import FORWARD_RULES
from batches.decisions.decision_facts import Action, BatchFacts, MissingFacts, PlanFacts, Rule
from batches.rollout.pacing import allowed_failures, best_success_rate, failure_rate, overdue
from plans.counted_words import counted
from plans.policies.policy import Limits

ESCALATE_BEFORE_DEADLINE = timedelta(seconds=30)
DISTRUSTED = "release_distrusted"
"""The condition that holds a batch whose release is not trusted any more, or in quarantine."""
WAITS_TOLD = ("closed_for_good", "release_not_trusted", "quote_exceeds_limit")
"""What a plan waits for that its people are told of, for as long as it waits."""


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
        return Action(
            "miss_rollback", f"{counted(len(rollback.left), 'tenant is', 'tenants are')} not back"
        )
    if (
        rollback.left
        and not rollback.escalated
        and facts.now >= rollback.deadline - ESCALATE_BEFORE_DEADLINE
    ):
        return Action(
            "escalate_rollback",
            f"{counted(len(rollback.left), 'tenant is', 'tenants are')} not back yet",
        )
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


def _distrusted(facts: PlanFacts) -> Action | None:
    """Hold a plan whose release lost its trust: nobody lets that pass, it goes back or stops."""
    live = facts.live
    if not facts.distrusted or live is None or facts.state != "running" or live.state == "held":
        return None
    return Action("hold", facts.stopping(facts.distrusted), live.pk, DISTRUSTED)


def _incident(facts: PlanFacts) -> Action | None:
    """Hold while everyone is ill: it is hardly the new version, and nobody could tell."""
    live = facts.live
    if not facts.incident or live is None or facts.state != "running":
        return None
    if live.state == "held" or "fleet_incident" in live.acknowledged:
        return None
    return Action("hold", facts.incident, live.pk, "fleet_incident")


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
    if facts.state != "running" or facts.missing or facts.unreadable or facts.distrusted:
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
    if facts.resume_by is not None and facts.now >= facts.resume_by:
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
        allowed = f"{counted(limits.failures, 'tenant')} and {allowed}"
    return (
        f"{live.failures} of {counted(size, 'tenant')} of batch {live.number} ({live.name})"
        f" failed: {rate:.1f} %, allowed {allowed}"
    )


def _failure_budget(facts: PlanFacts) -> Action | None:
    live = facts.live
    if live is None or live.state not in {"deploying", "soaking", "held"}:
        return None
    held = live.state == "held"
    size, limits = live.size - live.left_out, facts.limits
    allowed = allowed_failures(size, limits.failure_rate, limits.failures)
    if live.failures > allowed and "failure_rate" not in live.acknowledged:
        what, sentence = facts.on.failure_rate, _over_budget(live, size, limits)
        if what == "rollback" and not facts.takes_back:
            what, sentence = "hold", facts.stopping(sentence)
        if facts.scope == "tenant" and not live.stragglers:
            # Whoever failed is back already: there is nobody to take back, and no more may fail.
            what = "hold"
        # Calls that were under way may fail after the batch was held for less.
        if not held or what == "rollback":
            return _alert_and("failure_rate", what, "failure_rate", sentence, live)
    if held:
        return None
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


RULES: tuple[Rule, ...] = (
    _rollback_clock,
    _breach,
    _distrusted,
    _incident,
    _missing,
    _data_back,
    _batch_clock,
    _pause_deadline,
    # Before the rule by which a held batch does nothing.
    _failure_budget,
    _hold_deadline,
    *FORWARD_RULES,
)


def decide(facts: PlanFacts) -> Action:
    """Return the next action; `stop` when nothing is to be done now."""
    if facts.state == "needs_hand" and facts.half_done:
        return Action("read_half_done")
    if facts.state not in {"running", "paused", "rolling_back"}:
        return Action("stop")
    for rule in RULES:
        action = rule(facts)
        if action is not None:
            return action
    return Action("stop")

"""What the watch does next with a plan that goes forward: call, drill, soak, begin the next batch.

Rules from facts to an action, like those of `batches/decisions/decide.py`, which asks these last:
none of them is asked while something has to be stopped or taken back.
"""

from batches.decisions.decision_facts import Action, BatchFacts, PlanFacts, Rule

TAKEOVER_SECONDS = 2.0
NOBODY_LEFT = "nobody_left"
"""The condition that holds a batch of which everybody was taken back while it soaked."""


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
    if not facts.promotable and not live.counts.get("upgraded"):
        return _nobody_left(live)
    if not facts.promotable and facts.inconclusive:
        return Action("hold", facts.inconclusive, live.pk, "evidence_inconclusive")
    if not facts.promotable:
        return Action("wait", f"the soak is over, but {facts.promotable_sentence}")
    return Action("pass_soak", facts.promotable_sentence, live.pk)


def _nobody_left(live: BatchFacts) -> Action:
    """End a soak in which nothing can be measured, as no tenant runs the new version any more."""
    sentence = f"no tenant of batch {live.number} ({live.name}) runs the new version any more"
    if NOBODY_LEFT in live.acknowledged:
        return Action("pass_soak", f"{sentence}, and a person let the plan go on", live.pk)
    return Action("hold", f"{sentence}, so nothing can be measured in it", live.pk, NOBODY_LEFT)


def may_begin(facts: PlanFacts) -> bool:
    """Tell whether a batch would begin now if its gate were open; else nobody asks for the gate."""
    if facts.live is not None or not facts.orchestrator_on:
        return False
    if facts.to_reopen is not None:
        return True
    batch = facts.next
    return batch is not None and not _needs_a_person(batch)


def _needs_a_person(batch: BatchFacts) -> bool:
    return batch.advance == "manual" and not batch.promoted


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
    if _needs_a_person(batch):
        return Action(
            "wait", f"batch {batch.number} ({batch.name}) waits for a person to promote it"
        )
    return _gate(facts, batch) or Action("open_batch", facts.quote_sentence, batch.pk)


FORWARD_RULES: tuple[Rule, ...] = (
    _deploying,
    _drill,
    _rehearsal,
    _soaking,
    _begin_again,
    _next_batch,
)

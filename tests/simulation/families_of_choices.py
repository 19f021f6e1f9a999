"""Families in which people decide on the way: stop, leave out, try again, adjust, drill, freeze."""

import random

from batches.deployers.simulated_deployer import Applies, Fault, Happens
from tests.simulation.families import one_fault, some
from tests.simulation.scenario import (
    BACK,
    CALL_TIMEOUT,
    FORWARD,
    ONE_WAY,
    PlanSpec,
    Scenario,
)

LIVE_EVENTS = ("batch_opened", "tenants_moved", "batch_calls_settled", "batch_passed")
# What was refused or failed is not applied later; what was cut off may be.
LOST: tuple[tuple[Happens, Applies], ...] = (
    ("refuse", "never"),
    ("fail", "never"),
    ("reset", "late"),
)
SETTLE = ("settle_rolled_back", "settle_upgraded", "settle_excluded")


def stopped(scenario: Scenario, dice: random.Random) -> None:
    """A plan is stopped where it stands: at once, from a pause, with tenants that need a hand."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["two", "three"])))
    way = dice.choice(["soak", "soak", "pause", "part", "part", "part"])
    if way == "soak":
        scenario.cue(
            "batch_calls_settled", "stop_here", dice.uniform(0.1, 2), dice.choice([1, 1, 2])
        )
    elif way == "pause":
        scenario.cue("batch_opened", "pause", dice.uniform(0, 1.5))
        scenario.cue("plan_paused", "stop_here", dice.uniform(0.5, 7.5))
        scenario.cue("plan_paused", "stop_here", 7.7)
    else:
        for tenant in scenario.plans[0].tenants:
            scenario.faults[tenant] = Fault("refuse", directions=BACK)
        act = dice.choice(["roll_back_batch", "roll_back_tenants"])
        scenario.cue("batch_passed", act, dice.uniform(0.1, 1))
        scenario.cue("rollback_finished", "stop_here", dice.uniform(0.5, 3))
        scenario.cue("plan_stopped_here", dice.choice(SETTLE), 1)
        scenario.cue("plan_stopped_here", dice.choice(SETTLE), 3)
    if way != "part":
        scenario.cue("plan_stopped_here", dice.choice(["roll_back", "archive", "roll_back"]), 2)
    scenario.cue("rollback_finished", "archive", 2, 2)


def distrusted(scenario: Scenario, dice: random.Random) -> None:
    """The release loses its trust while it is rolled out, or the platform has another artifact."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["two", "three", "lenient"])))
    way = dice.choice(["quarantine", "quarantine", "revoke_key", "other_artifact"])
    if way == "other_artifact":
        for tenant in dice.sample(scenario.plans[0].tenants, dice.randint(1, 3)):
            scenario.faults[tenant] = Fault(digest="0" * 64, times=dice.choice([1, None]))
        return
    event = dice.choice(["plan_approved", *LIVE_EVENTS])
    scenario.latency = dice.choice([0.2, 0.6])
    scenario.cue(event, way, dice.uniform(0, 1.5), dice.choice([1, 1, 2]))
    held = dice.choice(["release_hold", "release_hold", "roll_back", "stop_here"])
    scenario.cue("batch_held", held, dice.uniform(0.2, 3))
    scenario.cue("batch_held", "roll_back", dice.uniform(4, 6))


def one_way(scenario: Scenario, dice: random.Random) -> None:
    """A release that cannot be taken back: what fails goes to a person, what breaches stops."""
    scenario.plans.append(PlanSpec(some(dice, 4, 7), "one_way", version=ONE_WAY))
    if dice.random() < 0.4:
        scenario.bad_share[ONE_WAY] = 0.9
    for _one in range(dice.randint(1, 2)):
        one_fault(scenario, dice, FORWARD)
    tenant = dice.choice(scenario.plans[0].tenants)
    scenario.faults[tenant] = Fault("refuse", directions=FORWARD)
    held = dice.choice(["release_hold", "release_hold", "stop_here", "retry_failed"])
    scenario.cue("batch_held", held, dice.uniform(0.5, 3))
    scenario.cue("batch_held", dice.choice(["release_hold", "stop_here"]), dice.uniform(4, 8))
    scenario.cue(dice.choice(LIVE_EVENTS), dice.choice(["roll_back", "pause", "exclude"]), 0.5)
    scenario.cue("plan_paused", dice.choice(["resume", "stop_here"]), dice.uniform(1, 12))
    scenario.cue("plan_needs_hand", dice.choice(SETTLE), 1)


def left_out(scenario: Scenario, dice: random.Random) -> None:
    """Tenants are excluded, batches skipped, jumped over and brought back, the rest left."""
    scenario.plans.append(PlanSpec(some(dice, 4, 8), dice.choice(["three", "three", "batchwise"])))
    acts = ["skip_first", "skip_last", "jump", "exclude", "exclude", "skip_rest"]
    scenario.cue("batch_opened", dice.choice(["skip_first", "skip_last", "jump"]), 0.3)
    scenario.cue(dice.choice(LIVE_EVENTS), dice.choice(acts), dice.uniform(0.5, 2.5))
    scenario.cue("batches_skipped", "unskip", dice.uniform(0.2, 1))
    scenario.cue("rest_skipped", dice.choice(["unskip", "roll_back", "pause"]), dice.uniform(0, 2))
    if dice.random() < 0.3:
        scenario.cue("tenants_excluded", dice.choice(["roll_back", "retry_some"]), 0.5)
    if dice.random() < 0.3:
        one_fault(scenario, dice, FORWARD)


def retried(scenario: Scenario, dice: random.Random) -> None:
    """Tenants that failed, or whose batch went back, are called again; or it is called off."""
    way = dice.choice(["held", "quarantined", "part", "part"])
    policies = {"held": ["holding"], "quarantined": ["sparing"], "part": ["lenient", "batchwise"]}
    scenario.plans.append(PlanSpec(some(dice, 4, 7), dice.choice(policies[way])))
    scenario.cue("plan_paused", "resume", dice.uniform(0.5, 3))
    if way == "part":
        part = dice.choice(["roll_back_batch", "roll_back_tenants"])
        scenario.cue("batch_passed", part, dice.uniform(0.1, 1))
        scenario.cue("rollback_finished", "retry_some", dice.uniform(0.2, 1))
    else:
        for tenant in scenario.plans[0].tenants[: dice.choice([2, 7])]:
            mode, applies = dice.choice(LOST)
            scenario.faults[tenant] = Fault(
                mode,
                applies=applies,
                late_seconds=CALL_TIMEOUT * 0.8,
                times=dice.choice([1, 2, 4]),
                directions=FORWARD,
            )
        scenario.cue("batch_held", dice.choice(["retry_failed", "retry_some"]), 1)
        scenario.cue("rollback_finished", dice.choice(["retry_failed", "retry_some"]), 0.5)
    if dice.random() < 0.5:
        after = dice.choice(["roll_back", "roll_back", "pause", "exclude", "stop_here"])
        scenario.cue("tenants_retried", after, dice.uniform(0, 0.6))
    scenario.cue("tenants_retried", "resume", 2)
    scenario.cue("rollback_finished", "resume", dice.uniform(2, 4))


def settled(scenario: Scenario, dice: random.Random) -> None:
    """Who cannot be taken back is settled by a person: of a whole plan, or of a part of one."""
    scenario.plans.append(PlanSpec(some(dice, 3, 5), "lenient"))
    for tenant in scenario.plans[0].tenants:
        scenario.faults[tenant] = Fault("refuse", directions=BACK)
    act = dice.choice(["roll_back", "roll_back_batch"])
    scenario.cue("batch_calls_settled", act, dice.uniform(0.1, 1.5), dice.choice([1, 1, 2]))
    if act == "roll_back_batch":
        scenario.cue("rollback_finished", "resume", 0.5)
    usual = "settle_rolled_back" if act == "roll_back" else "settle_upgraded"
    outcome = dice.choice([usual, usual, *SETTLE])
    # While the rest goes on, or when there is nothing else to do.
    if act == "roll_back" or dice.random() < 0.3:
        scenario.cue("rollback_finished", outcome, dice.choice([0.3, 2.0]))
    scenario.cue("plan_needs_hand", outcome, 1)


def lost(scenario: Scenario, dice: random.Random) -> None:
    """Calls of which nobody knows whether they were applied; a person has them made again."""
    scenario.plans.append(PlanSpec(some(dice, 4, 6), "holding"))
    for tenant in scenario.plans[0].tenants[: dice.randint(2, 6)]:
        scenario.faults[tenant] = Fault(
            "reset",
            applies=dice.choice(["never", "late"]),
            late_seconds=CALL_TIMEOUT * 0.8,
            times=dice.choice([2, 4]),
            directions=FORWARD,
        )
    scenario.cue("batch_held", dice.choice(["retry_failed", "retry_some"]), 0.5)
    if dice.random() < 0.3:
        scenario.cue("tenants_retried", dice.choice(["roll_back", "pause"]), dice.uniform(0, 0.5))
    scenario.cue("batch_held", "release_hold", 1, 2)
    scenario.cue("plan_paused", "resume", 1)
    scenario.seconds = 30


def called_off(scenario: Scenario, dice: random.Random) -> None:
    """Who was taken back is to be called again, and then the plan goes back or stops after all."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["lenient", "batchwise"])))
    scenario.cue("batch_calls_settled", "roll_back_batch", dice.uniform(0.1, 1))
    scenario.cue("rollback_finished", "retry_some", dice.uniform(0.2, 1))
    scenario.cue("tenants_retried", dice.choice(["roll_back", "stop_here"]), dice.uniform(0, 1))


def loosened(scenario: Scenario, dice: random.Random) -> None:
    """What was loosened for a while is put back when the while is over."""
    scenario.plans.append(PlanSpec(some(dice, 3, 7), dice.choice(["two", "three"])))
    scenario.chores = ("adjustments",)
    scenario.cue("batch_opened", "loosen_for_a_while", dice.uniform(0, 1))
    scenario.cue("adjustment_asked", "approve_as_aram", dice.uniform(0.1, 0.5))
    scenario.cue("adjustment_asked", "approve_as_sona", dice.uniform(0.5, 1))


def rehearsed(scenario: Scenario, dice: random.Random) -> None:
    """One tenant goes back and forward again before the plan widens."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), "drilling"))
    if dice.random() < 0.2:
        one_fault(scenario, dice, BACK)


def adjusted(scenario: Scenario, dice: random.Random) -> None:
    """The rules of a running plan change: tighter at once, looser when agreed, or for a while."""
    scenario.plans.append(PlanSpec(some(dice, 3, 7), dice.choice(["two", "three", "lenient"])))
    scenario.chores = ("adjustments",)
    scenario.cue(dice.choice(LIVE_EVENTS), dice.choice(["tighten", "loosen"]), dice.uniform(0, 2))
    scenario.cue("batch_opened", "loosen_for_a_while", dice.uniform(0, 2))
    scenario.cue("adjustment_asked", "approve_as_aram", dice.uniform(0.2, 2))
    last = dice.choice([*["approve_as_sona"] * 3, "reject", "tighten", "break_glass_loosen"])
    scenario.cue("adjustment_asked", last, dice.uniform(0.5, 3))
    if dice.random() < 0.4:
        one_fault(scenario, dice, FORWARD)
    if dice.random() < 0.3:
        scenario.cue("plan_adjusted", dice.choice(["roll_back", "pause"]), dice.uniform(0, 2))


def drilled(scenario: Scenario, dice: random.Random) -> None:
    """One tenant goes back and forward again before the plan widens; or something comes between."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), "drilling"))
    if dice.random() < 0.5:
        one_fault(scenario, dice, dice.choice([FORWARD, BACK]))
    if dice.random() < 0.3:
        scenario.bad_share["1.5.0"] = 0.9
    if dice.random() < 0.5:
        act = dice.choice(["pause", "roll_back", "stop_here", "skip_rest", "exclude", "freeze"])
        scenario.cue("batch_calls_settled", act, dice.uniform(0, 3))
    scenario.cue("plan_paused", "resume", dice.uniform(0.5, 6))
    scenario.cue("freeze_declared", "lift", dice.uniform(1, 6))
    scenario.cue("batch_held", dice.choice(["release_hold", "roll_back", "stop_here"]), 2)


def closed(scenario: Scenario, dice: random.Random) -> None:
    """A freeze begins in the middle of a batch, or its window closes; rollbacks go on."""
    policy = dice.choice(["two", "three", "windowed", "closing_soon"])
    spec = PlanSpec(some(dice, 5, 8), policy)
    scenario.plans.append(spec)
    scenario.parallelism, scenario.latency = dice.choice([1, 2]), 0.6
    if policy == "windowed":
        spec.comes_at = 60 - dice.uniform(4, 9)
        scenario.seconds = 130
    elif policy != "closing_soon":
        event = dice.choice(["batch_opened", "tenants_moved", "batch_passed"])
        scenario.cue(event, "freeze", dice.uniform(0, 2.5))
        scenario.happen(dice.uniform(12, 30), "act", "lift")
    if dice.random() < 0.4:
        scenario.cue("batch_waits", dice.choice(["roll_back", "pause", "stop_here"]), 2)
    if dice.random() < 0.3:
        one_fault(scenario, dice, FORWARD)

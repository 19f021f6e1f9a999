"""The families of scenarios: each aims at some part of what can happen, the dice do the rest.

What people decide on the way is in families_of_choices.py, what goes wrong with processes and
clocks in families_of_trouble.py. To add one: a function, and its line in OTHERS of scenarios.py.
"""

import random
from collections.abc import Callable
from typing import Literal

from batches.deployers.simulated_deployer import Fault
from tests.simulation.faults import Strike
from tests.simulation.scenario import (
    BACK,
    BOTH,
    CALL_TIMEOUT,
    FORWARD,
    TENANTS,
    Cue,
    PlanSpec,
    Scenario,
)

Family = Callable[[Scenario, random.Random], None]


STRUCK: tuple[Literal["crash", "freeze"], ...] = ("crash", "freeze")


def some(dice: random.Random, least: int, most: int) -> tuple[str, ...]:
    return tuple(sorted(dice.sample(TENANTS, dice.randint(least, most))))


def _policy(dice: random.Random) -> str:
    return dice.choice(["two", "two", "three", "lenient"])


def calm(scenario: Scenario, dice: random.Random) -> None:
    """Nothing goes wrong; afterwards the plan is archived, or taken back after all."""
    scenario.plans.append(PlanSpec(some(dice, 3, 8), dice.choice(["two", "three", "manual"])))
    if scenario.plans[0].policy == "manual":
        scenario.cue("batch_passed", "promote", dice.uniform(0, 4))
        scenario.cue("batch_passed", "promote", dice.uniform(0, 4))
        scenario.cue("plan_waits", "promote", dice.uniform(0, 4))
    scenario.cue("plan_completed", dice.choice(["archive", "roll_back", "archive"]), 2)
    scenario.cue("rollback_finished", "archive", 2)


def breach(scenario: Scenario, dice: random.Random) -> None:
    """The new version answers with errors: the console takes it back by itself."""
    scenario.plans.append(PlanSpec(some(dice, 3, 8), dice.choice(["two", "three", "pausing"])))
    scenario.bad_share["1.5.0"] = dice.choice([0.5, 0.9, 1.0])
    if dice.random() < 0.3:
        scenario.cue("rollback_begun", dice.choice(["roll_back", "pause"]), dice.uniform(0, 2))
    if dice.random() < 0.3:
        one_fault(scenario, dice, BACK)


def recovered(scenario: Scenario, dice: random.Random) -> None:
    """The new version answers with errors and is taken back; then all is watched to its end."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["two", "three"])))
    scenario.bad_share["1.5.0"] = dice.choice([0.5, 0.9, 1.0])
    scenario.sees_through = True


def weighed(scenario: Scenario, dice: random.Random) -> None:
    """The evidence test weighs a version that is a little or much worse, while watches die.

    It pauses or takes back; who resumes takes it on, and the test begins anew.
    """
    policy = dice.choice(["weighed", "weighed", "weighed_pausing"])
    scenario.plans.append(PlanSpec(some(dice, 5, 8), policy))
    scenario.known_past = dice.random() < 0.8
    scenario.bad_share["1.5.0"] = dice.choice([0.0, 0.02, 0.1, 0.3, 0.6])
    if dice.random() < 0.2:
        # Everyone is ill: that says nothing of the version.
        scenario.bad_share["1.0.0"] = scenario.bad_share["1.5.0"]
    scenario.cue("plan_paused", "resume", dice.uniform(0.5, 6))
    scenario.cue("batch_held", dice.choice(["release_hold", "roll_back"]), dice.uniform(0.5, 4))
    if dice.random() < 0.4:
        act = dice.choice(["roll_back_batch", "roll_back_tenants", "pause"])
        scenario.cue(dice.choice(["batch_passed", "batch_calls_settled"]), act, dice.uniform(0, 2))
        scenario.cue("rollback_finished", "resume", dice.uniform(0.5, 3))
    for _one in range(dice.randint(0, 3)):
        scenario.strikes.append(
            Strike(
                dice.choice(STRUCK),
                "statement",
                kind="watch",
                nth=dice.randint(50, 600),
                seconds=dice.uniform(0.5, 9),
            )
        )
    scenario.watches = dice.choice([1, 2, 2])


def flaky(scenario: Scenario, dice: random.Random) -> None:
    """Some tenants fail, hang, are cut off, or change only long after the answer."""
    policy = dice.choice(["two", "lenient", "lenient", "holding"])
    scenario.plans.append(PlanSpec(some(dice, 4, 8), policy))
    for _one in range(dice.randint(1, 3)):
        one_fault(scenario, dice, dice.choice([FORWARD, FORWARD, BOTH]))
    scenario.cue("batch_held", dice.choice(["release_hold", "roll_back"]), dice.uniform(0.2, 5))
    if dice.random() < 0.5:
        scenario.cue("batch_opened", dice.choice(["roll_back", "pause"]), dice.uniform(0.2, 3))


def one_fault(scenario: Scenario, dice: random.Random, directions: frozenset[str]) -> None:
    tenant = dice.choice(scenario.plans[0].tenants)
    times = dice.choice([1, 2, None, None])
    late = dice.uniform(0.3, CALL_TIMEOUT * 0.9)
    scenario.faults[tenant] = dice.choice(
        [
            Fault("fail", times=times, directions=directions),
            Fault("fail", applies="now", times=times, directions=directions),
            Fault("ok", applies="never", times=times, directions=directions),
            Fault("hang", times=times, directions=directions),
            Fault("hang", applies="late", late_seconds=late, times=times, directions=directions),
            Fault("reset", applies="now", times=times, directions=directions),
            Fault("reset", applies="late", late_seconds=late, times=times, directions=directions),
            Fault("refuse", times=times, directions=directions),
            Fault("throttle", times=times, directions=directions),
            Fault("ok", latency_seconds=CALL_TIMEOUT * 1.5, times=times, directions=directions),
            Fault("unauthorized", times=times, directions=directions),
        ]
    )


def paused(scenario: Scenario, dice: random.Random) -> None:
    """A person pauses; somebody resumes in time, too late, twice, or nobody does."""
    scenario.plans.append(PlanSpec(some(dice, 3, 8), dice.choice(["two", "three"])))
    event = dice.choice(["batch_opened", "tenants_moved", "batch_calls_settled", "batch_passed"])
    scenario.cue(event, "pause", dice.uniform(0, 1.5), dice.randint(1, 2))
    if dice.random() < 0.7:
        scenario.cue("plan_paused", "resume", dice.uniform(0.1, 12))
    if dice.random() < 0.3:
        scenario.cue(
            "plan_paused", dice.choice(["resume", "pause", "roll_back"]), dice.uniform(0, 9)
        )
    if dice.random() < 0.5:
        scenario.latency = 1.0
        one_fault(scenario, dice, FORWARD)


def held(scenario: Scenario, dice: random.Random) -> None:
    """Monitoring goes away or calls take too long: the batch is held until a person decides."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["two", "slow"])))
    if scenario.plans[0].policy == "slow":
        scenario.latency = 2.4
        scenario.parallelism = 1
    else:
        scenario.happen(
            dice.uniform(0, 6),
            "monitoring",
            dice.choice(["down", "nan", "stale", "empty", "slow"]),
            dice.uniform(16, 30),
        )
    if dice.random() < 0.8:
        scenario.cue(
            "batch_held",
            dice.choice(["release_hold", "release_hold", "roll_back"]),
            dice.uniform(0.5, 20),
        )
    if dice.random() < 0.3:
        scenario.cue("batch_held", dice.choice(["pause", "roll_back_tenants"]), 1)


def stubborn(scenario: Scenario, dice: random.Random) -> None:
    """Tenants do not come back: escalated, missed, handed to a person, settled or tried again."""
    scenario.plans.append(PlanSpec(some(dice, 3, 5), "two"))
    tenants = scenario.plans[0].tenants
    for tenant in dice.sample(tenants, dice.randint(1, 2)):
        scenario.faults[tenant] = dice.choice(
            [
                Fault("refuse", directions=BACK),
                Fault("refuse", directions=BACK),
                Fault("fail", directions=BACK),
                Fault("ok", applies="never", directions=BACK),
            ]
        )
    if dice.random() < 0.4:
        scenario.bad_share["1.5.0"] = 1.0
    else:
        event = dice.choice(["batch_calls_settled", "batch_passed"])
        act = dice.choice(["roll_back", "roll_back", "roll_back_batch", "roll_back_tenants"])
        scenario.cue(event, act, dice.uniform(0.1, 2))
    settle = dice.choice(["settle_rolled_back", "settle_upgraded", "settle_excluded", "retry"])
    scenario.cue("plan_needs_hand", settle, 2)
    scenario.cue("rollback_finished", settle, 3)
    scenario.cue("rollback_finished", "settle_upgraded", 6, 2)
    if dice.random() < 0.5:
        scenario.happen(20, "mend_tenants")
    scenario.seconds = 70
    scenario.slowness = dice.choice([1.4, 2.0])


def missed(scenario: Scenario, dice: random.Random) -> None:
    """A tenant hangs through the whole deadline, or through half of it."""
    scenario.plans.append(PlanSpec(some(dice, 3, 4), dice.choice(["short", "short", "two"])))
    tenant = dice.choice(scenario.plans[0].tenants)
    scenario.faults[tenant] = Fault(dice.choice(["hang", "fail", "throttle"]), directions=BACK)
    scenario.cue("batch_passed", "roll_back", 0.5)
    if dice.random() < 0.6:
        scenario.happen(dice.uniform(30, 190), "mend_tenants")
    scenario.cue("plan_needs_hand", dice.choice(["settle_rolled_back", "retry"]), 2)
    scenario.cue("rollback_finished", "settle_excluded", 2)
    scenario.seconds = 100
    scenario.slowness = 3.0


def superseded(scenario: Scenario, dice: random.Random) -> None:
    """A newer plan has moved the tenants on when the older one is taken back."""
    tenants = some(dice, 3, 5)
    scenario.plans.append(PlanSpec(tenants, "two"))
    scenario.plans.append(
        PlanSpec(
            tenants[: dice.randint(1, len(tenants))],
            "two",
            version="1.6.0",
            after_event="plan_completed",
        )
    )
    when = dice.choice(["plan_completed", "batch_opened", "batch_passed"])
    scenario.cue(when, "roll_back", dice.uniform(0, 3), 1, 1)
    scenario.cues[-1] = Cue(when, "roll_back@0", dice.uniform(0, 3), 1, 1)
    if dice.random() < 0.4:
        scenario.cue("plan_completed", "roll_back", dice.uniform(4, 9), 1, 1)
    scenario.seconds = 80


def rivals(scenario: Scenario, dice: random.Random) -> None:
    """Two plans want the same tenants at once."""
    tenants = some(dice, 4, 7)
    for number in range(2):
        mine = tuple(sorted({tenants[0], *dice.sample(tenants, dice.randint(2, len(tenants)))}))
        scenario.plans.append(
            PlanSpec(
                mine,
                "two",
                version=dice.choice(["1.5.0", "1.6.0"]),
                comes_at=number * dice.uniform(0, 1.5),
            )
        )
    if dice.random() < 0.6:
        scenario.cue("plan_started", dice.choice(["roll_back", "pause"]), dice.uniform(0.1, 5))
    scenario.seconds = 90


def agreed(scenario: Scenario, dice: random.Random) -> None:
    """Approvals: given twice, by the wrong one, refused, too late; revised, cancelled, archived."""
    ways: list[tuple[str, ...]] = [
        ("submit", "reject", "revise", "submit", "approve_as_aram", "approve_as_sona"),
        ("submit", "approve_as_mara", "approve_as_aram", "approve_as_aram", "reject", "archive"),
        ("submit", "approve_as_aram", "reject", "archive", "archive"),
        ("submit", "reject", "reject", "revise", "archive"),
        ("submit", "reject", "revise", "revise", "submit"),
        ("submit", "approve_as_aram", "revise", "submit", "approve", "approve", "approve"),
        ("submit", "submit", "cancel", "archive"),
        ("cancel", "submit", "archive"),
        ("submit", "approve_as_aram"),
        ("submit", "approve_as_sona", "start"),
        ("submit", "approve_as_sona", "break_glass_start", "approve_as_aram"),
        ("submit", "approve_as_sona", "approve_as_aram", "start", "start", "cancel"),
    ]
    # Hardly any other story comes to a refusal.
    ways += [way for way in ways if "reject" in way]
    scenario.plans.append(
        PlanSpec(some(dice, 3, 4), dice.choice(["two", "hasty", "closing"]), acts=dice.choice(ways))
    )
    scenario.cue("plan_expired", "archive", 1)
    scenario.cue("plan_rejected", dice.choice(["archive", "revise", "submit"]), 1)
    scenario.settles = dice.random() < 0.5
    # Whoever waits for a yes waits for ever: nothing else would happen.
    scenario.seconds = 25


def lapsed(scenario: Scenario, dice: random.Random) -> None:
    """Nobody agrees in time, or the time to start is over before any window opens."""
    ways: list[tuple[str, tuple[str, ...]]] = [
        ("hasty", ("submit",)),
        ("hasty", ("submit", dice.choice(["approve_as_aram", "approve_as_sona"]))),
        ("closing", ("submit", "approve_as_aram", "approve_as_sona")),
    ]
    policy, acts = dice.choice(ways)
    scenario.plans.append(PlanSpec(some(dice, 3, 4), policy, acts=acts))
    scenario.cue("plan_expired", dice.choice(["archive", "revise", "revise", "submit"]), 1)
    scenario.seconds = 20


def parts(scenario: Scenario, dice: random.Random) -> None:
    """A batch or some tenants go back; the rest is resumed, paused, or follows."""
    scenario.plans.append(PlanSpec(some(dice, 4, 8), "three"))
    event = dice.choice(["batch_opened", "batch_calls_settled", "batch_passed"])
    act = dice.choice(["roll_back_batch", "roll_back_tenants"])
    scenario.cue(event, act, dice.uniform(0, 2), dice.randint(1, 2))
    after = dice.choice(["resume", "resume", "roll_back", "roll_back_tenants"])
    scenario.cue("rollback_finished", after, dice.uniform(0.2, 4))
    if dice.random() < 0.3:
        scenario.cue("rollback_begun", "roll_back", dice.uniform(0, 1.5))
    if dice.random() < 0.3:
        one_fault(scenario, dice, BACK)


def drifting(scenario: Scenario, dice: random.Random) -> None:
    """Somebody else changes a tenant right after it was taken back."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), "two"))
    # One after the other, so that the change comes before the look that ends the rollback.
    scenario.parallelism = dice.choice([1, 1, 1, 5])
    scenario.cue("batch_passed", "roll_back", dice.uniform(0.1, 1), dice.choice([1, 2, 2]))
    scenario.cue("tenants_restored", "drift", dice.uniform(0, 0.1))


def handed(scenario: Scenario, dice: random.Random) -> None:
    """Tenants of a part cannot be taken back; the plan goes on, then a person settles them."""
    scenario.plans.append(PlanSpec(some(dice, 3, 5), "lenient"))
    for tenant in scenario.plans[0].tenants:
        scenario.faults[tenant] = Fault("refuse", directions=BACK)
    event = dice.choice(["batch_calls_settled", "batch_passed"])
    act = dice.choice(["roll_back_batch", "roll_back_batch", "roll_back_tenants"])
    scenario.cue(event, act, dice.uniform(0.1, 1))
    scenario.cue("rollback_finished", "resume", 1)
    outcomes = ["settle_rolled_back", "settle_upgraded", "settle_excluded"]
    if dice.random() < 0.3:
        scenario.cue("rollback_finished", dice.choice(outcomes), 0.5)
    scenario.cue("plan_needs_hand", dice.choice(outcomes), 1)


def late(scenario: Scenario, dice: random.Random) -> None:
    """A forward call is still under way, or lost and applied late, when the way back begins."""
    scenario.plans.append(PlanSpec(some(dice, 3, 6), dice.choice(["two", "lenient"])))
    for tenant in dice.sample(scenario.plans[0].tenants, 2):
        scenario.faults[tenant] = Fault(
            dice.choice(["hang", "reset"]),
            applies="late",
            late_seconds=dice.uniform(1.5, CALL_TIMEOUT * 0.9),
            directions=FORWARD,
        )
    scenario.cue("batch_opened", "roll_back", dice.uniform(0.5, 2.5), dice.randint(1, 2))
    if dice.random() < 0.3:
        scenario.cue("batch_opened", "pause", dice.uniform(0.2, 2))


def interrupted(scenario: Scenario, dice: random.Random) -> None:
    """A long batch is paused or taken back in the middle of its calls."""
    scenario.plans.append(PlanSpec(some(dice, 6, 8), "two"))
    scenario.parallelism, scenario.latency = 1, 0.6
    act = dice.choice(["roll_back", "pause"])
    scenario.cue("batch_opened", act, dice.uniform(0.8, 3), dice.randint(1, 2))
    if act == "pause" and dice.random() < 0.5:
        scenario.cue("plan_paused", "resume", dice.uniform(0.1, 6))


def unhanded(scenario: Scenario, dice: random.Random) -> None:
    """There are no hands, or only slow ones: the watch does their work."""
    scenario.plans.append(PlanSpec(some(dice, 3, 5), "two"))
    scenario.hands = dice.choice([0, 0, 1])
    scenario.hands_delay = 5.0


def quoted(scenario: Scenario, dice: random.Random) -> None:
    """The way back from the second batch would take too long: it waits for a person."""
    scenario.plans.append(PlanSpec(some(dice, 7, 8), "tight"))
    if dice.random() < 0.5:
        scenario.cue("plan_waits", "roll_back", dice.uniform(0.5, 5))

"""A process is killed at every named point between two touches of database and network, once each.

One console runs all through; a trap is set in a file that every process obeys, whoever gets there
first dies by SIGKILL, and the supervisor starts it again. The plan goes forward to its end and back
again: nobody is left behind, nothing is done twice, the trail is whole.
"""

from collections.abc import Iterator

import pytest

from plans.failpoints import POINTS
from tests.chaos.rig import APPROVALS, Traps, assert_ended_right
from tests.journeys.stack import GOOD, OLD, Stack, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  there-and-back:
    description: "Two batches, one tenant after the other, so that every point has a middle."
    batches:
      - {{name: canary, percentage: 50, soak_minutes: 0.02}}
      - {{name: rest, percentage: 50, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 1, call_timeout_seconds: 3}}
{APPROVALS}"""
BACKWARD_ONLY = {"rollback.restored", "rollback.checked"}
FORWARD_ONLY = {"grants.used", "hands.began", "hands.ending"}
# Only changes for a time, drills and looks after a rollback come there: the simulator kills them.
NOT_ON_THE_WAY = {"adjust.restoring", "aftermath.judged", "drill.called"}
ON_THE_WAY = [point for point in POINTS if point not in NOT_ON_THE_WAY]
FORWARD = [point for point in ON_THE_WAY if point not in BACKWARD_ONLY]
BACKWARD = [point for point in ON_THE_WAY if point not in FORWARD_ONLY]
# By default each point is tried in one direction, with --chaos-long in both and at later passes.
SHORT = {
    **dict.fromkeys(FORWARD, ("forward", 1)),
    **dict.fromkeys(BACKWARD_ONLY, ("back", 1)),
    **dict.fromkeys(("ledger.applied", "ledger.recorded", "effects.call_sent"), ("back", 2)),
    "watch.acted": ("back", 1),
    "trail.recorded": ("back", 2),
}
LONG = [
    (point, direction, time)
    for direction, points in (("forward", FORWARD), ("back", BACKWARD))
    for point in points
    for time in (1, 2)
    if SHORT[point] != (direction, time)
    # The worker begins and ends, and a rollback is checked, once per plan.
    and not (time > 1 and point in FORWARD_ONLY | BACKWARD_ONLY)
]


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Traps:
    return Traps(tmp_path_factory.mktemp("traps") / "traps")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, traps: Traps) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("failpoints")
    with running(data, policies=POLICIES, environ=traps.environ) as stack:
        stack.turn(latency_seconds=0.1, jitter_seconds=0)
        yield stack


def kill_once_on_the_way(stack: Stack, traps: Traps, point: str, direction: str, time: int) -> None:
    """Take four tenants forward and back again; kill at the point in one of the directions."""
    tenants = stack.take_tenants(4)
    wait_until(stack.hands_are_ready, 40, "the hands are at work again")
    trap = f"{point}=kill@{time}"
    try:
        if direction == "forward":
            traps.set(trap)
        plan = stack.begin(tenants, policy="there-and-back")
        stack.wait_for(plan, "completed", seconds=90)
        if direction == "forward":
            traps.wait(10)
        assert_ended_right(stack, plan, "completed", GOOD, tenants)
        if direction == "back":
            traps.set(trap)
        stack.act(plan, "rollback", reason="Olga takes it back")
        stack.wait_for(plan, "rolled_back", seconds=90)
        if direction == "back":
            traps.wait(10)
    finally:
        traps.disarm()
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    assert stack.rollback(plan)["missed_at"] is None
    stack.give_back(tenants)


@pytest.mark.parametrize(("point", "direction", "time"), [(p, *how) for p, how in SHORT.items()])
def test_fault_01_killed_at_a_failpoint(stack, traps, point, direction, time):
    kill_once_on_the_way(stack, traps, point, direction, time)


@pytest.mark.chaos_long
@pytest.mark.parametrize(("point", "direction", "time"), LONG)
def test_fault_01_killed_at_a_failpoint_on_another_pass(stack, traps, point, direction, time):
    kill_once_on_the_way(stack, traps, point, direction, time)

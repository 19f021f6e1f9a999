"""Whatever dies in the middle of a drill: the next look goes on where it was."""

import threading
from collections.abc import Iterator

import pytest

from batches.decisions import decide_forward
from batches.models import RollbackDrill
from plans import failpoints
from tests.builders import FOREST, a_started, check_invariants, states
from tests.use_cases.test_plan_drill import DRILL
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


class Falls:
    """Let the effect loop's run fail at the n-th time it reaches a point while a drill is open."""

    def __init__(self, point: str, at: int) -> None:
        self.point, self.at, self.reached, self.open = point, at, 0, False
        self.lock = threading.Lock()

    def __call__(self, point: str) -> None:
        if point == "watch.acted" and not self.open:
            # The watch's own thread, right after the drill was begun and before its first call.
            self.open = RollbackDrill.objects.exists()
        if point != self.point or not self.open:
            return
        with self.lock:
            self.reached += 1
            if self.reached == self.at:
                raise OSError(f"fell at {point}")


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("point", ["effects.call_ready", "effects.call_sent", "drill.called"])
def test_a_run_that_falls_in_the_middle_of_a_drill_is_gone_on_with(scene, fleet, point, at):
    falls = Falls(point, at)
    before = failpoints.trap(falls)
    try:
        plan = a_started(scene, policy=quick_policy(more=DRILL, limits="success_rate: 100"))
        fleet.until(lambda: RollbackDrill.objects.filter(plan=plan, outcome="passed").exists(), 20)
    finally:
        failpoints.trap(before)
    assert falls.reached >= at
    fleet.until_plan(plan, "completed")
    assert set(states(plan).values()) == {"upgraded"}
    assert fleet.versions(FOREST) == {"1.5.0"}
    check_invariants(plan)

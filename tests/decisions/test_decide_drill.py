"""When the watch drills within a plan, and that a failed drill widens nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from batches.decisions.decide import decide
from batches.decisions.decision_facts import Action, BatchFacts, BreachFacts, DrillFacts, PlanFacts
from plans.policies.policy import Conditions, Limits

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FIRST = BatchFacts(1, 1, "canary", "soaking", 2, {"upgraded": 2})
SECOND = BatchFacts(2, 2, "rest", "pending", 4, {"pending": 4})
SOAKS = PlanFacts("running", NOW, Limits(), Conditions(), (FIRST, SECOND), promotable=True)


def does(drill: DrillFacts | None, **changes: object) -> Action:
    return decide(replace(SOAKS, drill=drill, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "what", "kind"),
    [
        ("begin", "begin_drill", ""),
        ("run", "run_drill", "d-1"),
        ("restored", "advance_drill", "restored"),
        ("undo", "advance_drill", "undo"),
        ("passed", "advance_drill", "passed"),
        ("lost", "advance_drill", "lost"),
        ("failed", "hold", "drill_failed"),
    ],
)
def test_a_batch_whose_soak_is_over_passes_only_after_the_drill(step, what, kind):
    action = does(DrillFacts(step, "so it is", "d-1"))
    assert (action.do, action.kind) == (what, kind)


def test_without_a_drill_the_batch_passes():
    assert does(None).do == "pass_soak"


def test_a_failed_drill_that_a_person_let_pass_holds_no_more():
    known = replace(FIRST, acknowledged={"drill_failed": NOW})
    failed = DrillFacts("failed", "it failed")
    assert does(failed, batches=(known, SECOND)).do == "pass_soak"


def test_only_the_first_batch_is_drilled_and_held():
    later = (replace(FIRST, state="passed"), replace(SECOND, state="soaking"))
    for step in ("begin", "failed"):
        assert does(DrillFacts(step, "so it is"), batches=later).do == "pass_soak"


def test_what_cannot_be_taken_back_is_not_drilled():
    assert does(DrillFacts("begin"), irreversible=True).do == "pass_soak"


@pytest.mark.parametrize("state", ["paused", "rolling_back"])
def test_nothing_is_drilled_while_the_plan_does_not_run(state):
    assert does(DrillFacts("run", pk="d-1"), state=state).do == "stop"


def test_a_stopped_orchestrator_begins_no_drill():
    assert does(DrillFacts("begin"), orchestrator_on=False).do == "wait"


def test_nothing_widens_without_its_drill_while_only_people_roll_back():
    action = does(DrillFacts("begin"), rollback_on=False)
    assert (action.do, "plugin-upgrade-rollback" in action.sentence) == ("wait", True)
    # One that has begun is brought to its end.
    assert does(DrillFacts("run", pk="d-1"), rollback_on=False).do == "run_drill"


def test_a_broken_file_begins_no_drill_and_passes_nothing():
    action = does(DrillFacts("begin"), unreadable="the deployers file is broken")
    assert (action.do, action.kind) == ("wait", "configuration")


@pytest.mark.parametrize(
    ("changes", "what"),
    [({}, "rollback"), ({"rollback_on": False}, "wait"), ({"state": "paused"}, "stop")],
)
def test_a_rehearsal_asks_for_its_rollback_as_soon_as_it_soaks(changes, what):
    soaks = replace(SOAKS, batches=(replace(FIRST, soak_left=1800),), rehearsal="it is time")
    action = decide(replace(soaks, **changes))
    assert action.do == what
    assert what != "rollback" or (action.kind, action.sentence) == ("drill", "it is time")


def test_a_breach_comes_before_the_drill():
    breach = BreachFacts("error_rate", "error_rate", "rollback", "too many errors")
    assert does(DrillFacts("run", pk="d-1"), breaches=(breach,)).do == "rollback"


def test_a_tenant_that_the_drill_left_to_a_person_is_no_failure_of_the_batch():
    lost = replace(FIRST, counts={"upgraded": 1, "needs_hand": 1}, failures=0, drilled=1)
    assert does(None, batches=(lost, SECOND)).do == "pass_soak"
    not_drilled = replace(lost, drilled=0)
    assert does(None, batches=(not_drilled, SECOND)).do == "hold"

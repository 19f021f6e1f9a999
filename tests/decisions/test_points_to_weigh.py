"""What an approver is told to weigh about a plan, and what a careful one is spared."""

from dataclasses import replace

import pytest

from batches.live.points_to_weigh import Before, points_to_weigh
from plans.policies.policy import (
    BatchSpec,
    Conditions,
    EvidenceRules,
    Guardrail,
    RollbackRules,
    UpgradePolicy,
)

RULE = Guardrail(kpi="error_rate", at_most=2)
CAREFUL = UpgradePolicy(
    name="careful",
    batches=(BatchSpec("canary", 5, 60), BatchSpec("rest", 95, 60)),
    guardrails=(RULE,),
)


def told(policy: UpgradePolicy, sizes=(5, 95), *, running=("1.4.2",)) -> list[str]:
    points = points_to_weigh(
        policy, sizes, version="1.5.1", standing="", running=running, before=(), first_over=None
    )
    return [point.sentence for point in points]


def test_a_careful_plan_has_nothing_to_weigh():
    assert told(CAREFUL) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"guardrails": ()}, "No metric takes anything back"),
        ({"guardrails": (replace(RULE, action="pause"),)}, "No metric takes anything back"),
        ({"on": Conditions(failure_rate="hold")}, "it holds for a person"),
        ({"rollback": RollbackRules(scope="batch")}, "takes the newest batch back alone"),
        (
            {"batches": (BatchSpec("canary", 5, 0), BatchSpec("rest", 95, 60))},
            "canary does not soak",
        ),
        ({"guardrails": (RULE, replace(RULE, kpi="cost", dry_run=True))}, "never acted on: cost"),
    ],
)
def test_each_risk_of_a_policy_is_one_sentence(changes, words):
    (sentence,) = told(replace(CAREFUL, **changes))
    assert words in sentence


def test_a_dry_run_takes_nothing_back_and_evidence_does():
    idle = replace(CAREFUL, guardrails=(replace(RULE, dry_run=True),))
    assert any("No metric takes anything back" in line for line in told(idle))
    proven = replace(idle, evidence=EvidenceRules(action="rollback"))
    assert not any("No metric takes anything back" in line for line in told(proven))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((25, 75), ""),
        ((26, 74), "26 of 100 tenants (26 %)"),
        ((40,), "All 40 tenants get it in one batch"),
        ((1, 2), ""),  # of three, no first batch is small
    ],
)
def test_a_first_batch_may_be_a_quarter(sizes, words):
    lines = told(CAREFUL, sizes)
    assert (not lines) if not words else (words in lines[0])


def test_the_last_batch_needs_no_soak_unless_a_hold_back_follows_it():
    bare = replace(CAREFUL, batches=(BatchSpec("canary", 5, 60), BatchSpec("rest", 95, 0)))
    assert told(bare, (5, 95)) == []
    assert told(bare, (5, 85, 10)) == [
        "rest does not soak: nothing is watched before the next batch begins."
    ]


def test_what_happened_before_comes_first_and_leads_there():
    before = [Before("some-id", "winter", 6, "The console rolled back the plan: bad.")]
    points = points_to_weigh(
        CAREFUL, (5, 95), version="1.5.1", standing="", running=(), before=before, first_over=2
    )
    assert points[0].plan_id == "some-id"
    assert points[0].sentence == (
        "1.5.1 was taken back before, from 6 tenants of winter: The console rolled back the plan:"
        " bad."
    )
    assert points[1].sentence.startswith("From batch 2 on, all could not be taken back in time")


def test_whoever_runs_the_version_already_is_told():
    assert told(CAREFUL, running=("1.4.2", "1.5.1"))[0].startswith("Some of its tenants run 1.5.1")
    assert told(CAREFUL, running=("1.5.1",))[0].startswith("Its tenants run 1.5.1 already")


def test_a_release_that_nobody_may_install_comes_before_everything():
    points = points_to_weigh(
        CAREFUL,
        (5, 95),
        version="1.5.1",
        standing="release 1.5.1 is in quarantine: It leaks.",
        running=(),
        before=[Before("some-id", "winter", 6, "bad")],
        first_over=None,
    )
    assert points[0].sentence == (
        "Approved or not, it does not start: release 1.5.1 is in quarantine: It leaks."
    )


def test_a_rehearsal_is_taken_back_by_the_console_whatever_its_metrics_say():
    bare = replace(CAREFUL, guardrails=())
    points = points_to_weigh(
        bare,
        (5, 95),
        version="1.5.1",
        standing="",
        running=(),
        before=(),
        first_over=None,
        rehearsal=True,
    )
    assert points == []

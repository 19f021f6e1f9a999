"""A policy is measured over the history of this installation, and what came of it is kept."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django_q.models import OrmQ

from batches import tasks
from batches.models import PlaceboRun
from batches.placebo.beside import beside_evidence
from batches.placebo.runs import (
    TooLittleHistory,
    ask_placebo,
    measure_placebo,
    newest_placebo,
)
from plans.drafting.drafting import latest_policy
from plans.models import Event, Policy
from plans.policies.keeping import save_policy_text
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput, NotAllowed, NotFound
from tests.builders import FOREST, policy_text
from tests.use_cases.recorded_history import past
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db
HEALTHY = dict.fromkeys(FOREST, (0.0, 600.0))
ILL = dict.fromkeys(FOREST, (0.2, 120.0))
EVIDENCE = "evidence: {kpis: [error_rate], action: rollback, max_false_rollback_risk: 1}"


def measured(policy: str = "safe-rollout", rollouts: int = 10, **more):
    return measure_placebo(
        policy=policy, rollouts=rollouts, by=None, now=now(), via="command", **more
    )


def newest(policy: str) -> Policy:
    row = latest_policy(policy)
    assert row is not None
    return row


def saved(more: str) -> str:
    save_policy_text(text=policy_text(more=more), source="test", by=None, now=now(), via="command")
    return "quick"


def test_a_healthy_fleet_is_left_alone_and_it_is_kept_how_sure_that_is(scene):
    past(now(), minutes=120, rates=HEALTHY)
    run = measured()
    assert (run.rollouts, run.rolled_back) == (10, 0)
    assert run.result["upper_percent"] == pytest.approx(25.9, abs=0.1)
    assert run.sentence.startswith(
        "0 of 10 rollouts with nothing released would have been rolled back, so at most 26 %"
    )
    assert newest_placebo(newest("safe-rollout")) == run
    assert "0 of 10 rollouts" in Event.objects.get(kind="placebo_measured").sentence


def test_a_limit_below_what_is_usual_takes_everything_back(scene):
    past(now(), minutes=120, rates=ILL)
    run = measured()
    (judge,) = run.result["judges"]
    assert run.rolled_back == judge["rollouts"] == 10


def test_evidence_is_measured_beside_the_risk_that_was_asked(scene):
    past(now(), minutes=120, rates=HEALTHY)
    run = measured(saved(EVIDENCE), rollouts=5)
    assert run.rolled_back == 0
    assert run.result["asked_percent"] == 1
    assert [judge["evidence"] for judge in run.result["judges"]] == [True]
    assert "; asked of evidence is 1 %" in run.sentence


def test_a_guardrail_about_each_tenant_counts_tenants_and_takes_no_rollout_back(scene):
    one_ill = HEALTHY | {"acorn": (0.5, 120.0)}
    past(now(), minutes=120, rates=one_ill)
    name = saved("guardrails: [{kpi: error_rate, at_most: 9, scope: tenant}]")
    run = measured(name, rollouts=4)
    (judge,) = run.result["judges"]
    assert (run.rolled_back, judge["scope"]) == (0, "tenant")
    assert (judge["tenants"], judge["judged"]) == (4, 4 * len(FOREST))
    assert (
        f"4 of {4 * len(FOREST)} tenants that were judged by themselves would have been taken back"
        " alone" in run.sentence
    )
    assert any("are judged each by itself" in note for note in run.result["notes"])


def test_a_guardrail_against_their_own_history_knows_what_was_before_the_rollout(scene):
    past(now(), minutes=600, rates=ILL)
    rule = "{kpi: error_rate, at_most: 15, unit: points, against: own_history, min_samples: 100}"
    run = measured(saved(f"guardrails: [{rule}]"), rollouts=20)
    (judge,) = run.result["judges"]
    # They were ill before as well.
    assert run.rolled_back == judge["rollouts"] == 0
    assert run.result["not_measured"] == []
    # Of the first hours nothing is known from before, and that is said.
    (note,) = run.result["notes"]
    assert "could say nothing in" in note


def test_what_cannot_be_tested_is_named(scene):
    past(now(), minutes=120, rates=HEALTHY)
    more = "evidence: {kpis: [error_rate, nothing_like_it], action: rollback}"
    run = measured(saved(more), rollouts=2)
    assert [judge["key"] for judge in run.result["judges"]] == ["evidence"]
    (left_out,) = run.result["not_measured"]
    assert "no source for nothing_like_it" in left_out
    assert "Not measured: evidence" in run.sentence


def test_with_too_little_history_evidence_would_only_have_warned(scene):
    worse = HEALTHY | dict.fromkeys(FOREST[:3], (0.5, 600.0))
    past(now(), minutes=120, rates=worse)
    strict = EVIDENCE.replace("}", ", tolerated_worsening: {ratio: 1, points: 0}}")
    run = measured(saved(strict), rollouts=30)
    assert run.rolled_back == 0
    assert run.result["only_warned"] > 0
    assert any("would only have warned" in note for note in run.result["notes"])


def test_tenants_that_were_ill_before_are_expected_to_be(scene):
    worse = HEALTHY | dict.fromkeys(FOREST[:3], (0.5, 600.0))
    past(now(), minutes=600, rates=worse)
    strict = EVIDENCE.replace("}", ", tolerated_worsening: {ratio: 1.2, points: 0}}")
    run = measured(saved(strict), rollouts=20)
    assert (run.rolled_back, run.result["only_warned"]) == (0, 0)
    # Those that begin in the first three hours are calibrated by what they are laid over.
    assert any("was calibrated by the hours over which" in note for note in run.result["notes"])


def test_a_guardrail_against_the_control_has_a_control(scene):
    worse = {key: (0.2 if key == "acorn" else 0.0, 120.0) for key in FOREST}
    past(now(), minutes=120, rates=worse)
    name = saved(
        "guardrails: [{kpi: error_rate, at_most: 5, unit: points, against: control}]\n"
        "selection: {hold_back_percentage: 17}"
    )
    run = measured(name, rollouts=60)
    # Only rollouts in which acorn is among the first are worse than their control.
    assert 0 < run.rolled_back < 60


def test_the_same_seed_draws_the_same_rollouts(scene):
    past(now(), minutes=120, rates=dict.fromkeys(FOREST, (0.04, 120.0)))
    first, again = measured(seed="a"), measured(seed="a")
    assert first.rolled_back == again.rolled_back
    assert first.result["judges"] == again.result["judges"]


def test_beside_evidence_that_takes_back_stands_what_was_measured(scene):
    past(now(), minutes=120, rates=HEALTHY)
    name = saved(EVIDENCE)
    before = beside(name)
    assert (before.run, before.over) == (None, False)
    assert f"powerx placebo {name} --measure" in before.sentence
    measured(name, rollouts=40)
    after_it = beside(name)
    assert after_it.sentence == (
        "With nothing released 0 of 40 placebo rollouts over this fleet would have been taken back"
        " by it: 0 %, at most 7.2 % (95 % confidence), asked 1 %."
    )
    assert (after_it.over, after_it.sure) == (False, False)


def test_more_than_was_asked_is_told_as_such(scene):
    past(now(), minutes=120, rates=HEALTHY)
    run = measured(saved(EVIDENCE), rollouts=5)
    run.result["judges"][0]["rollouts"] = 2
    run.save()
    told = beside("quick")
    assert told.over
    assert "2 of 5 placebo rollouts" in told.sentence


def test_beside_evidence_that_only_pauses_stands_nothing(scene):
    assert beside(saved(EVIDENCE.replace("rollback,", "pause,"))) is None


def beside(name: str):
    row = newest(name)
    policy = parse_policy_file(row.text).policies[name]
    return beside_evidence(policy, name=name, digest=row.digest)


def test_a_text_that_was_changed_is_not_measured_yet(scene):
    past(now(), minutes=120, rates=HEALTHY)
    measured(saved("rollback_thresholds: {error_rate: 5}"))
    saved("rollback_thresholds: {error_rate: 3}")
    assert newest_placebo(newest("quick")) is None


def test_too_little_history_says_how_much_is_needed(scene):
    past(now(), minutes=0, rates=HEALTHY)
    with pytest.raises(TooLittleHistory) as refused:
        measured()
    assert "a backtest needs 60 minutes and two tenants" in refused.value.sentence
    assert not PlaceboRun.objects.exists()


def test_what_is_no_policy_or_no_number_is_refused(scene):
    with pytest.raises(NotFound):
        measured("nothing-of-that-name")
    with pytest.raises(BadInput):
        measured(rollouts=0)


def test_who_may_not_write_policies_or_plans_may_not_measure(scene):
    with pytest.raises(NotAllowed):
        ask_placebo(policy="safe-rollout", rollouts=5, by=scene.rita, now=now())


def test_the_paperwork_measures_once_although_it_is_told_twice(scene):
    past(now(), minutes=120, rates=HEALTHY)
    seed = ask_placebo(policy="safe-rollout", rollouts=5, by=scene.mara, now=now())
    assert OrmQ.objects.filter(key="paperwork").count() == 1
    for _delivery in range(2):
        tasks.measure_placebo("safe-rollout", 5, seed, str(scene.mara.pk))
    assert PlaceboRun.objects.get(seed=seed).by == scene.mara


def test_the_command_tells_and_its_json_can_be_read(scene):
    past(now(), minutes=120, rates=HEALTHY)
    out = StringIO()
    call_command("placebo", "safe-rollout", "--rollouts", "3", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["rollouts"], told["rolled_back"]) == (3, 0)
    out = StringIO()
    call_command("placebo", "safe-rollout", "--rollouts", "3", stdout=out)
    assert "0 of 3 rollouts with nothing released" in out.getvalue()

"""Stored looks under their own rules say what was said; under others, what would have been."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from batches.decisions import decide_forward
from batches.models import JudgedLook, KpiSample, Rollback, Ruling
from batches.replay import course
from batches.replay.counterfactual import own_policy, replay_under, with_thresholds
from batches.replay.course import NothingToReplay, TooMuchForAPage, differences
from batches.replay.other_rules import policy_in
from batches.replay.past import tally
from plans.models import Plan
from plans.refusal import BadInput
from tests.builders import FOREST, a_started
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def began(scene, limit: int = 5, **more) -> Plan:
    return a_started(scene, policy=with_limit(limit, **more))


def with_limit(limit: int, **more) -> str:
    return quick_policy(**more).replace("at_most: 5", f"at_most: {limit}")


def stayed(scene, fleet) -> Plan:
    """Return a plan that completed although 20 % of the new version's requests failed."""
    fleet.metrics.bad_versions = {"1.5.0"}
    return fleet.until_plan(began(scene, limit=50), "completed")


def went_back(scene, fleet) -> Plan:
    """Return a plan that its guardrail took back."""
    fleet.metrics.bad_versions = {"1.5.0"}
    return fleet.until_plan(began(scene), "rolled_back")


def under(plan: Plan, limit: float, **more):
    return replay_under(plan, with_thresholds(own_policy(plan), {"error_rate": limit}), **more)


# Its own rules.


def test_a_good_plan_replays_ruling_by_ruling(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    assert Ruling.objects.filter(plan=plan).exists()
    assert differences(plan) == []


def test_a_bad_plan_replays_ruling_by_ruling(scene, fleet):
    plan = went_back(scene, fleet)
    assert Ruling.objects.filter(plan=plan, verdict="breached").exists()
    assert differences(plan) == []


def test_a_watch_that_began_anew_changes_nothing(scene, fleet):
    plan = a_started(scene, policy=with_limit(5).replace("0.002", "0.05"))
    fleet.until_batch(plan, "soaking")
    read_back = JudgedLook.objects.filter(plan=plan, states__isnull=False)
    for restarts in range(2, 4):
        fleet.watch.observer.forget(None)
        fleet.until(lambda wanted=restarts: read_back.count() == wanted)
        fleet.tick(5)
    plan = fleet.until_plan(plan, "completed")
    assert differences(plan) == []


def test_data_that_were_missing_are_missing_in_the_replay(scene, fleet):
    plan = began(scene, guardrail="consecutive_error_limit: 0")
    fleet.until_batch(plan, "deploying")
    fleet.metrics.down = True
    fleet.until(lambda: Ruling.objects.filter(plan=plan, verdict="no_data").exists())
    fleet.metrics.down = False
    plan = fleet.until_plan(plan, "completed")
    assert differences(plan) == []


def test_a_look_that_was_falsified_is_found(scene, fleet):
    plan = went_back(scene, fleet)
    for row in KpiSample.objects.filter(plan=plan):
        row.look["canary"] = {key: ["r", 0, 100] for key in row.look["canary"]}
        row.save()
    assert any("breached" in line for line in differences(plan))


def test_a_ruling_that_was_added_is_found(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    real = Ruling.objects.filter(plan=plan).latest("pk")
    real.pk, real.verdict = None, "breached"
    real.save()
    (line,) = differences(plan)
    assert line.startswith("was ruled, and is not in the replay")


# Other rules.


def test_under_the_same_limit_it_goes_back_when_it_did(scene, fleet):
    plan = went_back(scene, fleet)
    found = under(plan, 5)
    breach = Ruling.objects.get(plan=plan, verdict="breached")
    assert found.at == breach.at
    assert found.word == "true"
    assert found.earlier_seconds == pytest.approx(0, abs=1)


def test_under_a_loose_limit_it_would_not_have_gone_back(scene, fleet):
    found = under(went_back(scene, fleet), 50)
    assert (found.at, found.word) == (None, "missed")
    assert found.sentence.startswith("Not taken back by its guardrails; really it was, at ")


def test_under_a_tight_limit_a_plan_that_stayed_goes_back(scene, fleet):
    found = under(stayed(scene, fleet), 5)
    (guardrail,) = found.guardrails
    assert found.word == "false"
    assert guardrail.breached_at == found.at
    assert guardrail.failed >= 2
    assert "20 % in the upgraded tenants" in guardrail.sentence


def test_a_rule_that_only_warns_takes_nothing_back(scene, fleet):
    plan = stayed(scene, fleet)
    text = with_limit(5, guardrail="action: warn")
    found = replay_under(plan, policy_in(text))
    assert found.guardrails[0].breached_at is not None
    assert (found.at, found.word) == (None, "quiet")


def test_a_tenant_that_goes_back_alone_takes_no_plan_back(scene, fleet):
    plan = stayed(scene, fleet)
    found = replay_under(plan, policy_in(with_limit(5, guardrail="scope: tenant")))
    assert found.guardrails[0].breached_at is not None
    assert (found.at, found.word) == (None, "quiet")


def test_nothing_is_written_by_a_replay(scene, fleet):
    plan = stayed(scene, fleet)
    before = Ruling.objects.count(), JudgedLook.objects.count(), Rollback.objects.count()
    under(plan, 5)
    assert (Ruling.objects.count(), JudgedLook.objects.count(), Rollback.objects.count()) == before


def test_a_plan_without_looks_says_so(scene):
    with pytest.raises(NothingToReplay):
        under(a_started(scene, policy=quick_policy()), 5)


def test_what_would_keep_a_page_waiting_is_left_to_the_command(scene, fleet, monkeypatch):
    plan = stayed(scene, fleet)
    monkeypatch.setattr(course, "MOST_POINTS_ON_A_PAGE", 1)
    with pytest.raises(TooMuchForAPage) as refused:
        under(plan, 5, on_a_page=True)
    assert f"./console manage replay {plan.external_id}" in refused.value.sentence
    with pytest.raises(TooMuchForAPage):
        differences(plan, on_a_page=True)
    assert under(plan, 5).word == "false"
    assert differences(plan) == []


def test_a_kpi_that_no_guardrail_judges_is_refused_by_name(scene):
    plan = a_started(scene, policy=quick_policy())
    with pytest.raises(BadInput) as bad:
        with_thresholds(own_policy(plan), {"latency_ms": 3})
    assert bad.value.problems == (
        "threshold: no guardrail judges latency_ms; the policy's judge error_rate",
    )


# All past plans.


def test_over_past_plans_right_and_wrong_rollbacks_are_counted(scene, fleet):
    plan = stayed(scene, fleet)
    found = tally(Plan.objects.all(), thresholds={"error_rate": 5})
    assert [one.plan for one in found.plans] == [plan]
    assert found.counts == {"true": 0, "false": 1, "missed": 0, "quiet": 0}
    assert found.sentence == (
        "Of 0 past plans that went back 0 would have been taken back by these rules; of 1 that"
        " stayed 1 would have been taken back for nothing."
    )
    loose = tally(Plan.objects.all(), thresholds={"error_rate": 50})
    assert loose.counts["quiet"] == 1


def test_how_much_earlier_is_told(scene, fleet):
    plan = went_back(scene, fleet)
    row = Rollback.objects.get(plan=plan)
    row.triggered_at += timedelta(minutes=6)
    row.save()
    found = tally(Plan.objects.all(), thresholds={"error_rate": 5})
    assert found.counts["true"] == 1
    assert "; in the middle 6 min earlier." in found.sentence


def test_a_plan_that_these_rules_cannot_judge_is_left_out_and_counted(scene, fleet):
    stayed(scene, fleet)
    found = tally(Plan.objects.all(), thresholds={"latency_ms": 5})
    assert (found.plans, found.left_out) == ((), 1)


def test_a_plan_that_lives_is_no_past_one(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    assert tally(Plan.objects.all()).plans == ()

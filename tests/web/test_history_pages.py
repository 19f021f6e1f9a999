"""Replay, placebo and soak forecast where people and machines look for them."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django_q.models import OrmQ

from batches.kpi_points import LookSample, RatioPoint
from batches.models import JudgedLook, KpiSample, PlaceboRun, Ruling, TenantUpgrade
from batches.placebo_runs import measure_placebo
from plans.models import Plan
from tests.use_cases.recorded_history import past
from tests.web.api_scene import TENANTS, Scene, configure, now, post, started, url
from tests.web.page_scene import browser, said, submitted, text_of

pytestmark = pytest.mark.django_db
PLACEBO = "/policies/safe-rollout/placebo/"
API_PLACEBO = "/api/v1/policies/safe-rollout/placebo"
BUSY = dict.fromkeys(TENANTS, (0.005, 600.0))


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def rita(scene) -> Client:
    return browser(scene.rita)


def judged(plan: Plan, share: float, looks: int = 6) -> None:
    """Let looks at two upgraded tenants have been judged."""
    begin = now() - timedelta(minutes=10)
    for number in range(looks):
        at = begin + timedelta(seconds=5 * number)
        points = {key: RatioPoint(share, 100) for key in TENANTS[:2]}
        look = LookSample("error_rate", at, canary=points, source="fleet")
        KpiSample.objects.create(
            plan=plan, kpi="error_rate", at=at, source="fleet", look=look.to_json()
        )
        JudgedLook.objects.create(
            plan=plan,
            at=at + timedelta(seconds=0.2),
            revision=1,
            canary=2,
            upgraded=list(TENANTS[:2]),
            soak_started=begin,
            since=plan.created_at - timedelta(days=1),
            looks={"error_rate": at.isoformat()},
            states={} if number == 0 else None,
        )


@pytest.fixture
def plan(scene) -> Plan:
    made = started(scene)
    judged(made, 4)
    Plan.objects.filter(pk=made.pk).update(state="completed", ended_at=now())
    return Plan.objects.get(pk=made.pk)


# Replay.


def replay_page(plan: Plan) -> str:
    return f"/plans/{plan.pk}/replay/"


def test_the_page_asks_for_other_rules(rita, plan):
    page = text_of(rita.get(replay_page(plan)))
    assert "Choose other rules" in page
    assert "error_rate at most" in page


def test_a_tighter_limit_is_a_false_rollback_of_a_plan_that_stayed(rita, plan):
    page = text_of(rita.get(replay_page(plan), {"limit_0": "3", "everywhere": "on"}))
    assert "a false rollback, if the release was good" in page
    assert "of 1 that stayed 1 would have been taken back for nothing" in page


def test_without_other_rules_it_checks_that_the_rulings_come_out_again(rita, plan):
    page = text_of(rita.get(replay_page(plan), {"policy": ""}))
    assert "The replay differs from what was ruled" in page
    assert "was not ruled" in page


def test_nothing_is_written_by_the_page(rita, plan):
    rita.get(replay_page(plan), {"limit_0": "3"})
    assert not Ruling.objects.exists()
    assert rita.post(replay_page(plan)).status_code == 405


def test_a_stranger_finds_no_plan_to_replay(scene, plan):
    assert browser(scene.nils).get(replay_page(plan)).status_code == 404


def test_a_plan_without_looks_says_so_on_the_page(scene, rita):
    page = text_of(rita.get(replay_page(submitted(scene)), {"limit_0": "3"}))
    assert "There is nothing to replay" in page


def test_the_api_replays_one_plan(scene, plan):
    client = scene.client(scene.rita)
    answer = client.get(url("replay"), {"threshold": "error_rate=3"}).json()
    assert answer["outcome"] == "false"
    assert answer["guardrails"][0]["failed"] == 6
    assert answer["really_rolled_back_at"] is None


def test_the_api_replays_past_plans(scene, plan):
    answer = scene.client(scene.rita).get("/api/v1/replay", {"threshold": "error_rate=3"}).json()
    assert answer["false_rollbacks"] == 1
    assert [one["external_id"] for one in answer["plans"]] == [plan.external_id]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({}, "say which other rules"),
        ({"threshold": "error_rate"}, "is not KPI=NUMBER"),
        ({"threshold": "error_rate=nan"}, "is not KPI=NUMBER"),
        ({"threshold": "latency_ms=3"}, "no guardrail judges latency_ms"),
        ({"policy": "no-such"}, "there is no policy 'no-such'"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_with_what_to_write(scene, plan, query, word):
    answer = scene.client(scene.rita).get(url("replay"), query)
    assert answer.status_code == 422
    assert word in str(answer.json())


def test_the_api_hides_a_plan_from_a_stranger(scene, plan):
    answer = scene.client(scene.nils).get(url("replay"), {"threshold": "error_rate=3"})
    assert answer.status_code == 404
    assert scene.client(scene.nils).get("/api/v1/replay").status_code == 403


def told(*argv: str) -> str:
    out = StringIO()
    call_command("replay", *argv, stdout=out)
    return out.getvalue()


def test_the_command_replays_one_plan_and_all(plan):
    answer = json.loads(told(plan.external_id, "--threshold", "error_rate=3", "--json"))
    assert answer["outcome"] == "false"
    assert "a false rollback" in told(str(plan.pk), "--threshold", "error_rate=3")
    assert "of 1 that stayed 1 would have been" in told("--all", "--threshold", "error_rate=3")


def test_the_command_fails_where_a_ruling_does_not_come_out_again(plan):
    with pytest.raises(SystemExit) as ended:
        told(plan.external_id)
    assert ended.value.code == 1


@pytest.mark.parametrize(
    "argv", [("no-such-plan",), ("pay-7", "--threshold", "x"), ("pay-7", "--policy", "no-such")]
)
def test_the_command_says_what_it_cannot_use(plan, argv):
    with pytest.raises(CommandError):
        told(*argv)


# Placebo.


def run(rollouts: int = 4) -> PlaceboRun:
    past(now(), minutes=120, rates=dict.fromkeys(TENANTS, (0.0, 600.0)))
    return measure_placebo(
        policy="safe-rollout", rollouts=rollouts, by=None, now=now(), via="command"
    )


def test_before_it_was_measured_page_and_api_say_so(scene, rita):
    assert "was not measured yet" in text_of(rita.get(PLACEBO))
    assert scene.client(scene.rita).get(API_PLACEBO).status_code == 404


def test_what_was_measured_stands_beside_the_policy(scene, rita):
    run()
    assert "0 of 4 rollouts with nothing released" in text_of(rita.get(PLACEBO))
    panel = text_of(rita.get(f"{PLACEBO}panel/"))
    assert "0 of 4 rollouts with nothing released" in panel
    assert "placebo/panel/" in text_of(rita.get("/policies/safe-rollout/"))
    answer = scene.client(scene.rita).get(API_PLACEBO).json()
    assert (answer["rollouts"], answer["rolled_back"]) == (4, 0)
    assert answer["judges"][0]["action"] == "rollback"


def test_the_preview_of_a_plan_says_it_beside_the_guardrail(scene):
    run()
    form = {
        "release": "pay@1.5.0", "policy": "safe-rollout", "deployer": "fleet",
        "tenants": "all", "external_id": "winter", "owner_name": "Mara",
        "owner_email": "mara@example.org",
    }  # fmt: skip
    page = text_of(browser(scene.mara).post("/plans/preview/", form))
    assert "With nothing released it was broken in 0 of 4 placebo rollouts." in page
    assert "What the soaks can find" in page


def test_a_manager_has_it_measured(scene):
    past(now(), minutes=120, rates=BUSY)
    answer = browser(scene.mara).post(PLACEBO, {"rollouts": "5"}, follow=True)
    assert "It is being measured" in said(answer)
    assert OrmQ.objects.filter(key="paperwork").count() == 1
    answer = post(scene.client(scene.mara), API_PLACEBO, {"rollouts": 5})
    assert answer.status_code == 202
    assert answer.json()["seed"]


def test_what_cannot_be_measured_says_why(scene):
    mara = browser(scene.mara)
    assert "a backtest needs 60" in said(mara.post(PLACEBO, {"rollouts": "5"}, follow=True))
    assert "from 1 to 10000" in said(mara.post(PLACEBO, {"rollouts": "many"}, follow=True))
    assert post(scene.client(scene.mara), API_PLACEBO, {"rollouts": 0}).status_code == 400
    assert not OrmQ.objects.exists()


def test_an_auditor_may_look_and_not_measure(scene, rita):
    past(now(), minutes=120, rates=BUSY)
    assert "Measure</button>" not in text_of(rita.get(PLACEBO))
    assert rita.post(PLACEBO, {"rollouts": "5"}).status_code == 403
    assert post(scene.client(scene.rita), API_PLACEBO, {"rollouts": 5}).status_code == 403


def test_there_is_no_page_of_no_policy_and_none_for_strangers(scene, rita):
    assert rita.get("/policies/nothing/placebo/").status_code == 404
    assert browser(scene.nils).get(PLACEBO).status_code == 403


# Soak and history.


def test_the_plans_page_and_the_api_tell_what_the_soaks_can_find(scene, rita):
    past(now(), minutes=120, rates=BUSY)
    plan = submitted(scene)
    page = text_of(rita.get(f"/plans/{plan.pk}/"))
    assert "What the soaks can find" in page
    assert "events/s" in page
    (answer,) = scene.client(scene.rita).get(url("soak", plan.external_id)).json()
    assert answer["batches"][0]["enough"] is True
    assert scene.client(scene.nils).get(url("soak", plan.external_id)).status_code == 404


def test_the_api_tells_how_much_is_recorded(scene):
    past(now(), minutes=120, rates=BUSY)
    (answer,) = scene.client(scene.rita).get("/api/v1/kpi-history").json()
    assert answer["kpi"] == "error_rate"
    assert answer["tenants"] == 3
    assert "needs 180 min" in answer["too_little"]
    assert scene.client(scene.nils).get("/api/v1/kpi-history").status_code == 403


def test_plans_that_have_started_link_to_their_replay(scene, rita, plan):
    assert TenantUpgrade.objects.filter(plan=plan).exists()
    assert replay_page(plan) in text_of(rita.get(f"/plans/{plan.pk}/"))

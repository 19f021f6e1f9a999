"""Replay, placebo and soak forecast where people and machines look for them."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django_q.models import OrmQ

from batches.looks.kpi_points import LookSample, RatioPoint
from batches.models import Batch, JudgedLook, KpiSample, PlaceboRun, Ruling, TenantUpgrade
from batches.placebo.runs import measure_placebo
from plans.models import Plan
from plans.policies.keeping import save_policy_text
from tests.builders import policy_text
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
    batch = Batch.objects.filter(plan=plan).order_by("number").first()
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
            control=len(TENANTS) - 2,
            upgraded=list(TENANTS[:2]),
            soak_started=begin,
            batch=batch.pk if batch is not None else None,
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


def test_another_evidence_test_is_asked_for_on_the_page(rita, plan):
    page = text_of(rita.get(replay_page(plan), {"kpis": "error_rate", "action": "rollback"}))
    assert "Its history is too short" in page or "only warns" in page
    assert "When the evidence lets a batch pass" in page
    page = text_of(rita.get(replay_page(plan), {"kpis": "error_rate", "risk": "70"}))
    assert "evidence.max_false_rollback_risk" in page
    page = text_of(rita.get(replay_page(plan), {"ratio": "1.1"}))
    assert "say over what with kpis=error_rate" in page


def test_the_api_weighs_a_plan_by_another_evidence_test(scene, plan):
    client = scene.client(scene.rita)
    asked = {"evidence": ["kpis=error_rate", "risk=2"]}
    answer = client.get(url("replay"), asked).json()
    (evidence,) = [one for one in answer["guardrails"] if one["guardrail"] == "evidence"]
    assert evidence["looks"] == 6
    assert evidence["highest_percent"] >= 0
    assert "only warns" in answer["notes"][0]
    assert answer["passes"] == [] or answer["passes"][0]["batch"] == 1
    past_plans = client.get("/api/v1/replay", asked).json()
    assert past_plans["quiet"] == 1


def test_the_api_tells_whether_rulings_come_out_again(scene, plan):
    answer = scene.client(scene.rita).get(url("replay/same")).json()
    assert answer["same"] is False
    assert "was not ruled" in answer["differences"][0]
    assert answer["left_out"] == []
    assert scene.client(scene.nils).get(url("replay/same")).status_code == 404
    assert scene.client(scene.rita).post(url("replay/same")).status_code == 405


def test_a_plan_without_looks_says_so_to_the_api(scene):
    plan = submitted(scene)
    answer = scene.client(scene.rita).get(url("replay/same", plan.external_id))
    assert answer.status_code == 409
    assert "nothing to replay" in answer.json()["detail"]


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
        ({"evidence": "loudness=3"}, "is not KEY=VALUE"),
        ({"evidence": "risk=2"}, "the policy has no evidence test"),
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


WEIGHED = "evidence: {kpis: [error_rate], action: rollback, max_false_rollback_risk: 1}"


def weighed(scene: Scene, rollouts: int) -> str:
    """Have a policy whose evidence takes plans back, and have it measured."""
    save_policy_text(
        text=policy_text(more=WEIGHED), source="test", by=None, now=now(), via="command"
    )
    if rollouts:
        past(now(), minutes=120, rates=dict.fromkeys(TENANTS, (0.0, 600.0)))
        measure_placebo(policy="quick", rollouts=rollouts, by=None, now=now(), via="command")
    return "quick"


@pytest.mark.parametrize(
    ("rollouts", "said_there"), [(0, "was not measured"), (3, "0 of 3 placebo rollouts")]
)
def test_beside_evidence_that_takes_back_stands_the_placebo_wherever_it_is_decided(
    scene, rollouts, said_there
):
    name = weighed(scene, rollouts)
    mara, aram = browser(scene.mara), browser(scene.aram)
    assert said_there in text_of(mara.get(f"/policies/{name}/placebo/panel/"))
    assert said_there in text_of(mara.get(f"/policies/{name}/placebo/"))
    form = {
        "release": "pay@1.5.0", "policy": name, "deployer": "fleet",
        "tenants": "all", "external_id": "winter", "owner_name": "Mara",
        "owner_email": "mara@example.org",
    }  # fmt: skip
    assert said_there in text_of(mara.post("/plans/preview/", form))
    answer = mara.post("/plans/new/", form | {"act": "submit"}, follow=True)
    assert said_there in text_of(answer)
    assert said_there in text_of(aram.get("/approvals/"))


def test_evidence_that_only_pauses_has_nothing_beside_it(scene):
    text = policy_text(more=WEIGHED.replace("action: rollback", "action: pause"))
    save_policy_text(text=text, source="test", by=None, now=now(), via="command")
    page = text_of(browser(scene.mara).get("/policies/quick/placebo/panel/"))
    assert "may take a plan back" not in page


def test_the_api_tells_what_stands_beside_the_evidence(scene):
    weighed(scene, 3)
    answer = scene.client(scene.rita).get("/api/v1/policies/quick/placebo").json()
    assert answer["beside_evidence"].startswith("With nothing released 0 of 3 placebo rollouts")
    (judge,) = answer["judges"]
    assert (judge["key"], judge["scope"]) == ("evidence", "plan")


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

"""REST: what guardrails say now and why, and every ruling with what it stands on."""

from datetime import timedelta

import pytest

from batches.guardrails.pinned_policy import limits_of
from batches.live.guardrails_shown import guardrails_shown
from batches.models import GuardrailState, Ruling
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from tests.web.api_scene import Scene, configure, handed_in, now, started, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def ruled(plan: Plan, verdict: str, *, seconds: float = 0, **more) -> Ruling:
    return Ruling.objects.create(
        plan=plan,
        guardrail="error_rate at_most 5 % over 60 s",
        kpi="error_rate",
        verdict=verdict,
        sentence=f"error_rate is {verdict}",
        inputs_digest="9c" * 32,
        at=now() + timedelta(seconds=seconds),
        **more,
    )


def test_rulings_come_newest_first_with_all_that_they_stand_on(scene):
    plan = started(scene)
    ruled(plan, "fine")
    ruled(
        plan,
        "breached",
        seconds=5,
        value=9.0,
        threshold=2.6,
        baseline=0.6,
        unit="%",
        query="fleet: bad: errors_total",
        evidence={"next": "One good look ends this"},
    )
    rows = scene.client(scene.rita).get(url("rulings")).json()["results"]
    assert [row["verdict"] for row in rows] == ["breached", "fine"]
    assert (rows[0]["baseline"], rows[0]["query"]) == (0.6, "fleet: bad: errors_total")
    assert rows[0]["evidence"]["next"] == "One good look ends this"
    assert rows[0]["batch"] is None


def test_rulings_of_one_verdict_page_by_page(scene):
    plan = started(scene)
    for number in range(3):
        ruled(plan, "no_data", seconds=number, cause="stale", since=now())
    ruled(plan, "fine")
    page = scene.client(scene.rita).get(url("rulings") + "?verdict=no_data&limit=2").json()
    assert (page["count"], len(page["results"])) == (3, 2)
    assert {row["cause"] for row in page["results"]} == {"stale"}


def test_a_question_that_makes_no_sense_is_a_clear_error(scene):
    started(scene)
    answer = scene.client(scene.rita).get(url("rulings") + "?verdict=bad")
    assert answer.status_code == 400


def test_rulings_are_read_only_and_a_stranger_does_not_see_the_plan(scene):
    started(scene)
    assert scene.client(scene.olga).post(url("rulings")).status_code == 405
    assert scene.client(scene.nils).get(url("rulings")).status_code == 404
    assert scene.client(scene.olga).get(url("rulings", "no-such")).status_code == 404


def test_a_plan_says_how_each_guardrail_stands_and_how_far_the_next_verdict_is(scene):
    plan = started(scene)
    policy = policy_of(current_revision(plan))
    key = limits_of(policy)[0].key
    since = now() - timedelta(minutes=3)
    GuardrailState.objects.create(
        plan=plan,
        key=key,
        kpi="error_rate",
        verdict="no_data",
        sentence="error_rate: no data from fleet for 180 s (source down: refused)",
        told={
            "threshold": 5.0,
            "unit": "%",
            "cause": "source_down",
            "since": since.isoformat(),
            "next": "One good look ends this",
            "worst": ["birch", 9.1],
            "n": 812,
            "stands_out": {"birch": 9.1},
        },
        recent=[[1.0, 0.4, 5.0], [6.0, None, 5.0]],
        updated_at=now(),
    )
    told = scene.client(scene.rita).get(url("")).json()
    rail = next(one for one in told["guardrails"] if one["key"] == key)
    assert (rail["cause"], rail["next"]) == ("source_down", "One good look ends this")
    assert rail["since"].startswith(f"{since:%Y-%m-%dT%H:%M:%S}")
    assert (rail["worst"], rail["n"]) == ({"tenant": "birch", "value": 9.1}, 812)
    assert rail["recent"] == [[1.0, 0.4, 5.0], [6.0, None, 5.0]]
    assert rail["stands_out"] == [{"tenant": "birch", "value": 9.1}]
    assert told["stops_again"] == []
    shown = guardrails_shown(plan, policy, irreversible=False)
    assert [one["stays_away"] for one in shown if one["key"] == key] == [
        "Missing for 5 min: the batch is held for a person."
    ]
    # What the next look could do is told for as long as there is one.
    Plan.objects.update(state="rolling_back")
    told = scene.client(scene.rita).get(url("")).json()
    assert next(one for one in told["guardrails"] if one["key"] == key)["next"] == ""


def test_before_the_start_it_says_what_the_guardrails_would_do(scene):
    handed_in(scene)
    told = scene.client(scene.rita).get(url("")).json()
    assert {one["verdict"] for one in told["guardrails"]} == {"undecided"}

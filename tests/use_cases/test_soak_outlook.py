"""What soaks can find is said before the start, by the traffic that the tenants had lately."""

import pytest

from batches.evidence.soak_outlook import kept_outlook
from batches.models import SoakOutlook
from batches.rollout import planning
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.policies.keeping import save_policy_text
from reports.reading.facts import plan_facts
from tests.builders import FOREST, policy_text
from tests.use_cases.recorded_history import past
from tests.web.api_scene import now
from tests.web.page_scene import draft, submitted

pytestmark = pytest.mark.django_db
BUSY = dict.fromkeys(FOREST, (0.005, 600.0))


def previewed(policy: str = "safe-rollout"):
    wanted = PlanDraft("pay", "1.5.0", policy, "fleet", TenantChoice(all=True), "winter")
    return planning.preview_plan(draft=wanted, now=now())


def test_without_history_the_preview_says_why_there_is_no_forecast(scene):
    (outlook,) = previewed().soaks
    assert outlook["kpi"] == "error_rate"
    assert outlook["too_little"].startswith("nothing was recorded of error_rate")
    assert outlook["batches"] == []


def test_the_preview_tells_each_batch_at_its_traffic(scene):
    past(now(), minutes=120, rates=BUSY)
    (outlook,) = previewed().soaks
    canary, rest = outlook["batches"]
    assert (canary["tenants"], rest["tenants"]) == (2, 6)
    assert canary["events_per_second"] == pytest.approx(20, rel=0.02)
    assert canary["usual_percent"] == pytest.approx(0.5, abs=0.1)
    assert canary["sentence"].startswith("2 tenants at 20 events/s: ")
    assert canary["enough"]


def test_too_little_traffic_is_said_before_the_start(scene):
    past(now(), minutes=120, rates=dict.fromkeys(FOREST, (0.0, 4.0)))
    (outlook,) = previewed().soaks
    canary = outlook["batches"][0]
    assert not canary["enough"]
    assert "error_rate would never be judged: 20 events are needed" in canary["sentence"]
    assert canary["advice"]


def test_evidence_of_the_policy_is_asked_for_what_it_is_to_detect(scene):
    past(now(), minutes=240, rates=BUSY)
    save_policy_text(
        text=policy_text(more="evidence: {kpis: [error_rate], detect: 2}"),
        source="test", by=None, now=now(), via="command",
    )  # fmt: skip
    (outlook,) = previewed("quick").soaks
    two = next(find for find in outlook["batches"][0]["finds"] if find["percent"] == 2)
    assert two["by"] == "evidence"
    assert ", errors " in outlook["calibrated"]


def test_tenants_without_history_are_taken_for_average_ones_and_counted(scene):
    past(now(), minutes=120, rates={key: BUSY[key] for key in FOREST[:3]})
    (outlook,) = previewed().soaks
    last = outlook["batches"][-1]
    assert last["without_history"] == 3
    assert last["events_per_second"] == pytest.approx(60, rel=0.02)


def test_what_was_forecast_is_kept_when_the_plan_is_submitted(scene):
    past(now(), minutes=120, rates=BUSY)
    plan = submitted(scene)
    row = SoakOutlook.objects.get(plan=plan)
    assert row.revision == plan.revision
    assert kept_outlook(plan)[0]["batches"][0]["batch"] == "canary"


def test_a_draft_has_none_yet(scene):
    assert kept_outlook(draft(scene)) == []


def test_the_report_says_what_was_forecast(scene):
    past(now(), minutes=120, rates=BUSY)
    plan = submitted(scene)
    facts = plan_facts(plan.pk, cut_off=now())
    assert [soak.batch for soak in facts.soaks] == ["canary", "rest"]
    assert facts.soaks[0].enough


def test_a_broken_dictionary_keeps_nobody_from_submitting_and_forecasts_nothing(scene, settings):
    plan = draft(scene)
    settings.DICTIONARY_FILE.write_text("{")
    planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    assert kept_outlook(plan) == []

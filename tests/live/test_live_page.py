"""The live page over HTTP: in every state, for everybody who may see it, and its acts."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from batches.looks.charts import quantile_of
from batches.looks.kpi_points import HistogramPoint, LookSample
from batches.models import Batch, KpiSample, Rollback, TenantUpgrade
from plans.models import Plan, Tenant, User
from tests.live.live_scene import Scene, configure, happens, now, upgraded
from tests.web.api_scene import approved, handed_in

pytestmark = pytest.mark.django_db
AS_SCRIPT: dict[str, Any] = {"headers": {"accept": "application/json"}}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(plan: Plan, part: str = "") -> str:
    return f"/plans/{plan.pk}/{part}"


def test_the_page_shows_a_plan_that_waits_for_approval_with_its_coming_batches(scene):
    answer = browser(scene.olga).get(page(handed_in(scene)))
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "Awaiting approval" in text
    assert "canary" in text
    assert "data-charts-box" not in text


@pytest.mark.parametrize(
    "state",
    ["running", "paused", "completed", "rolled_back", "needs_hand", "rolling_back", "archived"],
)
def test_the_page_opens_in_every_state_after_the_start(scene, state):
    plan = upgraded(scene)
    Plan.objects.filter(pk=plan.pk).update(state=state)
    assert browser(scene.rita).get(page(plan)).status_code == 200
    assert browser(scene.rita).get(page(plan, "parts/")).status_code == 200


def more_tenants(plan: Plan, kind: str, n: int) -> None:
    tenants = Tenant.objects.bulk_create(Tenant(key=f"{kind}-{number}") for number in range(n))
    batch = plan.batches.get(number=2)
    TenantUpgrade.objects.bulk_create(
        TenantUpgrade(plan=plan, batch=batch, tenant=tenant, tenant_key=tenant.key)
        for tenant in tenants
    )


def queries_of(client: Client, plan: Plan, part: str = "") -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page(plan, part)).status_code == 200
    return len(captured)


def test_a_plan_of_1000_tenants_asks_no_more_than_one_of_ten(scene):
    plan = upgraded(scene)
    olga = browser(scene.olga)
    more_tenants(plan, "oak", 7)
    few = [queries_of(olga, plan, part) for part in ("", "", "parts/", "tenants/")][1:]
    more_tenants(plan, "elm", 990)
    assert [queries_of(olga, plan, part) for part in ("", "parts/", "tenants/")] == few


def test_the_arithmetic_of_the_next_gate_can_be_unfolded(scene):
    text = browser(scene.olga).get(page(upgraded(scene))).content.decode()
    assert "The arithmetic after batch 2" in text
    assert "one call that times out" in text
    assert "as usual, when no call fails or hangs" in text


def test_a_stranger_sees_no_plan_and_nobody_sees_the_log_in_first(scene):
    plan = upgraded(scene)
    for part in ("", "parts/", "tenants/", "events/", "snapshot.json", "charts.json"):
        assert browser(scene.nils).get(page(plan, part)).status_code == 404
        assert Client().get(page(plan, part)).status_code == 302


def test_nothing_on_the_page_needs_an_exception_from_the_style_or_script_policy(scene):
    text = browser(scene.olga).get(page(upgraded(scene))).content.decode()
    assert " style=" not in text
    assert "<style" not in text
    assert "<script>" not in text
    assert " onclick=" not in text


def test_olga_pauses_with_one_post_and_resumes_with_another(scene):
    plan = upgraded(scene)
    olga = browser(scene.olga)
    assert olga.post(page(plan, "pause/"), **AS_SCRIPT).json()["refused"] is False
    assert Plan.objects.get().state == "paused"
    olga.post(page(plan, "resume/"), **AS_SCRIPT)
    assert Plan.objects.get().state == "running"


def test_a_refusal_is_a_sentence_on_the_page_and_changes_nothing(scene):
    plan = upgraded(scene)
    answer = browser(scene.olga).post(page(plan, "resume/"), follow=True)
    assert "is not possible now" in answer.content.decode()
    assert Plan.objects.get().state == "running"


def test_an_auditor_may_look_and_not_touch(scene):
    plan = upgraded(scene)
    rita = browser(scene.rita)
    assert "Roll back…" not in rita.get(page(plan)).content.decode()
    assert rita.post(page(plan, "pause/"), **AS_SCRIPT).status_code == 403
    assert rita.post(page(plan, "rollback/"), **AS_SCRIPT).status_code == 403
    assert Plan.objects.get().state == "running"


def test_acts_are_posts(scene):
    plan = upgraded(scene)
    for act in ("start", "pause", "resume", "rollback", "promote", "settle", "retry"):
        assert browser(scene.olga).get(page(plan, f"{act}/")).status_code == 405


def test_an_approved_plan_starts_from_its_page(scene):
    plan = approved(scene)
    assert "Start" in browser(scene.olga).get(page(plan)).content.decode()
    browser(scene.olga).post(page(plan, "start/"))
    assert Plan.objects.get().state == "running"


def test_a_rollback_keeps_its_reason_and_scope(scene):
    plan = upgraded(scene)
    asked = {"reason": "double charges", "scope": "batch"}
    browser(scene.olga).post(page(plan, "rollback/"), asked, **AS_SCRIPT)
    rollback = Rollback.objects.get()
    assert (rollback.reason, rollback.scope, rollback.by) == ("double charges", "batch", scene.olga)


def test_the_rollback_dialog_names_the_counts(scene):
    text = browser(scene.olga).get(page(upgraded(scene))).content.decode()
    assert "1 of 3 tenants" in text


def test_a_batch_at_a_manual_gate_offers_its_promotion_to_those_who_may(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=2).update(advance="manual")
    assert "Let batch 2 begin" in browser(scene.olga).get(page(plan)).content.decode()
    assert "Let batch 2 begin" not in browser(scene.rita).get(page(plan)).content.decode()
    browser(scene.olga).post(page(plan, "promote/"))
    assert Batch.objects.get(plan=plan, number=2).promoted_by == scene.olga


def test_a_held_batch_goes_on_when_somebody_lets_it(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=1).update(
        state="held", held_from="soaking", held_kind="failure_rate", held_reason="too many"
    )
    assert "Let it go on" in browser(scene.olga).get(page(plan)).content.decode()
    browser(scene.olga).post(page(plan, "release-hold/"))
    assert Batch.objects.get(plan=plan, number=1).state == "soaking"


def test_a_tenant_that_needs_a_hand_is_settled_with_a_reason_or_not_at_all(scene):
    plan = upgraded(scene)
    upgrade = TenantUpgrade.objects.get(plan=plan, state="upgraded")
    TenantUpgrade.objects.filter(pk=upgrade.pk).update(state="needs_hand")
    Plan.objects.filter(pk=plan.pk).update(state="needs_hand")
    olga = browser(scene.olga)
    assert "1 tenant needs a hand" in olga.get(page(plan)).content.decode()
    settled = {"tenant": upgrade.tenant_key, "outcome": "rolled_back", "reason": ""}
    assert olga.post(page(plan, "settle/"), settled, **AS_SCRIPT).status_code == 422
    olga.post(page(plan, "settle/"), settled | {"reason": "looked at it"}, **AS_SCRIPT)
    assert TenantUpgrade.objects.get(pk=upgrade.pk).state == "rolled_back"


def test_the_tenant_table_shows_the_worst_first(scene):
    plan = upgraded(scene)
    worst = TenantUpgrade.objects.filter(plan=plan, batch__number=2).order_by("-position")[0]
    TenantUpgrade.objects.filter(pk=worst.pk).update(state="failed", last_error="answered 500")
    rows = browser(scene.olga).get(page(plan, "tenants/")).context["page"].object_list
    assert [row.state for row in rows] == ["failed", "pending", "upgraded"]


def test_the_tenant_table_filters_by_state_batch_and_search(scene):
    plan = upgraded(scene)
    olga = browser(scene.olga)

    def keys(**asked: str) -> set[str]:
        answer = olga.get(page(plan, "tenants/"), asked)
        return {row.tenant_key for row in answer.context["page"].object_list}

    first = TenantUpgrade.objects.get(plan=plan, batch__number=1).tenant_key
    assert keys(state="upgraded") == {first}
    assert keys(batch="1") == {first}
    assert keys(q="BIR") == {"birch"}
    assert len(keys(state="nonsense", batch="-1")) == 3


def test_the_log_can_be_read_back_in_stretches(scene):
    plan = upgraded(scene)
    for number in range(70):
        happens(plan, "remark", f"Remark {number}.")
    olga = browser(scene.olga)
    newest = olga.get(page(plan, "events/")).context["events"]
    older = olga.get(page(plan, "events/"), {"before": newest.older}).context["events"]
    assert newest.rows[0]["sentence"] == "Remark 69."
    assert older.rows[0]["seq"] == newest.rows[-1]["seq"] - 1
    assert older.older is None


def test_the_log_can_be_narrowed_to_alarms_and_to_people(scene):
    plan = upgraded(scene)
    happens(plan, "alert_firing", "Alert missing_metrics.")
    happens(plan, "tenants_moved", "Tenants: 1 upgraded.")
    olga = browser(scene.olga)

    def kinds(of: str) -> set[str]:
        rows = olga.get(page(plan, "events/"), {"of": of}).context["events"].rows
        return {row["kind"] for row in rows}

    assert kinds("alarm") == {"alert_firing"}
    assert "tenants_moved" not in kinds("decisions")
    assert "alert_firing" not in kinds("people")
    assert "plan_started" in kinds("people")


def test_text_from_outside_cannot_become_markup(scene):
    plan = upgraded(scene)
    happens(plan, "remark", "<script>alert(1)</script>")
    text = browser(scene.olga).get(page(plan)).content.decode()
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_charts_carry_the_limit_and_the_marks(scene):
    plan = upgraded(scene)
    happens(plan, "plan_paused", "Olga paused the plan.")
    told = browser(scene.olga).get(page(plan, "charts.json")).json()
    (chart,) = [chart for chart in told["charts"] if chart["kpi"] == "error_rate"]
    assert [limit["value"] for limit in chart["limits"]] == [5]
    assert [mark["kind"] for mark in told["marks"]] == ["pause"]


def test_a_look_that_failed_is_a_hole_in_the_line_and_not_a_zero(scene):
    plan = upgraded(scene)
    KpiSample.objects.create(
        plan=plan, kpi="error_rate", at=now(), source="fleet", ok=False, cause="unreachable"
    )
    told = browser(scene.olga).get(page(plan, "charts.json")).json()
    values = [point["value"] for chart in told["charts"] for point in chart["points"]]
    assert values
    assert set(values) == {None}


def test_a_quantile_lies_inside_its_bucket_in_proportion():
    buckets = {100.0: 50.0, 200.0: 100.0}
    assert quantile_of(buckets, 100.0, 0.75) == 150.0
    assert quantile_of(buckets, 100.0, 0.25) == 50.0


def test_slower_than_every_bound_is_told_as_at_least_the_last_bound():
    look = LookSample(kpi="x", at=now(), canary={"acorn": HistogramPoint({100.0: 10.0}, 100.0)})
    (point,) = look.canary.values()
    assert isinstance(point, HistogramPoint)
    assert quantile_of(point.buckets, point.total, 0.95) == 100.0


def test_what_waits_for_a_person_is_said_above_with_its_button_once(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=1).update(state="passed")
    Batch.objects.filter(plan=plan, number=2).update(advance="manual")
    Plan.objects.filter(pk=plan.pk).update(waiting_for="batch 2 (rest) waits for a person")
    text = browser(scene.olga).get(page(plan)).content.decode()
    callout, ladder = text.index('data-part="callout"'), text.index('data-part="ladder"')
    assert text.count("Let batch 2 begin") == 1
    assert callout < text.index("Batch 2 (rest) waits for a person") < ladder
    assert callout < text.index("Let batch 2 begin") < ladder


def test_a_held_batch_is_seen_beside_the_name_of_the_plan(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=1).update(
        state="held", held_from="soaking", held_kind="failure_rate", held_reason="too many"
    )
    text = browser(scene.olga).get(page(plan)).content.decode()
    bar = text[text.index('data-part="bar"') : text.index('data-part="promise"')]
    assert "Held" in bar
    assert "Too many" in text[text.index('data-part="callout"') : text.index('data-part="ladder"')]

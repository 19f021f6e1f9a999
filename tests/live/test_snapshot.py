"""The whole picture of a plan: right, and never dearer for more tenants."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.live.ladder import BAR_ORDER, LEAST_SHARE, shares
from batches.live.plan_list import lines
from batches.live.snapshot import plan_snapshot
from batches.models import Batch, GuardrailState, Rollback, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control
from plans.models import Plan, Stream, Tenant
from plans.refusal import NotFound
from tests.live.live_scene import Scene, configure, happens, many_tenants, now, upgraded
from tests.web.api_scene import approved, handed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def _queries(plan: Plan) -> int:
    with CaptureQueriesContext(connection) as captured:
        plan_snapshot(plan.pk)
    return len(captured)


def test_fault_33_a_plan_of_300_tenants_takes_no_more_queries_than_one_of_three(scene):
    plan = upgraded(scene)
    few = _queries(plan)
    many_tenants(300)
    batch = plan.batches.get(number=2)
    TenantUpgrade.objects.bulk_create(
        TenantUpgrade(plan=plan, batch=batch, tenant=tenant, tenant_key=tenant.key, state=state)
        for tenant, state in zip(
            Tenant.objects.filter(key__startswith="oak"),
            ["upgraded", "failed", "needs_hand"] * 100,
            strict=True,
        )
    )
    assert _queries(plan) == few
    assert few < 25


def test_the_counts_add_up_to_the_batches(scene):
    snapshot = plan_snapshot(upgraded(scene).pk)
    assert [batch["counts"] for batch in snapshot["batches"]] == [{"upgraded": 1}, {"pending": 2}]
    assert snapshot["counts"] == {"pending": 2, "upgraded": 1}
    assert snapshot["tenants"] == 3


def test_a_snapshot_carries_the_number_of_the_newest_event(scene):
    plan = upgraded(scene)
    happens(plan, "remark", "Something happened.")
    assert plan_snapshot(plan.pk)["seq"] == Stream.objects.get(key=plan.stream_key).head_seq


def test_before_the_start_the_batches_are_those_that_would_come(scene):
    plan = handed_in(scene)
    batches = plan_snapshot(plan.pk)["batches"]
    assert [(b["name"], b["size"], b["label"]) for b in batches] == [
        ("canary", 1, "Planned"),
        ("rest", 2, "Planned"),
    ]


def test_what_is_back_already_is_no_longer_at_stake(scene):
    plan = upgraded(scene)
    assert plan_snapshot(plan.pk)["touched"] == 1
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(state="rolled_back")
    assert plan_snapshot(plan.pk)["touched"] == 0


def test_the_quote_of_the_next_batch_counts_its_tenants_too(scene):
    quote = plan_snapshot(upgraded(scene).pk)["quote"]
    assert quote["touched"] == 1
    assert quote["next"]["batch"] == 2
    assert "3 tenants" in quote["next"]["sentence"]


def test_a_batch_that_is_being_called_is_at_stake_as_a_whole(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=1).update(state="passed")
    Batch.objects.filter(plan=plan, number=2).update(state="deploying")
    assert plan_snapshot(plan.pk)["quote"]["touched"] == 3


def test_the_promise_of_a_paused_plan_runs_towards_its_resume_deadline(scene):
    plan = upgraded(scene)
    paused = control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    promise = plan_snapshot(plan.pk)["promise"]
    assert (promise["kind"], promise["until"]) == ("paused", paused.resume_by)


def test_the_promise_of_a_rollback_runs_towards_its_deadline_and_owns_up_when_missed(scene):
    plan = upgraded(scene)
    rollback = request_rollback(plan_id=plan.pk, by=scene.olga, reason="bad", now=now(), via="page")
    promise = plan_snapshot(plan.pk)["promise"]
    assert (promise["kind"], promise["until"]) == ("rolling_back", rollback.deadline)
    rollback.missed_at = rollback.deadline
    rollback.save()
    assert plan_snapshot(plan.pk)["promise"]["kind"] == "missed"


def test_a_soak_runs_down_while_the_plan_runs_and_stands_still_while_it_is_paused(scene):
    plan = upgraded(scene)
    Batch.objects.filter(plan=plan, number=1).update(soak_left=60, soak_counted_at=now())
    later = now() + timedelta(seconds=20)
    assert plan_snapshot(plan.pk, now=later)["batches"][0]["soak_left"] == pytest.approx(40, abs=1)
    Plan.objects.filter(pk=plan.pk).update(state="paused")
    assert plan_snapshot(plan.pk, now=later)["batches"][0]["soak_left"] == 60


def test_tenants_that_need_a_hand_are_listed_with_their_reason(scene):
    plan = upgraded(scene)
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(
        state="needs_hand", last_error="restore answered 502"
    )
    (row,) = plan_snapshot(plan.pk)["needs_hand"]
    assert row["last_error"] == "restore answered 502"


def test_the_guardrails_show_their_limits_before_anything_was_measured(scene):
    (rail,) = plan_snapshot(approved(scene).pk)["guardrails"]
    assert (rail["kpi"], rail["threshold"], rail["value"]) == ("error_rate", "at most 5 %", None)


def test_there_is_no_snapshot_of_no_plan():
    with pytest.raises(NotFound):
        plan_snapshot(uuid.uuid4())


def test_one_tenant_in_ten_thousand_can_still_be_seen_in_the_bar():
    drawn = shares({"upgraded": 9999, "needs_hand": 1}, BAR_ORDER)
    assert [share.state for share in drawn] == ["upgraded", "needs_hand"]
    assert drawn[1].width > LEAST_SHARE * 0.9
    assert drawn[-1].x + drawn[-1].width == pytest.approx(100, abs=0.01)


def test_a_ruling_stands_at_its_own_guardrail(scene):
    plan = upgraded(scene)
    key = plan_snapshot(plan.pk)["guardrails"][0]["key"]
    GuardrailState.objects.create(
        plan=plan, key=key, kpi="error_rate", verdict="breached", value=7.5, updated_at=now(),
        sentence="error_rate 7.5 % is above 5 %",
    )  # fmt: skip
    (rail,) = plan_snapshot(plan.pk)["guardrails"]
    assert (rail["verdict"], rail["label"], rail["value"]) == ("breached", "Breached", 7.5)


@pytest.mark.parametrize(
    ("state", "followed", "badge", "label"),
    [
        ("rolled_back", "still_bad", "still_bad", "Rolled back, still bad"),
        ("rolled_back", "in_band", "rolled_back", "Rolled back, back in band"),
        ("rolled_back", "not_watched", "rolled_back", "Rolled back"),
        ("rolled_back", "", "rolled_back", "Rolled back"),
        ("archived", "still_bad", "archived", "Archived"),
    ],
)
def test_what_followed_a_rollback_is_an_ending_of_its_own(scene, state, followed, badge, label):
    plan = upgraded(scene)
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="bad", now=now(), via="page")
    Rollback.objects.filter(plan=plan).update(aftermath=followed)
    Plan.objects.filter(pk=plan.pk).update(state=state)
    shown = plan_snapshot(plan.pk)["plan"]
    assert (shown["badge"], shown["label"], shown["state"]) == (badge, label, state)
    (line,) = lines([Plan.objects.select_related("plugin", "release", "author").get(pk=plan.pk)])
    assert (line.badge, line.label) == (badge, label)

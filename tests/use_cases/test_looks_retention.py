"""Looks at ended plans are dropped a few at a time; what a report draws of them is kept."""

from datetime import timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from batches.looks import retention
from batches.looks.charts import plan_charts
from batches.looks.kpi_courses import courses_of
from batches.looks.kpi_points import LookSample, RatioPoint
from batches.models import (
    EvidenceBaseline,
    EvidenceLook,
    JudgedLook,
    KpiBaseline,
    KpiCourse,
    KpiCursor,
    KpiSample,
)
from plans.models import Event, Plan
from reports.reading.kpi_courses import kpi_courses
from tests.builders import a_started, kinds
from tests.use_cases.recorded_history import NOON

pytestmark = pytest.mark.django_db


def look(plan: Plan, number: int, *, bad: float = 1, ok: bool = True) -> None:
    at = NOON + timedelta(seconds=5 * number)
    sample = LookSample(
        "error_rate",
        at,
        canary={"acorn": RatioPoint(bad, 100)},
        control={"fir": RatioPoint(1, 200)},
        source="fleet",
    )
    KpiSample.objects.create(
        plan=plan,
        kpi="error_rate",
        at=at,
        source="fleet",
        ok=ok,
        cause="" if ok else "connection refused",
        look=sample.to_json() if ok else {},
    )
    JudgedLook.objects.create(plan=plan, at=at, revision=1, canary=1)


def evidence_look(plan: Plan, number: int) -> None:
    EvidenceLook.objects.create(
        plan=plan,
        kpi="error_rate",
        at=NOON + timedelta(seconds=5 * number),
        log_e=0.0,
        percent=0.0,
        together=0.0,
        together_log_e=0.0,
        canary_errors=0,
        canary_requests=1,
        control_errors=0,
        control_requests=1,
    )


@pytest.fixture
def ended(scene) -> Plan:
    """Return a plan that ended at noon, with twelve looks of which one brought nothing."""
    plan = a_started(scene)
    for number in range(12):
        look(plan, number, bad=number, ok=number != 4)
    KpiCursor.objects.create(plan=plan, kpi="error_rate", source="fleet", at=NOON)
    KpiBaseline.objects.create(plan=plan, kpi="error_rate")
    EvidenceBaseline.objects.create(plan=plan, kpi="error_rate", taken_at=NOON)
    Plan.objects.filter(pk=plan.pk).update(state="completed", ended_at=NOON)
    return Plan.objects.get(pk=plan.pk)


@pytest.fixture
def later(settings: Any) -> Any:
    return NOON + timedelta(days=settings.LOOKS_KEPT_DAYS, seconds=1)


def test_looks_are_kept_for_the_time_that_is_promised(ended, later):
    retention.forget_looks(later - timedelta(seconds=2))
    assert KpiSample.objects.count() == 12
    retention.forget_looks(later)
    for rows in (KpiSample, JudgedLook, KpiCursor, KpiBaseline, EvidenceBaseline):
        assert not rows.objects.exists(), rows


def test_a_plan_that_goes_back_keeps_its_looks(ended, later):
    Plan.objects.filter(pk=ended.pk).update(state="rolling_back")
    retention.forget_looks(later)
    assert KpiSample.objects.count() == 12


def test_a_report_that_is_made_later_draws_what_the_first_one_drew(ended, later):
    before = kpi_courses(ended, tenants=6)
    charts = plan_charts(ended)["charts"]
    retention.forget_looks(later)
    assert kpi_courses(ended, tenants=6) == before
    assert (before[0].looks, before[0].blind, len(before[0].points)) == (12, 1, 12)
    assert plan_charts(ended)["charts"] == charts
    # Taken back after all: its new looks come after those that were kept.
    look(ended, 20, bad=50)
    (after,) = kpi_courses(ended, tenants=6)
    assert (after.looks, after.points[:-1], after.points[-1].value) == (13, before[0].points, 50)
    retention.forget_looks(later)
    assert kpi_courses(ended, tenants=6) == (after,)


def test_rows_go_a_few_at_a_time_and_what_broke_off_is_taken_up(ended, later, monkeypatch):
    monkeypatch.setattr(retention, "MOST_ROWS_AT_ONCE", 5)
    course = courses_of(ended, tenants=6)
    # No time: one step is made each turn.
    left = []
    while KpiSample.objects.exists():
        retention.forget_looks(later, seconds=0)
        left.append(KpiSample.objects.count())
        assert courses_of(ended, tenants=6) == course
    assert [n for n in left if n < 12] == [7, 2, 0]
    assert not JudgedLook.objects.exists()
    assert kinds(ended).count("looks_dropped") == 1
    assert Event.objects.get(kind="looks_dropped").payload["looks"] == 12


def test_it_is_said_once_and_twice_changes_nothing(ended, later):
    retention.forget_looks(later)
    kept = list(KpiCourse.objects.values())
    retention.forget_looks(later + timedelta(days=1))
    assert list(KpiCourse.objects.values()) == kept
    assert "cannot be replayed any more" in Event.objects.get(kind="looks_dropped").sentence


def test_of_the_evidence_stays_what_a_report_draws(ended, later, monkeypatch):
    monkeypatch.setattr(retention, "EVIDENCE_LOOKS_KEPT", 10)
    for number in range(35):
        evidence_look(ended, number)
    newest = EvidenceLook.objects.latest("at")
    retention.forget_looks(later)
    assert EvidenceLook.objects.count() == 12
    assert EvidenceLook.objects.latest("at") == newest


def test_the_watch_asks_for_it_once_an_hour_and_only_where_something_is_due(
    ended, later, monkeypatch
):
    clock = [1000.0]
    monkeypatch.setattr(retention.surroundings.here(), "monotonic", lambda: clock[0])
    monkeypatch.setattr(retention, "_handed_out", {})
    retention.hand_out(NOON)
    assert not OrmQ.objects.exists()
    for seconds in (3600, 1800, 1800, 10):
        clock[0] += seconds
        retention.hand_out(later)
    assert OrmQ.objects.count() == 2

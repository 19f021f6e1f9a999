"""Where the endpoints of batches are."""

from django.urls import path

from batches.api import (
    adjust,
    break_glass,
    calibration,
    cdevents,
    drill_schedules,
    drills,
    guardrails,
    history,
    kpis,
    plans,
    push,
    rollback,
    sources,
    tenants,
)
from batches.api.person_acts import PERSON_ACTS, view_of

PLAN = "api/v1/plans/<str:plan>"
SCHEDULE = "api/v1/drill-schedules/<uuid:schedule>"

urlpatterns = [
    path("internal/version/upgrade/plan", plans.PlanHandIn.as_view(), name="api-hand-in"),
    path(
        "internal/version/upgrade/rollback",
        rollback.RollbackByName.as_view(),
        name="api-rollback",
    ),
    path("api/v1/kpis/", kpis.Kpis.as_view(), name="api-kpis"),
    path("api/v1/kpis/probe", kpis.KpisProbe.as_view(), name="api-kpis-probe"),
    path("api/v1/kpis/<str:kpi>/", kpis.Kpi.as_view(), name="api-kpi"),
    path("api/v1/kpis/<str:kpi>/probe", kpis.KpiProbe.as_view(), name="api-kpi-probe"),
    path(f"{PLAN}/", plans.PlanOne.as_view(), name="api-plan"),
    path(f"{PLAN}/submit", plans.PlanSubmit.as_view(), name="api-plan-submit"),
    path(f"{PLAN}/start", plans.PlanStart.as_view(), name="api-plan-start"),
    path(f"{PLAN}/pause", plans.PlanPause.as_view(), name="api-plan-pause"),
    path(f"{PLAN}/resume", plans.PlanResume.as_view(), name="api-plan-resume"),
    path(f"{PLAN}/promote", plans.PlanPromote.as_view(), name="api-plan-promote"),
    path(f"{PLAN}/adjust", adjust.PlanAdjust.as_view(), name="api-plan-adjust"),
    *(
        path(f"{PLAN}/{act.name}", view_of(act).as_view(), name=f"api-plan-{act.name}")
        for act in PERSON_ACTS
    ),
    path(f"{PLAN}/rollback", rollback.PlanRollback.as_view(), name="api-plan-rollback"),
    path(f"{PLAN}/stop", plans.PlanStop.as_view(), name="api-plan-stop"),
    path(
        f"{PLAN}/override-freeze",
        plans.PlanOverrideFreeze.as_view(),
        name="api-plan-override-freeze",
    ),
    path(
        f"{PLAN}/break-glass",
        break_glass.PlanBreakGlass.as_view(),
        name="api-plan-break-glass",
    ),
    path("api/v1/break-glass/", break_glass.BrokenGlass.as_view(), name="api-break-glass"),
    path(
        "api/v1/break-glass/<uuid:break_glass>/review",
        break_glass.BreakGlassReview.as_view(),
        name="api-break-glass-review",
    ),
    path(f"{PLAN}/snapshot", plans.PlanSnapshot.as_view(), name="api-plan-snapshot"),
    path(f"{PLAN}/rulings", guardrails.PlanRulings.as_view(), name="api-plan-rulings"),
    path(f"{PLAN}/tenants", tenants.PlanTenants.as_view(), name="api-plan-tenants"),
    path(f"{PLAN}/replay", history.PlanReplay.as_view(), name="api-plan-replay"),
    path(f"{PLAN}/replay/same", history.PlanReplaySame.as_view(), name="api-plan-replay-same"),
    path(f"{PLAN}/soak", history.PlanSoak.as_view(), name="api-plan-soak"),
    path("api/v1/replay", history.AllReplay.as_view(), name="api-replay"),
    path("api/v1/kpi-history", history.KpiHistory.as_view(), name="api-kpi-history"),
    path(
        "api/v1/policies/<str:name>/placebo",
        history.PolicyPlacebo.as_view(),
        name="api-policy-placebo",
    ),
    path("api/v1/metrics/", push.MetricIntake.as_view(), name="api-metrics"),
    path("api/v1/cdevents/", cdevents.CDEventIntake.as_view(), name="api-cdevents"),
    path("api/v1/sources/", sources.Sources.as_view(), name="api-sources"),
    path("otlp/v1/metrics", push.OtlpMetrics.as_view(), name="otlp-metrics"),
    path(
        "otlp/<slug:source>/v1/metrics",
        push.OtlpMetricsToSource.as_view(),
        name="otlp-metrics-source",
    ),
    path("api/v1/drills/", drills.Drills.as_view(), name="api-drills"),
    path("api/v1/drills/<uuid:drill>", drills.DrillOne.as_view(), name="api-drill"),
    path(
        "api/v1/drill-schedules/",
        drill_schedules.DrillSchedules.as_view(),
        name="api-drill-schedules",
    ),
    path(SCHEDULE, drill_schedules.DrillScheduleOne.as_view(), name="api-drill-schedule"),
    path(
        f"{SCHEDULE}/approve",
        drill_schedules.DrillScheduleApprove.as_view(),
        name="api-drill-schedule-approve",
    ),
    path(
        f"{SCHEDULE}/switch",
        drill_schedules.DrillScheduleSwitch.as_view(),
        name="api-drill-schedule-switch",
    ),
    path(
        f"{SCHEDULE}/run",
        drill_schedules.DrillScheduleRun.as_view(),
        name="api-drill-schedule-run",
    ),
    path(
        "api/v1/calibration",
        calibration.CalibrationOfDeployers.as_view(),
        name="api-calibration",
    ),
]

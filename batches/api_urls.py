"""Where the endpoints of batches are."""

from django.urls import path

from batches import (
    api,
    api_adjust,
    api_cdevents,
    api_guardrails,
    api_push,
    api_rollback,
    api_sources,
    api_tenants,
    break_glass_api,
    calibration_api,
    drill_api,
    drill_schedule_api,
    history_api,
    kpi_api,
)
from batches.api_person_acts import PERSON_ACTS, view_of

PLAN = "api/v1/plans/<str:plan>"
SCHEDULE = "api/v1/drill-schedules/<uuid:schedule>"

urlpatterns = [
    path("internal/version/upgrade/plan", api.PlanHandIn.as_view(), name="api-hand-in"),
    path(
        "internal/version/upgrade/rollback",
        api_rollback.RollbackByName.as_view(),
        name="api-rollback",
    ),
    path("api/v1/kpis/", kpi_api.Kpis.as_view(), name="api-kpis"),
    path("api/v1/kpis/probe", kpi_api.KpisProbe.as_view(), name="api-kpis-probe"),
    path("api/v1/kpis/<str:kpi>/", kpi_api.Kpi.as_view(), name="api-kpi"),
    path("api/v1/kpis/<str:kpi>/probe", kpi_api.KpiProbe.as_view(), name="api-kpi-probe"),
    path(f"{PLAN}/", api.PlanOne.as_view(), name="api-plan"),
    path(f"{PLAN}/submit", api.PlanSubmit.as_view(), name="api-plan-submit"),
    path(f"{PLAN}/start", api.PlanStart.as_view(), name="api-plan-start"),
    path(f"{PLAN}/pause", api.PlanPause.as_view(), name="api-plan-pause"),
    path(f"{PLAN}/resume", api.PlanResume.as_view(), name="api-plan-resume"),
    path(f"{PLAN}/promote", api.PlanPromote.as_view(), name="api-plan-promote"),
    path(f"{PLAN}/adjust", api_adjust.PlanAdjust.as_view(), name="api-plan-adjust"),
    *(
        path(f"{PLAN}/{act.name}", view_of(act).as_view(), name=f"api-plan-{act.name}")
        for act in PERSON_ACTS
    ),
    path(f"{PLAN}/rollback", api_rollback.PlanRollback.as_view(), name="api-plan-rollback"),
    path(f"{PLAN}/stop", api.PlanStop.as_view(), name="api-plan-stop"),
    path(
        f"{PLAN}/override-freeze",
        api.PlanOverrideFreeze.as_view(),
        name="api-plan-override-freeze",
    ),
    path(
        f"{PLAN}/break-glass",
        break_glass_api.PlanBreakGlass.as_view(),
        name="api-plan-break-glass",
    ),
    path("api/v1/break-glass/", break_glass_api.BrokenGlass.as_view(), name="api-break-glass"),
    path(
        "api/v1/break-glass/<uuid:break_glass>/review",
        break_glass_api.BreakGlassReview.as_view(),
        name="api-break-glass-review",
    ),
    path(f"{PLAN}/snapshot", api.PlanSnapshot.as_view(), name="api-plan-snapshot"),
    path(f"{PLAN}/rulings", api_guardrails.PlanRulings.as_view(), name="api-plan-rulings"),
    path(f"{PLAN}/tenants", api_tenants.PlanTenants.as_view(), name="api-plan-tenants"),
    path(f"{PLAN}/replay", history_api.PlanReplay.as_view(), name="api-plan-replay"),
    path(f"{PLAN}/replay/same", history_api.PlanReplaySame.as_view(), name="api-plan-replay-same"),
    path(f"{PLAN}/soak", history_api.PlanSoak.as_view(), name="api-plan-soak"),
    path("api/v1/replay", history_api.AllReplay.as_view(), name="api-replay"),
    path("api/v1/kpi-history", history_api.KpiHistory.as_view(), name="api-kpi-history"),
    path(
        "api/v1/policies/<str:name>/placebo",
        history_api.PolicyPlacebo.as_view(),
        name="api-policy-placebo",
    ),
    path("api/v1/metrics/", api_push.MetricIntake.as_view(), name="api-metrics"),
    path("api/v1/cdevents/", api_cdevents.CDEventIntake.as_view(), name="api-cdevents"),
    path("api/v1/sources/", api_sources.Sources.as_view(), name="api-sources"),
    path("otlp/v1/metrics", api_push.OtlpMetrics.as_view(), name="otlp-metrics"),
    path(
        "otlp/<slug:source>/v1/metrics",
        api_push.OtlpMetricsToSource.as_view(),
        name="otlp-metrics-source",
    ),
    path("api/v1/drills/", drill_api.Drills.as_view(), name="api-drills"),
    path("api/v1/drills/<uuid:drill>", drill_api.DrillOne.as_view(), name="api-drill"),
    path(
        "api/v1/drill-schedules/",
        drill_schedule_api.DrillSchedules.as_view(),
        name="api-drill-schedules",
    ),
    path(SCHEDULE, drill_schedule_api.DrillScheduleOne.as_view(), name="api-drill-schedule"),
    path(
        f"{SCHEDULE}/approve",
        drill_schedule_api.DrillScheduleApprove.as_view(),
        name="api-drill-schedule-approve",
    ),
    path(
        f"{SCHEDULE}/switch",
        drill_schedule_api.DrillScheduleSwitch.as_view(),
        name="api-drill-schedule-switch",
    ),
    path(
        f"{SCHEDULE}/run",
        drill_schedule_api.DrillScheduleRun.as_view(),
        name="api-drill-schedule-run",
    ),
    path(
        "api/v1/calibration",
        calibration_api.CalibrationOfDeployers.as_view(),
        name="api-calibration",
    ),
]

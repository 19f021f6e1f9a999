"""Where the endpoints of batches are."""

from django.urls import path

from batches import (
    api,
    api_adjust,
    api_cdevents,
    api_person_acts,
    api_push,
    api_sources,
    calibration_api,
    drill_api,
)

PLAN = "api/v1/plans/<str:plan>"

urlpatterns = [
    path("internal/version/upgrade/plan", api.PlanHandIn.as_view(), name="api-hand-in"),
    path("internal/version/upgrade/rollback", api.RollbackByName.as_view(), name="api-rollback"),
    path(f"{PLAN}/", api.PlanOne.as_view(), name="api-plan"),
    path(f"{PLAN}/submit", api.PlanSubmit.as_view(), name="api-plan-submit"),
    path(f"{PLAN}/start", api.PlanStart.as_view(), name="api-plan-start"),
    path(f"{PLAN}/pause", api.PlanPause.as_view(), name="api-plan-pause"),
    path(f"{PLAN}/resume", api.PlanResume.as_view(), name="api-plan-resume"),
    path(f"{PLAN}/promote", api.PlanPromote.as_view(), name="api-plan-promote"),
    path(f"{PLAN}/adjust", api_adjust.PlanAdjust.as_view(), name="api-plan-adjust"),
    path(f"{PLAN}/retry", api_person_acts.PlanRetry.as_view(), name="api-plan-retry"),
    path(f"{PLAN}/exclude", api_person_acts.PlanExclude.as_view(), name="api-plan-exclude"),
    path(f"{PLAN}/skip", api_person_acts.PlanSkip.as_view(), name="api-plan-skip"),
    path(f"{PLAN}/unskip", api_person_acts.PlanUnskip.as_view(), name="api-plan-unskip"),
    path(f"{PLAN}/jump", api_person_acts.PlanJump.as_view(), name="api-plan-jump"),
    path(f"{PLAN}/skip-rest", api_person_acts.PlanSkipRest.as_view(), name="api-plan-skip-rest"),
    path(f"{PLAN}/settle", api_person_acts.PlanSettle.as_view(), name="api-plan-settle"),
    path(f"{PLAN}/rollback", api.PlanRollback.as_view(), name="api-plan-rollback"),
    path(f"{PLAN}/stop", api.PlanStop.as_view(), name="api-plan-stop"),
    path(
        f"{PLAN}/override-freeze",
        api.PlanOverrideFreeze.as_view(),
        name="api-plan-override-freeze",
    ),
    path(f"{PLAN}/snapshot", api.PlanSnapshot.as_view(), name="api-plan-snapshot"),
    path(f"{PLAN}/tenants", api.PlanTenants.as_view(), name="api-plan-tenants"),
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
    path("api/v1/drill-schedules/", drill_api.DrillSchedules.as_view(), name="api-drill-schedules"),
    path(
        "api/v1/calibration",
        calibration_api.CalibrationOfDeployers.as_view(),
        name="api-calibration",
    ),
]

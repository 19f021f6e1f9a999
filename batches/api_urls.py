"""Where the endpoints of batches are."""

from django.urls import path

from batches import api, calibration_api

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
    path(f"{PLAN}/rollback", api.PlanRollback.as_view(), name="api-plan-rollback"),
    path(f"{PLAN}/snapshot", api.PlanSnapshot.as_view(), name="api-plan-snapshot"),
    path(f"{PLAN}/tenants", api.PlanTenants.as_view(), name="api-plan-tenants"),
    path(
        "api/v1/calibration",
        calibration_api.CalibrationOfDeployers.as_view(),
        name="api-calibration",
    ),
]

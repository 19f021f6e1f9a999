"""Where the pages of batches are."""

from django.urls import path

from batches import calibration_views, views

PLAN = "plans/<uuid:plan_id>"

urlpatterns = [
    path("calibration/", calibration_views.calibration_page, name="calibration"),
    path(f"{PLAN}/", views.live_plan, name="live-plan"),
    path(f"{PLAN}/parts/", views.parts, name="live-plan-parts"),
    path(f"{PLAN}/tenants/", views.tenants, name="live-plan-tenants"),
    path(f"{PLAN}/events/", views.event_log, name="live-plan-events"),
    path(f"{PLAN}/snapshot.json", views.snapshot_json, name="live-plan-snapshot"),
    path(f"{PLAN}/charts.json", views.charts_json, name="live-plan-charts"),
    path(f"{PLAN}/start/", views.start_plan, name="live-plan-start"),
    path(f"{PLAN}/pause/", views.pause_plan, name="live-plan-pause"),
    path(f"{PLAN}/resume/", views.resume_plan, name="live-plan-resume"),
    path(f"{PLAN}/promote/", views.promote_batch, name="live-plan-promote"),
    path(f"{PLAN}/release-hold/", views.release_hold, name="live-plan-release-hold"),
    path(f"{PLAN}/rollback/", views.roll_back, name="live-plan-rollback"),
    path(f"{PLAN}/settle/", views.settle_tenants, name="live-plan-settle"),
    path(f"{PLAN}/retry/", views.retry_tenants, name="live-plan-retry"),
]

"""Where the pages of batches are."""

from django.urls import path

from batches.pages import acts, break_glass, calibration, drills, kpis, sources
from batches.pages import live_plan as views

PLAN = "plans/<uuid:plan_id>"
SCHEDULE = "drills/schedules/<uuid:schedule_id>"

urlpatterns = [
    path("calibration/", calibration.calibration_page, name="calibration"),
    path("sources/", sources.source_page, name="source-list"),
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
    path(f"{PLAN}/stop/", views.stop_plan, name="live-plan-stop"),
    path(f"{PLAN}/override-freeze/", views.let_through, name="live-plan-override-freeze"),
    path(f"{PLAN}/break-glass/", break_glass.break_glass_page, name="break-glass"),
    path("break-glass/", break_glass.break_glass_list, name="break-glass-list"),
    path(
        "break-glass/<uuid:break_glass_id>/review/",
        break_glass.break_glass_review,
        name="break-glass-review",
    ),
    path(f"{PLAN}/settle/", views.settle_tenants, name="live-plan-settle"),
    path(f"{PLAN}/ask/<slug:act>/", acts.ask, name="live-plan-ask"),
    path(f"{PLAN}/do/<slug:act>/", acts.do, name="live-plan-do"),
    path(f"{PLAN}/retry/", views.retry_tenants, name="live-plan-retry"),
    path("kpis/", kpis.kpi_list, name="kpi-list"),
    path("kpi-probe/", kpis.kpi_probe_all, name="kpi-probe-all"),
    path("kpis/<str:name>/", kpis.kpi_page, name="kpi"),
    path("kpis/<str:name>/probe/", kpis.kpi_probe, name="kpi-probe"),
    path("drills/", drills.drill_list, name="drill-list"),
    path("drills/new/", drills.drill_new, name="drill-new"),
    path("drills/schedules/new/", drills.schedule_new, name="drill-schedule-new"),
    path(f"{SCHEDULE}/approve/", drills.schedule_approve, name="drill-schedule-approve"),
    path(f"{SCHEDULE}/switch/", drills.schedule_switch, name="drill-schedule-switch"),
    path(f"{SCHEDULE}/run/", drills.schedule_run, name="drill-schedule-run"),
]

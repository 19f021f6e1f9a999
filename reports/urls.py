"""Where the reports and the metrics are."""

from django.urls import path

from reports import api, views

urlpatterns = [
    path("reports/", views.report_list, name="reports"),
    path("reports/<uuid:report_id>.pdf", views.one_report, name="report"),
    path("plans/<uuid:plan_id>/report.pdf", views.latest_report, name="plan-report"),
    path("api/v1/plans/<str:plan>/report.pdf", api.PlanReport.as_view(), name="api-plan-report"),
    path("trail/verify_trail.py", views.verifier, name="trail-verifier"),
    path("access.pdf", views.access_review_pdf, name="access-review-pdf"),
    path("metrics", views.metrics, name="metrics"),
]

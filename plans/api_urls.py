"""Where the endpoints of plans are."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from plans import api, api_freezes, api_grants
from plans.api_docs import ApiDocs

PLAN = "api/v1/plans/<str:plan>"

urlpatterns = [
    path("api/v1/plans/", api.PlanList.as_view(), name="api-plans"),
    path(f"{PLAN}/approve", api.PlanApprove.as_view(), name="api-plan-approve"),
    path(f"{PLAN}/reject", api.PlanReject.as_view(), name="api-plan-reject"),
    path(f"{PLAN}/cancel", api.PlanCancel.as_view(), name="api-plan-cancel"),
    path(f"{PLAN}/grants", api_grants.PlanGrants.as_view(), name="api-plan-grants"),
    path(f"{PLAN}/events", api.PlanEvents.as_view(), name="api-plan-events"),
    path("api/v1/freezes/", api_freezes.Freezes.as_view(), name="api-freezes"),
    path(
        "api/v1/freezes/<uuid:freeze>/lift",
        api_freezes.FreezeLift.as_view(),
        name="api-freeze-lift",
    ),
    path("api/v1/tenants/import", api.TenantImport.as_view(), name="api-tenant-import"),
    path("api/v1/releases/", api.ReleaseRegister.as_view(), name="api-releases"),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", ApiDocs.as_view(), name="api-docs"),
]

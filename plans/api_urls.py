"""Where the endpoints of plans are."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from plans import api, api_freezes, api_releases
from plans.api_docs import ApiDocs

PLAN = "api/v1/plans/<str:plan>"
RELEASE = "api/v1/releases/<uuid:release>"
KEY = "api/v1/keys/<str:key>"

urlpatterns = [
    path("api/v1/plans/", api.PlanList.as_view(), name="api-plans"),
    path(f"{PLAN}/approve", api.PlanApprove.as_view(), name="api-plan-approve"),
    path(f"{PLAN}/reject", api.PlanReject.as_view(), name="api-plan-reject"),
    path(f"{PLAN}/cancel", api.PlanCancel.as_view(), name="api-plan-cancel"),
    path(f"{PLAN}/events", api.PlanEvents.as_view(), name="api-plan-events"),
    path("api/v1/freezes/", api_freezes.Freezes.as_view(), name="api-freezes"),
    path(
        "api/v1/freezes/<uuid:freeze>/lift",
        api_freezes.FreezeLift.as_view(),
        name="api-freeze-lift",
    ),
    path("api/v1/tenants/import", api.TenantImport.as_view(), name="api-tenant-import"),
    path("api/v1/releases/", api_releases.Releases.as_view(), name="api-releases"),
    path(f"{RELEASE}/", api_releases.ReleaseOne.as_view(), name="api-release"),
    path(f"{RELEASE}/verify", api_releases.ReleaseVerify.as_view(), name="api-release-verify"),
    path(
        f"{RELEASE}/quarantine",
        api_releases.ReleaseQuarantine.as_view(),
        name="api-release-quarantine",
    ),
    path(f"{RELEASE}/lift", api_releases.ReleaseLift.as_view(), name="api-release-lift"),
    path("api/v1/keys/", api_releases.Keys.as_view(), name="api-keys"),
    path(f"{KEY}/", api_releases.KeyOne.as_view(), name="api-key"),
    path(f"{KEY}/revoke", api_releases.KeyRevoke.as_view(), name="api-key-revoke"),
    path(f"{KEY}/retire", api_releases.KeyRetire.as_view(), name="api-key-retire"),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", ApiDocs.as_view(), name="api-docs"),
]

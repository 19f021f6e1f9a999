"""Where the endpoints of plans are."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from plans.api import freezes, grants, keys, people, releases, second_factors, tokens, trail
from plans.api import plans as api
from plans.api.docs import ApiDocs

PLAN = "api/v1/plans/<str:plan>"
RELEASE = "api/v1/releases/<uuid:release>"
KEY = "api/v1/keys/<str:key>"

urlpatterns = [
    path("api/v1/plans/", api.PlanList.as_view(), name="api-plans"),
    path(f"{PLAN}/approve", api.PlanApprove.as_view(), name="api-plan-approve"),
    path(f"{PLAN}/reject", api.PlanReject.as_view(), name="api-plan-reject"),
    path(f"{PLAN}/cancel", api.PlanCancel.as_view(), name="api-plan-cancel"),
    path(f"{PLAN}/grants", grants.PlanGrants.as_view(), name="api-plan-grants"),
    path(f"{PLAN}/events", api.PlanEvents.as_view(), name="api-plan-events"),
    path(f"{PLAN}/trail", trail.PlanTrail.as_view(), name="api-plan-trail"),
    path("api/v1/trail/export", trail.TrailExport.as_view(), name="api-trail-export"),
    path("api/v1/trail/checkpoint", trail.NewestCheckpoint.as_view(), name="api-trail-checkpoint"),
    path("api/v1/trail/check", trail.LastTrailCheck.as_view(), name="api-trail-check"),
    path("api/v1/freezes/", freezes.Freezes.as_view(), name="api-freezes"),
    path(
        "api/v1/freezes/<uuid:freeze>/lift",
        freezes.FreezeLift.as_view(),
        name="api-freeze-lift",
    ),
    path("api/v1/tokens/", tokens.Tokens.as_view(), name="api-tokens"),
    path(
        "api/v1/tokens/<uuid:token>/revoke",
        tokens.TokenRevoke.as_view(),
        name="api-token-revoke",
    ),
    path("api/v1/roles/", people.Roles.as_view(), name="api-roles"),
    path("api/v1/roles/<uuid:role>/end", people.RoleEnd.as_view(), name="api-role-end"),
    path("api/v1/role-requests/", people.RoleRequests.as_view(), name="api-role-requests"),
    path(
        "api/v1/role-requests/<uuid:asked>/confirm",
        people.RoleRequestConfirm.as_view(),
        name="api-role-confirm",
    ),
    path(
        "api/v1/role-requests/<uuid:asked>/refuse",
        people.RoleRequestRefuse.as_view(),
        name="api-role-refuse",
    ),
    path("api/v1/access-review", people.AccessReviewed.as_view(), name="api-access-review"),
    path(
        "api/v1/people/<str:person>/let-go",
        people.PersonLetGo.as_view(),
        name="api-person-let-go",
    ),
    path(
        "api/v1/people/<str:person>/let-in",
        people.PersonLetIn.as_view(),
        name="api-person-let-in",
    ),
    path("api/v1/me/", second_factors.Me.as_view(), name="api-me"),
    path(
        "api/v1/people/<str:person>/reset-factors",
        second_factors.ResetFactors.as_view(),
        name="api-reset-factors",
    ),
    path(
        "api/v1/people/<str:person>/release-log-in",
        second_factors.ReleaseLogIn.as_view(),
        name="api-release-log-in",
    ),
    path("api/v1/tenants/import", api.TenantImport.as_view(), name="api-tenant-import"),
    path("api/v1/releases/", releases.Releases.as_view(), name="api-releases"),
    path(f"{RELEASE}/", releases.ReleaseOne.as_view(), name="api-release"),
    path(f"{RELEASE}/verify", releases.ReleaseVerify.as_view(), name="api-release-verify"),
    path(
        f"{RELEASE}/quarantine",
        releases.ReleaseQuarantine.as_view(),
        name="api-release-quarantine",
    ),
    path(f"{RELEASE}/lift", releases.ReleaseLift.as_view(), name="api-release-lift"),
    path("api/v1/keys/", keys.Keys.as_view(), name="api-keys"),
    path(f"{KEY}/", keys.KeyOne.as_view(), name="api-key"),
    path(f"{KEY}/revoke", keys.KeyRevoke.as_view(), name="api-key-revoke"),
    path(f"{KEY}/retire", keys.KeyRetire.as_view(), name="api-key-retire"),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", ApiDocs.as_view(), name="api-docs"),
]

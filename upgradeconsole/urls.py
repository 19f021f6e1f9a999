"""Where every page and endpoint is; sockets: routing.py."""

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path


def livez(request: HttpRequest) -> JsonResponse:
    """Answer that this process serves; asks nothing else."""
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("livez", livez, name="livez"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    # The plan form's fixed addresses stand before the pages of one plan.
    path("", include("batches.plan_form_urls")),
    path("", include("plans.urls")),
    path("", include("batches.urls")),
    path("", include("reports.urls")),
    path("", include("plans.api_urls")),
    path("", include("batches.api_urls")),
]

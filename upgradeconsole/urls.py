"""Where every page, endpoint and socket is."""

from importlib.util import find_spec

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
]
for module in (
    "batches.plan_form_urls",
    "plans.urls",
    "batches.urls",
    "reports.urls",
    "plans.api_urls",
    "batches.api_urls",
):
    if find_spec(module) is not None:
        urlpatterns.append(path("", include(module)))

"""Where every page and endpoint is; sockets: routing.py."""

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView


@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """Answer that this process serves; asks nothing else."""
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("livez", livez, name="livez"),
    # Django's own pages (admin) name no icon, so browsers ask for this one.
    path("favicon.ico", RedirectView.as_view(url=static("icon.svg"))),
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

"""Where every page and endpoint is; sockets: routing.py."""

import sys

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.http import require_safe
from django.views.defaults import page_not_found
from django.views.defaults import server_error as page_of_error
from django.views.generic import RedirectView

from plans.database_away import DATABASE_AWAY
from plans.log_in.factor_gate import MACHINE_PATHS
from plans.pages.refusals import database_away
from plans.refusal import NO_ANSWER
from plans.sso import provider
from upgradeconsole.request_limits import problem_answer


@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """Answer that this process serves; asks nothing else."""
    return JsonResponse({"status": "ok"})


def closed(request: HttpRequest) -> HttpResponse:
    """Answer for pages of the library that this console does not have."""
    raise Http404("There is no such page here.")


def not_there(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for what there is not: a machine gets a problem, a person a page."""
    if not request.path.startswith(MACHINE_PATHS):
        return page_not_found(request, exception)
    sentence = "There is no such address. The addresses that there are stand in /api/docs/."
    return problem_answer(404, "not_found", sentence)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for an error for which no view could: the console's own mistake, or the database away.

    The session is read before any view is reached; where the database is away altogether, it is
    noticed there.
    """
    away = isinstance(sys.exc_info()[1], DATABASE_AWAY)
    if not request.path.startswith(MACHINE_PATHS):
        return database_away(request) if away else page_of_error(request)
    if not away:
        return problem_answer(500, "error", "The console made a mistake; its log says which.")
    answer = problem_answer(503, "database_away", NO_ANSWER)
    answer["Retry-After"] = "1"
    return answer


handler404 = not_there
handler500 = server_error

to_step_up = RedirectView.as_view(pattern_name="step-up", query_string=True)
# Before the library's own of the same addresses. Administrators write people's addresses; a
# password of one's own would outlive the company's log-in; there is one page for a step-up.
ACCOUNT_PAGES = [
    path("oidc/<str:provider_id>/login/", provider.sso_login, name="openid_connect_login"),
    path(
        "oidc/<str:provider_id>/login/callback/",
        provider.sso_callback,
        name="openid_connect_callback",
    ),
    path("oidc/again/", provider.sso_again, name="sso-again"),
    path("2fa/reauthenticate/", to_step_up),
    path("2fa/webauthn/reauthenticate/", to_step_up),
    path("signup/", closed),
    path("email/", closed),
    path("password/set/", closed),
    path("3rdparty/", closed),
    path("3rdparty/signup/", closed),
]

urlpatterns = [
    path("livez", livez, name="livez"),
    # Django's own pages (admin) name no icon, so browsers ask for this one.
    path("favicon.ico", RedirectView.as_view(url=static("icon.svg"))),
    path("accounts/", include(ACCOUNT_PAGES)),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    # The plan form's fixed addresses stand before the pages of one plan.
    path("", include("batches.pages.plan_form_urls")),
    path("", include("plans.pages.urls")),
    path("", include("batches.pages.urls")),
    path("", include("reports.urls")),
    path("", include("plans.api.urls")),
    path("", include("batches.api.urls")),
]

"""What is refused before anything of a request is read: methods that nobody needs, large bodies."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render

from plans.log_in.factor_gate import MACHINE_PATHS
from plans.tenants.rows import MAX_BYTES as LARGEST_TENANT_FILE
from plans.trail.trace import origin

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LARGEST_BODY = 1_000_000
AROUND_A_FILE = 100_000
"""What a form adds around the file that is in it."""
LARGEST_OF: dict[str, int | None] = {
    "tenant-import": LARGEST_TENANT_FILE + AROUND_A_FILE,
    "api-tenant-import": LARGEST_TENANT_FILE + AROUND_A_FILE,
    # They count what they read and answer in the words of their protocol (batches.api.push_bodies).
    "api-metrics": None,
    "api-cdevents": None,
    "otlp-metrics": None,
    "otlp-metrics-source": None,
}
"""By the name of the address, where it is not LARGEST_BODY."""


class RequestLimitsMiddleware:
    """Refuse before the body is read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let through what uses a method that something here could mean."""
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Answer 413 for a body larger than its address takes, 411 for one without a length."""
        if "Transfer-Encoding" in request.headers and "Content-Length" not in request.headers:
            sentence = "Say in Content-Length how large the body is."
            return _refused(request, 411, sentence, "length_required")
        name = request.resolver_match.view_name if request.resolver_match else ""
        largest = LARGEST_OF.get(name, LARGEST_BODY)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if largest is None or (length.isascii() and length.isdecimal() and int(length) <= largest):
            return None
        sentence = f"What was sent is larger than {_size(largest)}; no more is taken here."
        return _refused(request, 413, sentence, "too_large")


def _size(largest: int) -> str:
    """Return the limit as people name it, rounded down: what fits into it is taken."""
    return f"{largest // 1_000_000} MB" if largest >= 1_000_000 else f"{largest // 1_000} kB"


def _refused(request: HttpRequest, status: int, sentence: str, code: str) -> HttpResponse:
    if not request.path.startswith(MACHINE_PATHS):
        return render(request, "too_large.html", {"sentence": sentence}, status=status)
    return problem_answer(status, code, sentence)


def problem_answer(status: int, code: str, sentence: str) -> HttpResponse:
    """Return a problem document, for where no endpoint of the API has been reached."""
    body: dict[str, Any] = {
        "type": f"/api/docs/#problem-{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence,
        "code": code,
        "errors": [],
        "trace_id": origin().trace_id,
    }
    return JsonResponse(body, status=status, content_type="application/problem+json")

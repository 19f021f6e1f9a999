"""Every request says where it comes from, before anything that could be recorded happens."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from plans.trail.client_address import client_address
from plans.trail.trace import acting_from, new_trace_id, trace_id_of, traceparent

HEADER = "traceparent"


class TraceMiddleware:
    """Accept or make a W3C trace id, find the caller's address, and answer with the trace."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request inside of its origin."""
        address = client_address(request)
        trace_id = trace_id_of(request.headers.get(HEADER, "")) or new_trace_id()
        with acting_from(ip=address, trace_id=trace_id, on_behalf="", token="", grant=""):
            response = self.get_response(request)
        response[HEADER] = traceparent(trace_id)
        return response

"""Send an export as it is made: neither its length nor the door makes it wait in memory."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from plans.trail.export import Excerpt, json_lines

LINES_AT_ONCE = 200


def as_csv(request: HttpRequest, lines: Iterable[bytes], name: str) -> HttpResponseBase:
    """Return lines of CSV as a download."""
    return _download(request, lines, name, "csv", "text/csv; charset=utf-8")


def as_json_lines(request: HttpRequest, excerpt: Excerpt, name: str) -> HttpResponseBase:
    """Return an excerpt as JSON lines that the verifier takes."""
    lines = json_lines(excerpt, instance=settings.INSTANCE_NAME, now=timezone.now())
    return _download(request, lines, name, "jsonl", "application/jsonl")


def _download(
    request: HttpRequest, lines: Iterable[bytes], name: str, ending: str, content_type: str
) -> HttpResponseBase:
    # Django sends a plain iterator over ASGI only after it has read all of it.
    served_async = isinstance(request, ASGIRequest)
    body = _pulled(iter(lines)) if served_async else _parts(iter(lines))
    response = StreamingHttpResponse(body, content_type=content_type)
    stamp = f"{timezone.now():%Y%m%dT%H%M%SZ}"
    response["Content-Disposition"] = f'attachment; filename="{name}-{stamp}.{ending}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _part(lines: Iterator[bytes]) -> bytes:
    return b"".join(islice(lines, LINES_AT_ONCE))


def _parts(lines: Iterator[bytes]) -> Iterator[bytes]:
    while part := _part(lines):
        yield part


async def _pulled(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    # In the request's own thread, where its database connection is.
    while part := await sync_to_async(_part, thread_sensitive=True)(lines):
        yield part

"""Answer what went wrong as `application/problem+json` (RFC 9457), in the words of the use case."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from math import ceil
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from plans.api.access import via
from plans.api.acts import verbs
from plans.database_away import DATABASE_AWAY
from plans.refusal import NO_ANSWER, BadInput, Refused
from plans.trail.refusals import note_refusal
from plans.trail.trace import origin

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"


def problem(
    status: int, *, detail: str, code: str, errors: list[dict[str, str]] | None = None, **more: Any
) -> Response:
    """Return a problem document with that status."""
    body: dict[str, Any] = {
        "type": f"/api/docs/#problem-{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
        "trace_id": origin().trace_id,
    }
    return Response(body | more, status=status, content_type=PROBLEM_TYPE)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer for an anticipated error; None lets an unexpected one be an error 500."""
    if (request := context.get("request")) is not None:
        note_refusal(request._request, error, via=via(request))
    if isinstance(error, Refused):
        return _refused(error)
    if isinstance(error, Http404):
        return problem(404, detail=str(error) or "There is no such thing.", code="not_found")
    if isinstance(error, PermissionDenied):
        return problem(403, detail=str(error) or "You may not do this.", code="not_allowed")
    if isinstance(error, exceptions.ValidationError):
        errors = list(_pointed(error.detail, ""))
        return problem(
            400, detail="This request cannot be used as it is.", code="invalid", errors=errors
        )
    if isinstance(error, exceptions.APIException):
        return _api_exception(error)
    if isinstance(error, DATABASE_AWAY):
        return _database_away(error)
    return None


def _database_away(error: Exception) -> Response:
    logger.error("The database did not answer: %s", error)
    answer = problem(503, detail=NO_ANSWER, code="database_away")
    answer["Retry-After"] = "1"
    return answer


def _refused(error: Refused) -> Response:
    if isinstance(error, BadInput):
        errors = [{"detail": entry} for entry in error.problems]
        several = f"{len(errors)} things are wrong with this request."
        detail = error.sentence if len(errors) == 1 else several
        return problem(error.status, detail=detail, code=error.code, errors=errors)
    answer = problem(
        error.status, detail=error.sentence, code=error.code, possible=verbs(error.possible)
    )
    if wait := getattr(error, "wait", None):
        answer["Retry-After"] = str(max(1, ceil(wait)))
    return answer


def _api_exception(error: exceptions.APIException) -> Response:
    answer = problem(error.status_code, detail=str(error.detail), code=error.default_code)
    if challenge := getattr(error, "auth_header", None):
        answer["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        answer["Retry-After"] = str(int(wait))
    return answer


def _pointed(detail: Any, pointer: str) -> Iterator[dict[str, str]]:
    """Walk the serializer's errors and give each its JSON pointer."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else f"/{name}"
            yield from _pointed(inner, pointer + step)
    elif isinstance(detail, list):
        for inner in detail:
            yield from _pointed(inner, pointer)
    else:
        yield {"field": pointer.strip("/").replace("/", "."), "detail": str(detail)}

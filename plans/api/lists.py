"""REST: what an address may ask of a GET, and pages of a list. Nothing that is asked is ignored."""

from collections.abc import Collection
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound as NoSuchCursor
from rest_framework.pagination import CursorPagination, LimitOffsetPagination
from rest_framework.request import Request

from plans.api.input import StrictSerializer

MOST_A_PAGE = 200


class NothingAsked(StrictSerializer):
    """An address that takes no questions."""


class CursorQuery(StrictSerializer):
    """Which page of a list that goes on by a cursor."""

    limit = serializers.IntegerField(min_value=1, max_value=MOST_A_PAGE, required=False)
    cursor = serializers.CharField(
        required=False, max_length=2000, help_text="As `next` and `previous` write it."
    )


class OffsetQuery(StrictSerializer):
    """Which page of a list that goes on by a number."""

    limit = serializers.IntegerField(min_value=1, max_value=MOST_A_PAGE, required=False)
    offset = serializers.IntegerField(min_value=0, required=False)


def asked_of(
    query: type[StrictSerializer], request: Request, *, beside: Collection[str] = ()
) -> dict[str, Any]:
    """Return what the address asks; raise for each part that is unknown, wrong, or there twice.

    What is `beside` is read by somebody else.
    """
    asked = request.query_params.copy()
    for name in beside:
        asked.pop(name, None)
    shaped = query(data=asked)
    twice = [
        name
        for name, values in asked.lists()
        if len(values) > 1 and not isinstance(shaped.fields.get(name), serializers.ListField)
    ]
    if twice:
        raise serializers.ValidationError({name: ["is there more than once"] for name in twice})
    shaped.is_valid(raise_exception=True)
    return dict(shaped.validated_data)


class CursorPages(CursorPagination):
    """Fifty rows at a time, stable while rows are added; `limit` was judged by the query."""

    page_size = 50
    max_page_size = MOST_A_PAGE
    page_size_query_param = "limit"

    def decode_cursor(self, request: Any) -> Any:
        """Return the cursor; say which part of the address is wrong when it is none."""
        try:
            return super().decode_cursor(request)
        except NoSuchCursor as error:
            raise serializers.ValidationError(
                {
                    "cursor": [
                        "is none of this list; follow `next` or `previous` as they are written"
                    ]
                }
            ) from error


class OffsetPages(LimitOffsetPagination):
    """Fifty rows at a time; `limit` and `offset` were judged by the query."""

    default_limit = 50

"""Read the body of a request that pushes: bounded in bytes, also after it is unpacked."""

import zlib
from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from batches.deployers.json_path import MISSING, parse_json

MOST_BYTES = 4_000_000
"""Of the body as sent, and once more as unpacked: a small bomb must not fill the memory."""


class BodyTooLarge(APIException):
    """The body is larger than is taken at once."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {MOST_BYTES:,} bytes; send smaller batches."
    default_code = "too_large"


class _RawParser(BaseParser):
    """Give the body as bytes, unpacked."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the bytes. Raises BodyTooLarge, ParseError, UnsupportedMediaType."""
        request: Request = parser_context["request"]
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > MOST_BYTES:
            raise BodyTooLarge
        body: bytes = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise BodyTooLarge
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return body
        if coding not in ("gzip", "deflate"):
            raise UnsupportedMediaType(
                coding, detail=f"Content-Encoding {coding[:40]} is not taken; write gzip."
            )
        return _unpacked(body)


class ProtobufBody(_RawParser):
    """A protobuf message."""

    media_type = "application/x-protobuf"


class JsonBody(_RawParser):
    """JSON, left as bytes: whoever reads it decides how."""

    media_type = "application/json"


class CloudEventBody(_RawParser):
    """A CloudEvent with its attributes inside."""

    media_type = "application/cloudevents+json"


class WhateverIsAccepted(DefaultContentNegotiation):
    """Exporters accept protobuf only, which no renderer is for: the view answers by itself."""

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer, for errors."""
        return renderers[0], str(renderers[0].media_type)


def body_of(request: Request) -> bytes:
    """Return the body's bytes, none where nothing was sent."""
    body: object = request.data
    return body if isinstance(body, bytes) else b""


def json_of(request: Request) -> object:
    """Return the JSON document of the body. Raises ParseError."""
    document = parse_json(body_of(request))
    if document is MISSING:
        raise ParseError("The body is not JSON.")
    return document


def _unpacked(body: bytes) -> bytes:
    # 32: gzip and zlib are told apart by their first bytes.
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = unpacker.decompress(body, MOST_BYTES + 1)
    except zlib.error as error:
        raise ParseError("The body cannot be unpacked; it is not gzip.") from error
    if len(content) > MOST_BYTES:
        raise BodyTooLarge
    if not unpacker.eof:
        raise ParseError("The body cannot be unpacked; it is cut off.")
    return content

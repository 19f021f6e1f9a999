"""Send CloudEvents to the machines that want them: signed, without redirects, all at once.

What they answer is not read: an address that somebody typed in must not show what is behind it.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from upgradeconsole.outbound import OutboundRefused, Outlet, Rules

CALL_SECONDS = 10.0
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SIGNATURE_HEADER = "X-Upgrade-Signature"
USER_AGENT = "UpgradeConsole"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event for one address; an empty secret leaves it unsigned."""

    number: int
    url: str
    secret: str
    event: dict[str, Any]


def body_of(event: dict[str, Any]) -> bytes:
    """Return the bytes that are sent and signed: the same event, the same bytes."""
    return json.dumps(event, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def signature(secret: str, body: bytes) -> str:
    """Return the value of the signature header."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def send(parcels: Sequence[Parcel], *, rules: Rules) -> dict[int, str]:
    """Send all; return what went wrong by parcel number, '' where it arrived (2xx)."""
    return asyncio.run(_send_all(parcels, rules))


async def _send_all(parcels: Sequence[Parcel], rules: Rules) -> dict[int, str]:
    try:
        # No limit: waiting for a free connection would use up the time of those behind a slow one.
        outlet = Outlet(rules, "webhooks", connections=0, seconds=CALL_SECONDS)
    except OutboundRefused as refused:
        return dict.fromkeys((parcel.number for parcel in parcels), refused.sentence)
    async with outlet:
        answers = await asyncio.gather(*(_send_one(outlet, parcel) for parcel in parcels))
    return {parcel.number: answer for parcel, answer in zip(parcels, answers, strict=True)}


async def _send_one(outlet: Outlet, parcel: Parcel) -> str:
    body = body_of(parcel.event)
    headers = {"Content-Type": CONTENT_TYPE, "User-Agent": USER_AGENT}
    if parcel.secret:
        headers[SIGNATURE_HEADER] = signature(parcel.secret, body)
    try:
        # A redirect is no arrival: the address was vouched for, where it points to was not.
        async with outlet.request("POST", parcel.url, data=body, headers=headers) as answer:
            return "" if 200 <= answer.status < 300 else f"answered {answer.status}"
    except TimeoutError:
        return f"no answer within {CALL_SECONDS:g} s"
    except OutboundRefused as refused:
        return refused.sentence
    except (aiohttp.ClientError, ValueError) as error:
        return f"{type(error).__name__}: {error}"

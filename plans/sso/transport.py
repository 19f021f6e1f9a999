"""The identity provider is asked by the console's one way out, whatever library asks.

allauth speaks `requests`. Its session gets a transport of ours, so that addresses are checked when
they are connected to, nothing is redirected, no proxy of the environment is used and no answer is
larger than it may be.
"""

import asyncio
from typing import Any

import aiohttp
import requests
from django.conf import settings
from requests.adapters import BaseAdapter

from upgradeconsole.outbound import Outlet, RulesFile, read_capped

SECONDS = 15.0
MOST_BYTES = 1_000_000


class OutletTransport(BaseAdapter):
    """Sends one request through the outlet; raises what callers of `requests` expect."""

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **_options: Any
    ) -> requests.Response:
        """Return the answer. The options of `requests`, such as not to check TLS, do not count."""
        try:
            return asyncio.run(_asked(request))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise requests.ConnectionError(said, request=request) from error

    def close(self) -> None:
        """Close nothing: each request has a connection of its own."""


def guarded_session() -> requests.Session:
    """Return a session whose every request goes through the outlet."""
    session = requests.Session()
    # Neither its proxies nor a .netrc of the account that runs the console.
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, OutletTransport())
    return session


async def _asked(request: requests.PreparedRequest) -> requests.Response:
    rules = RulesFile(settings.OUTBOUND_FILE)
    async with (
        asyncio.timeout(SECONDS),
        Outlet(rules, "sign_on", seconds=SECONDS) as outlet,
        outlet.request(
            str(request.method),
            str(request.url),
            headers={name: str(value) for name, value in request.headers.items()},
            data=request.body,
        ) as response,
    ):
        content = await read_capped(response, MOST_BYTES)
        if content is None:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {MOST_BYTES} bytes")
        answer = requests.Response()
        answer.status_code, answer.reason = response.status, response.reason or ""
        answer.headers.update(response.headers)
        answer.encoding = response.get_encoding()
        answer.url, answer.request = str(request.url), request
        answer._content = content
        return answer

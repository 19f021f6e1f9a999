"""The one way out, on real sockets: who is connected to is who was checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.adapters.test_source_access import certificate, written
from upgradeconsole.outbound import (
    Opening,
    OutboundRefused,
    OutboundRules,
    Outlet,
    read_capped,
)
from upgradeconsole.outbound.lookup import system_lookup

LOOPBACK = ip_network("127.0.0.0/8")
PUBLIC = ip_address("93.184.216.34")
HERE = ip_address("127.0.0.1")


@dataclass
class Server:
    """A server on this machine that counts who comes, and answers what its path says."""

    port: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": f"{self.url}/inside"})
        if request.path == "/cookie":
            return web.Response(
                headers={"Set-Cookie": "a=b"}, text=request.headers.get("Cookie", "")
            )
        if request.path == "/bomb":
            answer = web.Response(body=b"\0" * 5_000_000)
            answer.enable_compression(web.ContentCoding.gzip)
            return answer
        answer = web.Response(text="hello")
        if request.path == "/once":
            # So that the next call connects anew.
            answer.force_close()
        return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def opened(*ports: int, ca_file: str = "") -> OutboundRules:
    ranges = tuple((port, port) for port in ports)
    return OutboundRules(openings=(Opening(LOOPBACK, ranges, ("webhooks",)),), ca_file=ca_file)


async def ask(url, rules, **more) -> str:
    async with (
        Outlet(lambda: rules, "webhooks", **more) as outlet,
        asyncio.timeout(10),
        outlet.request("GET", url) as response,
    ):
        return await response.text()


def always(*addresses):
    async def lookup(_host, _port):
        return [ip_address(one) for one in addresses]

    return lookup


async def test_what_is_open_is_reached(server):
    assert await ask(f"{server.url}/x", opened(server.port)) == "hello"


async def test_this_machine_is_not_reached_unless_it_is_opened(server):
    for url in (server.url, f"http://[::ffff:127.0.0.1]:{server.port}/"):
        with pytest.raises(OutboundRefused, match="loopback"):
            await ask(url, OutboundRules())
    assert server.seen == []


async def test_a_name_is_judged_by_where_it_leads(server):
    with pytest.raises(OutboundRefused, match=r"inside\.example is 127\.0\.0\.1: .*loopback"):
        await ask(f"http://inside.example:{server.port}/", OutboundRules(), lookup=always(HERE))
    with pytest.raises(OutboundRefused, match="loopback"):
        await ask(f"http://localhost:{server.port}/", OutboundRules())
    assert server.seen == []


async def test_one_bad_record_among_good_ones_is_enough(server):
    anywhere = Opening(ip_network("0.0.0.0/0"), ((1, 65_535),), ("webhooks",))
    rules = OutboundRules(openings=(anywhere,))
    with pytest.raises(OutboundRefused, match="loopback"):
        await ask(f"http://both.example:{server.port}/", rules, lookup=always(PUBLIC, HERE))
    assert server.seen == []


async def test_a_name_that_leads_elsewhere_the_second_time_is_refused_then(server):
    answers = [[HERE], [ip_address("169.254.169.254")], [HERE]]

    async def rebinding(_host, _port):
        return answers.pop(0)

    rules = opened(server.port)
    url = f"http://rebind.example:{server.port}/once"
    async with Outlet(lambda: rules, "webhooks", lookup=rebinding) as outlet:
        async with outlet.request("GET", url) as response:
            assert response.status == 200
        # Names are remembered for ten seconds.
        outlet._session.connector.clear_dns_cache()
        with pytest.raises(OutboundRefused, match="metadata"):
            async with outlet.request("GET", url):
                pytest.fail("connected")
    assert server.seen == ["/once"]


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(server):
    """A second look-up, between check and connection, has nowhere to happen."""
    asked = []

    async def once(host, _port):
        asked.append(host)
        return [HERE]

    assert await ask(f"http://any.example:{server.port}/", opened(server.port), lookup=once)
    assert asked == ["any.example"]


async def test_what_is_taken_out_of_the_file_counts_at_the_next_connection(server):
    rules = [opened(server.port)]
    url = URL(f"{server.url}/once")
    async with Outlet(lambda: rules[0], "webhooks") as outlet:
        async with outlet.request("GET", url) as response:
            assert response.status == 200
        rules[0] = OutboundRules()
        with pytest.raises(OutboundRefused, match="loopback"):
            async with outlet.request("GET", url):
                pytest.fail("connected")


async def test_a_redirect_is_an_answer_and_not_followed(server):
    async with (
        Outlet(lambda: opened(server.port), "webhooks") as outlet,
        outlet.request("GET", f"{server.url}/moved") as response,
    ):
        assert response.status == 302
    assert server.seen == ["/moved"]


async def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, server.url)
    with pytest.raises(aiohttp.ClientError):
        await ask("http://outside.example/", OutboundRules(), lookup=nowhere)
    assert server.seen == []


async def nowhere(_host, _port):
    raise OSError("no such name")


async def test_no_cookie_of_one_answer_goes_along_with_the_next_call(server):
    async with Outlet(lambda: opened(server.port), "webhooks") as outlet:
        for _ in range(2):
            async with outlet.request("GET", f"{server.url}/cookie") as response:
                assert await response.text() == ""


async def test_an_answer_that_grows_on_is_cut_off(server):
    async with Outlet(lambda: opened(server.port), "webhooks") as outlet:
        async with outlet.request("GET", f"{server.url}/bomb") as response:
            assert await read_capped(response, 100_000) is None
        async with outlet.request("GET", f"{server.url}/x") as response:
            assert await read_capped(response, 5) == b"hello"


@pytest.mark.parametrize(
    "url",
    [
        lambda base: f"{base}/a\r\nX-Evil: 1",
        lambda base: f"{base}/\u00e4",
        lambda base: URL(f"{base}/a b", encoded=True),
        lambda base: URL(f"{base}/a\x7fb", encoded=True),
    ],
    ids=["line break", "not ASCII", "blank", "control character"],
)
async def test_a_path_cannot_smuggle_a_line_even_where_the_last_call_went(server, url):
    async with Outlet(lambda: opened(server.port), "webhooks") as outlet:
        async with outlet.request("GET", URL(server.url)):
            pass
        with pytest.raises(OutboundRefused, match="line break"):
            outlet.request("GET", url(server.url))
    assert server.seen == ["/"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    made = certificate("Test authority")
    ca, _key = written(folder, "ca", *made)
    return ca, written(folder, "server", *certificate("127.0.0.1", signer=made))


async def test_certificates_are_checked_and_the_private_authority_is_trusted(authority, server):
    ca, (cert, key) = authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(f"https://127.0.0.1:{port}/", opened(port))
        assert await ask(f"https://127.0.0.1:{port}/", opened(port, ca_file=ca)) == "hello"
        with pytest.raises(OutboundRefused, match="such-a-file cannot be used"):
            await ask(f"https://127.0.0.1:{port}/", opened(port, ca_file="/no/such-a-file"))
    finally:
        await runner.cleanup()


async def test_names_are_looked_up_as_they_are_written(monkeypatch):
    asked = []

    async def getaddrinfo(host, port, **_more):
        asked.append(host)
        return [(2, 1, 6, "", ("192.0.2.7", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await system_lookup("prom", 80, search_domains=False) == [ip_address("192.0.2.7")]
    await system_lookup("prom", 80, search_domains=True)
    assert asked == ["prom.", "prom"]

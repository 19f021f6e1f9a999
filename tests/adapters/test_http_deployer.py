"""What only HTTP brings along: templates, headers, 202 with polling, broken lines, masking."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from batches.deployers import (
    Deployer,
    InstallOrder,
    ObserveFailed,
    RestoreOrder,
    build,
    load_deployers,
)
from tests.adapters.open_here import open_here

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "s3cr3t-fleet-token"
FILE = """
deployers:
  fleet:
    kind: http
    base_url: BASE/api/
    headers: {Authorization: "Bearer ${FLEET_TOKEN}", X-Team: blue}
    install:
      method: PUT
      path: "/t/{tenant}?p={plugin}"
      json:
        v: "{version}"
        tag: "{plugin}@{version}"
        fence: "{fence}"
        plan: "{plan}"
        digest: "{digest}"
        fixed: [1, null]
    restore:
      method: POST
      path: "/t/{tenant}/back"
      json: {config: "{config}", note: "was {config}"}
    observe:
      method: GET
      path: "/t/{tenant}"
      version: "$.plugins[0].version"
      digest: "$.plugins[0].digest"
      config: "$.settings"
    accepted:
      status: [202]
      poll:
        path: "$.links.status"
        done: {"$.state": done}
        failed: {"$.state": failed, "$.final": true}
"""


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: object


@dataclass
class Platform:
    """A loopback server whose answers a test sets."""

    base_url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answer: Handler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.seen.append(Seen(request.method, request.raw_path, dict(request.headers), body))
        assert self.answer is not None
        return await self.answer(request)

    def says(self, document: object, status: int = 200, **headers: str) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.json_response(document, status=status, headers=named)

        self.answer = answer


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    made = Platform()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def deployer(platform: Platform) -> AsyncIterator[Deployer]:
    made = deployer_for(platform.base_url)
    yield made
    await made.close()


def deployer_for(base_url: str) -> Deployer:
    text = FILE.replace("BASE", base_url)
    return build(load_deployers(text, environ={"FLEET_TOKEN": TOKEN})["fleet"], rules=open_here)


def install(tenant: str = "acorn") -> InstallOrder:
    return InstallOrder(
        tenant=tenant,
        plugin="invoice-export",
        version="1.5.0",
        key=f"plan:{tenant}:install:1",
        fence=1700000000001,
        digest="ab12",
        plan="0b5c",
    )


async def test_placeholders_are_filled_and_keep_their_type(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says({})
    await deployer.install(install("a/b c?"), timeout=5)
    seen = platform.seen[0]
    assert (seen.method, seen.path) == ("PUT", "/api/t/a%2Fb%20c%3F?p=invoice-export")
    assert seen.body == {
        "v": "1.5.0",
        "tag": "invoice-export@1.5.0",
        "fence": 1700000000001,
        "plan": "0b5c",
        "digest": "ab12",
        "fixed": [1, None],
    }


async def test_a_config_is_json_alone_and_text_inside_a_text(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says({})
    order = RestoreOrder(
        tenant="acorn", plugin="p", version="1.4.2", key="k", fence=2, config={"a": [1]}
    )
    await deployer.restore(order, timeout=5)
    assert platform.seen[0].body == {"config": {"a": [1]}, "note": 'was {"a": [1]}'}


async def test_every_order_carries_key_fence_and_the_configured_headers(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says({})
    await deployer.install(install(), timeout=5)
    headers = platform.seen[0].headers
    assert headers["Idempotency-Key"] == "plan:acorn:install:1"
    assert headers["X-Upgrade-Fence"] == "1700000000001"
    assert headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("digest", ["ab" * 32, f"sha256:{'ab' * 32}"])
async def test_every_order_carries_the_digest_that_was_signed(
    platform: Platform, deployer: Deployer, digest: str
) -> None:
    platform.says({})
    platform.says({})
    order = {"tenant": "acorn", "plugin": "p", "version": "1.4.2", "key": "k", "fence": 2}
    await deployer.install(InstallOrder(**order, digest=digest), timeout=5)  # type: ignore[arg-type]
    await deployer.restore(RestoreOrder(**order, digest=digest), timeout=5)  # type: ignore[arg-type]
    sent = [seen.headers["X-Upgrade-Digest"] for seen in platform.seen]
    assert sent == [f"sha256:{'ab' * 32}"] * 2


async def test_of_what_nobody_signed_no_digest_is_made_up(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says({})
    order = RestoreOrder(tenant="acorn", plugin="p", version="1.4.2", key="k", fence=2)
    await deployer.restore(order, timeout=5)
    assert "X-Upgrade-Digest" not in platform.seen[0].headers


@pytest.mark.parametrize("tenant", [".", "..", ""])
async def test_a_tenant_that_would_change_the_path_is_never_sent(
    platform: Platform, deployer: Deployer, tenant: str
) -> None:
    answer = await deployer.install(install(tenant), timeout=5)
    assert (answer.outcome, answer.permanent) == ("refused", True)
    assert platform.seen == []


async def test_a_key_with_a_line_break_is_never_sent(
    platform: Platform, deployer: Deployer
) -> None:
    answer = await deployer.install(install("acorn\r\nX-Evil: 1"), timeout=5)
    assert answer.outcome == "refused"
    assert platform.seen == []


@pytest.mark.parametrize(
    ("status", "outcome", "permanent", "unauthorized"),
    [
        (200, "ok", False, False),
        (204, "ok", False, False),
        (302, "failed", False, False),
        (400, "refused", True, False),
        (401, "refused", True, True),
        (403, "refused", True, True),
        (409, "failed", False, False),
        (422, "refused", True, False),
        (500, "failed", False, False),
        (503, "failed", False, False),
    ],
)
async def test_the_status_decides(
    platform: Platform,
    deployer: Deployer,
    status: int,
    outcome: str,
    permanent: bool,
    unauthorized: bool,
) -> None:
    platform.says({"why": "so"}, status, Location="/elsewhere")
    answer = await deployer.install(install(), timeout=5)
    assert (answer.outcome, answer.status) == (outcome, status)
    assert (answer.permanent, answer.unauthorized) == (permanent, unauthorized)
    assert len(platform.seen) == 1


async def test_retry_after_is_handed_on(platform: Platform, deployer: Deployer) -> None:
    platform.says({}, 429, Retry_After="7")
    assert (await deployer.install(install(), timeout=5)).retry_after == 7
    platform.says({}, 503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")
    assert (await deployer.install(install(), timeout=5)).retry_after == 0
    platform.says({}, 503, Retry_After="soon")
    assert (await deployer.install(install(), timeout=5)).retry_after is None


async def test_an_accepted_order_is_followed_to_its_end(
    platform: Platform, deployer: Deployer
) -> None:
    states = iter(["queued", "running", "done"])

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return web.json_response({"links": {"status": "../jobs/7"}}, status=202)
        return web.json_response({"state": next(states)})

    platform.answer = answer
    result = await deployer.install(install(), timeout=5)
    assert result.outcome == "ok"
    assert [seen.path for seen in platform.seen[1:]] == ["/api/jobs/7"] * 3
    assert platform.seen[1].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_an_accepted_order_fails_when_all_conditions_of_failed_are_met(
    platform: Platform, deployer: Deployer
) -> None:
    documents = iter([{"state": "failed", "final": 1}, {"state": "failed", "final": True}])

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            url = f"{platform.base_url}/jobs/7"
            return web.json_response({"links": {"status": url}}, status=202)
        return web.json_response(next(documents))

    platform.answer = answer
    result = await deployer.install(install(), timeout=5)
    assert result.outcome == "failed"
    assert len(platform.seen) == 3


async def test_an_accepted_order_survives_a_broken_status_page_and_runs_out_of_time(
    platform: Platform, deployer: Deployer
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return web.json_response({"links": {"status": "/jobs/7"}}, status=202)
        if len(platform.seen) == 2:
            return web.json_response({}, status=500)
        return web.json_response({"state": "running"})

    platform.answer = answer
    started = time.monotonic()
    result = await deployer.install(install(), timeout=0.8)
    assert result.outcome == "unknown"
    assert "running" in result.text
    assert 0.7 < time.monotonic() - started < 1.5


async def test_the_token_is_never_sent_to_another_server(
    platform: Platform, deployer: Deployer, unused_tcp_port: int
) -> None:
    for url in (
        f"http://127.0.0.1:{unused_tcp_port}/steal",
        "//evil.example.org/steal",
        "https" + platform.base_url.removeprefix("http"),
        platform.base_url.replace("://", "://user:pw@"),
    ):
        platform.says({"links": {"status": url}}, 202)
        answer = await deployer.install(install(), timeout=5)
        assert answer.outcome == "unknown"
        assert "another server" in answer.text
    assert len(platform.seen) == 4


async def test_an_accepted_order_without_a_status_url_is_unknown(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says({"links": {}}, 202)
    answer = await deployer.install(install(), timeout=5)
    assert answer.outcome == "unknown"
    assert "the answer had no $.links.status" in answer.text


async def test_a_refused_connection_was_not_sent(unused_tcp_port: int) -> None:
    deployer = deployer_for(f"http://127.0.0.1:{unused_tcp_port}")
    answer = await deployer.install(install(), timeout=5)
    await deployer.close()
    assert (answer.outcome, answer.permanent) == ("failed", False)
    assert answer.text.startswith("not sent")


async def test_a_connection_that_never_opens_was_not_sent() -> None:
    # A full backlog: the kernel leaves further connections waiting.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as first:
            first.connect(listener.getsockname())
            deployer = deployer_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
            answer = await deployer.install(install(), timeout=0.5)
            await deployer.close()
    assert (answer.outcome, answer.text) == ("failed", "not sent: no connection within 0.5 s")


async def test_a_line_that_breaks_after_sending_is_unknown(
    platform: Platform, deployer: Deployer
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    platform.answer = answer
    order = RestoreOrder(tenant="acorn", plugin="p", version="1", key="k", fence=2)
    result = await deployer.restore(order, timeout=5)
    assert result.outcome == "unknown"
    assert len(platform.seen) == 1


async def test_an_answer_that_never_ends_is_unknown(platform: Platform, deployer: Deployer) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(20):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    platform.answer = answer
    result = await deployer.install(install(), timeout=0.4)
    assert result.outcome == "unknown"


async def test_answers_show_no_secret(platform: Platform, deployer: Deployer) -> None:
    platform.says(
        {
            "error": f"bad header Bearer {TOKEN}",
            "echo": TOKEN,
            "db_password": "hunter2",
            "nested": [{"api-key": {"id": "deep"}}],
            "log": "login with token=t0pp and Authorization: Basic dXNlcjpwdw==",
            "url": "https://user:hush@db.example.org/x",
            "tenant": "acorn",
        },
        500,
    )
    text = (await deployer.install(install(), timeout=5)).text
    for secret in (TOKEN, "hunter2", "deep", "t0pp", "dXNlcjpwdw", "hush"):
        assert secret not in text
    assert "HTTP 500" in text
    assert '"tenant": "acorn"' in text


async def test_answers_are_short_and_printable(platform: Platform, deployer: Deployer) -> None:
    platform.says("a\x00b\x1b[31m" + "long " * 1000, 500)
    text = (await deployer.install(install(), timeout=5)).text
    assert len(text) <= 500
    assert text.isprintable()


async def test_a_huge_answer_is_cut_and_its_status_still_counts(
    platform: Platform, deployer: Deployer
) -> None:
    platform.says(["x" * 3_000_000])
    assert (await deployer.install(install(), timeout=5)).outcome == "ok"
    with pytest.raises(ObserveFailed, match="larger than 1000000 bytes"):
        await deployer.observe("acorn", "p", timeout=5)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"plugins": []}, r"the answer had no \$\.plugins\[0\]\.version"),
        ({"plugins": [{"version": None}]}, "the answer had no"),
        ({"plugins": [{"version": 1.4}]}, "1.4, which is not a text"),
        ({"plugins": [{"version": "1\x00"}]}, "printable"),
        ({"plugins": [{"version": "1.4.2"}], "settings": {"a": "\x00"}}, "cannot be stored"),
    ],
)
async def test_a_version_that_is_not_plainly_there_is_not_observed(
    platform: Platform, deployer: Deployer, document: object, why: str
) -> None:
    platform.says(document)
    with pytest.raises(ObserveFailed, match=why):
        await deployer.observe("acorn", "p", timeout=5)


async def test_digest_and_config_may_be_missing(platform: Platform, deployer: Deployer) -> None:
    platform.says({"plugins": [{"version": "1.4.2"}]})
    observed = await deployer.observe("acorn", "p", timeout=5)
    assert (observed.version, observed.digest, observed.config) == ("1.4.2", None, None)


@pytest.mark.parametrize(
    ("status", "permanent", "unauthorized"),
    [(404, True, False), (401, True, True), (500, False, False)],
)
async def test_an_unreadable_tenant_says_whether_asking_again_helps(
    platform: Platform, deployer: Deployer, status: int, permanent: bool, unauthorized: bool
) -> None:
    platform.says({"error": "no"}, status)
    with pytest.raises(ObserveFailed) as caught:
        await deployer.observe("acorn", "p", timeout=5)
    assert (caught.value.permanent, caught.value.unauthorized) == (permanent, unauthorized)
    assert f"HTTP {status}" in caught.value.reason


async def test_observes_do_not_wait_behind_hung_orders(platform: Platform) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            await asyncio.sleep(2)
        return web.json_response({"plugins": [{"version": "1.4.2"}]})

    platform.answer = answer
    text = FILE.replace("BASE", platform.base_url) + "    parallelism: 2\n"
    deployer = build(load_deployers(text, environ={"FLEET_TOKEN": TOKEN})["fleet"], rules=open_here)
    hung = [asyncio.create_task(deployer.install(install(), timeout=1.5)) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert (await deployer.observe("acorn", "p", timeout=1)).version == "1.4.2"
    assert {(await task).outcome for task in hung} == {"unknown"}
    await deployer.close()

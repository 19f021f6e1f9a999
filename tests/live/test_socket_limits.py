"""Sockets: of which sites, of which sessions, and how many of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from batches.live import consumers, open_sockets, updates
from plans.log_in.second_factors import reset_factors
from plans.log_in.session_life import BEGAN, SEEN
from plans.log_in.sessions import end_sessions
from plans.models import Plan, User
from plans.people.leavers import let_go
from tests.live.live_scene import Scene, configure, upgraded
from tests.web.factors import App
from upgradeconsole.asgi import application
from upgradeconsole.socket_origin import is_ours

pytestmark = pytest.mark.django_db(transaction=True)
OURS = "http://localhost:8000"


@pytest.fixture
def plan(settings, tmp_path) -> Plan:
    configure(settings, tmp_path)
    return upgraded(Scene())


@pytest.fixture
def browser(plan) -> Client:
    client = Client()
    client.force_login(User.objects.get(email="olga@example.org"))
    return client


@pytest.fixture(autouse=True)
async def _tailer_ends() -> AsyncIterator[None]:
    """Wait for the reader of events, which would ask a database that is gone."""
    yield
    if (thread := updates.TAILER.thread) is not None:
        await asyncio.to_thread(thread.join, 10)


def socket(plan: Plan, browser: Client, *, origin: str | None = OURS) -> WebsocketCommunicator:
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    headers = [(b"host", b"localhost:8000"), (b"cookie", cookie.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return WebsocketCommunicator(application, f"/ws/plans/{plan.pk}/", headers=headers)


async def code_of(opened: WebsocketCommunicator) -> int:
    """Return the code with which the socket closes, past what it tells before."""
    for _message in range(20):
        told = await opened.receive_output(timeout=5)
        if told["type"] == "websocket.close":
            code = int(told["code"])
            await opened.disconnect(code)
            return code
    raise AssertionError("it stays open")


async def opened(plan: Plan, browser: Client) -> WebsocketCommunicator:
    one = socket(plan, browser)
    connected, _protocol = await one.connect(timeout=5)
    assert connected
    first = await one.receive_output(timeout=5)
    assert first["type"] == "websocket.send", first
    return one


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example",
        # Another program of the same machine: browsers send it the same cookies.
        "http://localhost:3000",
        "http://localhost",
        "http://[",
        "null",
        None,
    ],
)
async def test_a_page_of_another_site_opens_no_socket(origin, plan, browser):
    connected, _code = await socket(plan, browser, origin=origin).connect(timeout=5)
    assert not connected


@pytest.mark.parametrize(
    ("origin", "host", "opens"),
    [
        ("https://console.example.org", "console.example.org", True),
        ("https://console.example.org:8443", "console.example.org:8443", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        # A proxy that hands on the name without the port.
        ("https://upgrades.example.org:8443", "console.example.org", True),
        # A name of somebody else's that leads here.
        ("http://elsewhere.example:8000", "elsewhere.example:8000", False),
        ("https://console.example.org:8443", "console.example.org", False),
        ("", "", False),
    ],
)
def test_whose_pages_open_sockets(origin, host, opens, settings):
    settings.ALLOWED_HOSTS = ["console.example.org", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://upgrades.example.org:8443"]
    assert is_ours(origin, host) is opens


async def test_a_socket_without_a_session_is_closed(plan):
    one = socket(plan, Client())
    await one.connect(timeout=5)
    assert await code_of(one) == 4401


async def test_a_socket_ends_with_its_session(plan, browser):
    one = await opened(plan, browser)
    await sync_to_async(browser.logout)()
    # At once: nobody looks again within the seconds that this takes.
    assert await code_of(one) == 4401


async def test_another_persons_log_out_ends_nothing(plan, browser):
    one = await opened(plan, browser)
    other = Client()
    await sync_to_async(other.force_login)(await User.objects.aget(email="mara@example.org"))
    await sync_to_async(other.logout)()
    told = await one.receive_output(timeout=5)
    assert told["type"] == "websocket.send"
    await one.disconnect()


@pytest.mark.parametrize("how", ["a second factor was reset", "their person left", "elsewhere"])
async def test_a_socket_ends_at_once_with_whatever_ends_its_session(how, plan, browser):
    one = await opened(plan, browser)

    def end() -> None:
        olga = User.objects.get(email="olga@example.org")
        said: dict[str, Any] = {"by": None, "now": timezone.now(), "via": "command"}
        if how == "a second factor was reset":
            App(olga)
            reset_factors(user=olga, reason="both phones are gone", **said)
        elif how == "their person left":
            let_go(user_id=olga.pk, why="left", **said)
        else:
            end_sessions(olga)

    await sync_to_async(end)()
    assert await code_of(one) == 4401


async def test_who_was_let_in_again_logs_in_again(plan, browser):
    def leave_and_return() -> int:
        olga, at = User.objects.get(email="olga@example.org"), timezone.now()
        let_go(user_id=olga.pk, why="left", by=None, now=at, via="command")
        User.objects.filter(pk=olga.pk).update(is_active=True)
        return int(browser.get("/plans/").status_code)

    assert await sync_to_async(leave_and_return)() == 302


@pytest.mark.parametrize(
    "how", ["a new password", "the role has ended", "too long ago", "used by nobody"]
)
async def test_a_socket_is_asked_about_again(how, plan, browser, monkeypatch):
    """What ended elsewhere, in another process, ends the socket when it is looked at again."""
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.0)
    one = await opened(plan, browser)

    def end() -> None:
        olga = User.objects.get(email="olga@example.org")
        if how in {"too long ago", "used by nobody"}:
            session = browser.session
            session[BEGAN if how == "too long ago" else SEEN] -= 25 * 3600
            session.save()
        elif how == "a new password":
            olga.set_password("Another-Horse-9-Battery")
            olga.save()
        else:
            olga.role_bindings.all().delete()

    await sync_to_async(end)()
    assert await code_of(one) == (4403 if how == "the role has ended" else 4401)


async def test_one_person_has_so_many_sockets_and_no_more(plan, browser, monkeypatch):
    monkeypatch.setattr(open_sockets, "MOST_PER_PERSON", 2)
    first, second = await opened(plan, browser), await opened(plan, browser)
    third = socket(plan, browser)
    await third.connect(timeout=5)
    assert await code_of(third) == 4429
    await first.disconnect()
    again = await opened(plan, browser)
    for one in (second, again):
        await one.disconnect()

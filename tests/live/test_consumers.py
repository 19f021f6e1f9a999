"""The live page's socket: who gets in, what was missed, what comes live, and what a gap does."""

import asyncio
import json
import math
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from batches.evidence import evidence_chart
from batches.live import updates
from batches.live.routing import websocket_urlpatterns
from batches.live.updates import QUEUE_FRAMES, Client
from batches.looks.kpi_points import LookSample, RatioPoint
from batches.models import EvidenceLook, Heartbeat
from plans.models import Plan, Stream
from tests.live.live_scene import (
    Scene,
    all_at_once,
    call_ended,
    configure,
    happens,
    looked,
    now,
    upgraded,
)

pytestmark = pytest.mark.django_db(transaction=True)
ROUTER = URLRouter(websocket_urlpatterns)


class Page:
    """An open live page: its socket, and the messages that came so far."""

    def __init__(self, plan: Plan, user: Any, since: int | None = None) -> None:
        query = "" if since is None else f"?since={since}"
        self.socket = WebsocketCommunicator(ROUTER, f"/ws/plans/{plan.pk}/{query}")
        self.socket.scope["user"] = user
        self.messages: list[dict[str, Any]] = []

    async def open(self) -> "Page":
        connected, _protocol = await self.socket.connect()
        assert connected
        return self

    async def closed_with(self) -> int:
        return int((await self.socket.receive_output(timeout=3))["code"])

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next message of that kind, unheard ones first; ticks alone are no news."""
        for _frame in range(8):
            for message in self.messages:
                if message["type"] == kind:
                    self.messages.remove(message)
                    return message
            await self.hear()
        raise AssertionError(f"no {kind} came, only {self.messages}")

    async def hear(self) -> None:
        """Take in one frame."""
        self.messages += json.loads(await self.socket.receive_from(timeout=5))


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def plan(scene) -> Plan:
    return upgraded(scene)


@pytest.fixture
async def opened(plan, scene):
    """Return a function that opens Olga's page; all are closed in the end, with the tailer."""
    pages: list[Page] = []

    async def open_page(since: int | None = None) -> Page:
        page = await Page(plan, scene.olga, since).open()
        pages.append(page)
        # The past comes first; whatever is committed from here on is live.
        await page.hear()
        return page

    yield open_page
    for page in pages:
        await page.socket.disconnect()
    thread = updates.TAILER.thread
    if thread is not None:
        await asyncio.to_thread(thread.join, 10)


async def _head(plan: Plan) -> int:
    return (await Stream.objects.aget(key=plan.stream_key)).head_seq


async def test_nobody_is_let_in_without_logging_in(plan):
    page = await Page(plan, AnonymousUser()).open()
    assert await page.closed_with() == 4401


async def test_a_stranger_is_not_told_anything(plan, scene):
    page = await Page(plan, scene.nils).open()
    assert await page.closed_with() == 4403


async def test_a_person_whose_account_was_ended_is_out(plan, scene):
    scene.olga.is_active = False
    await sync_to_async(scene.olga.save)()
    page = await Page(plan, scene.olga).open()
    assert await page.closed_with() == 4401


async def test_a_page_without_a_past_begins_with_the_snapshot(opened, plan):
    page = await opened()
    snapshot = await page.until("snapshot")
    assert snapshot["plan"]["id"] == str(plan.pk)
    assert snapshot["seq"] == await _head(plan)


async def test_fault_22_a_page_gets_what_it_missed_and_nothing_that_it_knows(opened, plan):
    head = await _head(plan)
    await sync_to_async(happens)(plan, "remark", "You missed this.")
    page = await opened(since=head)
    event = await page.until("event")
    assert (event["seq"], event["sentence"]) == (head + 1, "You missed this.")


async def test_an_event_reaches_the_page_right_after_its_commit_with_the_counts(opened, plan):
    page = await opened(since=await _head(plan))
    await sync_to_async(happens)(plan, "rollback_begun", "Olga rolls back.")
    event = await page.until("event")
    assert (event["sentence"], event["tone"]) == ("Olga rolls back.", "back")
    assert (await page.until("counts"))["counts"] == {"pending": 2, "upgraded": 1}


async def test_a_burst_arrives_complete_and_in_order(opened, plan):
    head = await _head(plan)
    page = await opened(since=head)
    for number in range(30):
        await sync_to_async(happens)(plan, "remark", f"Number {number}.")
    seqs = [(await page.until("event"))["seq"] for _ in range(30)]
    assert seqs == list(range(head + 1, head + 31))


async def test_two_pages_hear_the_same(opened, plan):
    head = await _head(plan)
    first, second = await opened(since=head), await opened(since=head)
    await sync_to_async(happens)(plan, "remark", "Both.")
    assert (await first.until("event"))["sentence"] == "Both."
    assert (await second.until("event"))["sentence"] == "Both."


async def test_the_deployers_answers_stream_by(opened, plan):
    page = await opened(since=await _head(plan))
    await sync_to_async(call_ended)(plan, '{"token": "***"}')
    (answer,) = (await page.until("answers"))["answers"]
    assert (answer["outcome"], answer["status"], answer["text"]) == ("ok", 200, '{"token": "***"}')


async def test_an_answer_between_the_page_and_its_socket_is_not_missed(opened, plan):
    head = await _head(plan)
    await sync_to_async(call_ended)(plan, "came early")
    page = await opened(since=head)
    assert [answer["text"] for answer in (await page.until("answers"))["answers"]] == ["came early"]


async def test_a_look_becomes_points_of_its_charts(opened, plan):
    page = await opened(since=await _head(plan))
    look = LookSample(
        kpi="error_rate",
        at=now(),
        canary={"acorn": RatioPoint(3.0, 100.0), "birch": RatioPoint(1.0, 100.0)},
        source="fleet",
    )
    await sync_to_async(looked)(plan, look.to_json())
    samples = await page.until("samples")
    values = {point["line"]: point["value"] for point in samples["points"]}
    assert samples["kpi"] == "error_rate"
    assert values == {"canary": 2.0, "control": None}


async def test_evidence_becomes_points_of_its_chart_with_what_it_is_worth(opened, plan):
    page = await opened(since=await _head(plan))
    await EvidenceLook.objects.acreate(
        plan=plan,
        kpi="error_rate",
        at=now(),
        log_e=math.log(79),
        percent=94.9,
        together=94.9,
        together_log_e=math.log(79),
        canary_errors=31,
        canary_requests=812,
        control_errors=20,
        control_requests=4000,
    )
    samples = await page.until("samples")
    assert samples["kpi"] == evidence_chart.KPI
    assert [(point["line"], point["value"], point["said"]) for point in samples["points"]] == [
        ("together", 94.9, '79:1 against "no worse than tolerated"'),
        ("kpi error_rate", 94.9, '79:1 against "no worse than tolerated"'),
    ]


async def test_each_second_the_page_learns_how_long_the_watch_has_been_silent(opened, plan):
    await Heartbeat.objects.acreate(name="watch:1", kind="watch", at=now())
    page = await opened(since=await _head(plan))
    tick = await page.until("tick")
    assert 0 <= tick["watch_age"] < 5
    assert tick["server_time"]


async def test_a_page_may_ask_for_the_whole_picture(opened, plan):
    page = await opened(since=await _head(plan))
    await page.socket.send_to(text_data='{"type": "snapshot"}')
    assert (await page.until("snapshot"))["tenants"] == 3


async def test_what_is_no_wish_closes_the_socket(opened, plan):
    page = await opened(since=await _head(plan))
    await page.until("tick")
    await page.socket.send_to(text_data="rm -rf")
    while (output := await page.socket.receive_output(timeout=3))["type"] != "websocket.close":
        pass
    assert output["code"] == 1003


async def test_fault_33_a_client_that_reads_too_slowly_is_told_so_and_holds_nobody_up(plan):
    client = Client(plan.pk, asyncio.get_running_loop())
    for number in range(QUEUE_FRAMES + 1):
        client.put(json.dumps([{"type": "event", "seq": number}]))
    assert json.loads(await client.next_frame()) == [{"type": "gap"}]


async def test_more_events_than_fit_a_frame_all_arrive_without_another_commit(
    opened, plan, monkeypatch
):
    monkeypatch.setattr(updates, "FRAME_EVENTS", 2)
    head = await _head(plan)
    page = await opened(since=head)
    await sync_to_async(all_at_once)(plan, 5)
    seqs = [(await page.until("event"))["seq"] for _ in range(5)]
    assert seqs == list(range(head + 1, head + 6))

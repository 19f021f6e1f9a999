"""The sockets: each role on its own plan, on another's, and on one that there is not."""

import uuid

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from batches.live.routing import websocket_urlpatterns
from plans.people.permissions import ROLES_OF_ACTION
from tests.web.access_scene import APPROVES, HOLDERS, OTHER, OWN, TwoSides
from tests.web.api_scene import configure
from upgradeconsole.routing import websocket_urlpatterns as all_sockets

pytestmark = pytest.mark.django_db(transaction=True)
ROUTER = URLRouter(websocket_urlpatterns)
SOCKETS = {"ws/plans/<uuid:plan_id>/": "/ws/plans/{plan}/"}
"""Every socket, with the address of its plan; one that is about something else needs a test."""


def test_every_socket_is_classified():
    routes = {str(pattern.pattern) for pattern in websocket_urlpatterns}
    assert routes == set(SOCKETS), (
        "name the new socket in SOCKETS of tests/live/test_socket_access.py, with the address that"
        " takes a plan"
    )


async def test_an_address_without_a_socket_is_refused_without_an_error():
    socket = WebsocketCommunicator(URLRouter(all_sockets), "/ws/plans/")
    assert (await socket.connect())[0] is False


async def answered(address: str, who: object) -> int | None:
    """Return the code with which the socket closes at once, None when it tells something."""
    socket = WebsocketCommunicator(ROUTER, address)
    socket.scope["user"] = who
    connected, _protocol = await socket.connect()
    assert connected
    first = await socket.receive_output(timeout=5)
    await socket.disconnect()
    return int(first["code"]) if first["type"] == "websocket.close" else None


@pytest.mark.parametrize("route", SOCKETS)
async def test_who_may_listen(route, settings, tmp_path):
    configure(settings, tmp_path)
    scene = await sync_to_async(TwoSides)()
    for holder in HOLDERS:
        who = scene.people[holder]
        sees = holder in ROLES_OF_ACTION["view"] or holder == APPROVES
        own = await answered(SOCKETS[route].format(plan=scene.plans[OWN].pk), who)
        assert own == (None if sees else 4403), holder
        # Another's plan and none at all: the same word, so that nobody learns which it is.
        for plan in (scene.plans[OTHER].pk, uuid.uuid4()):
            assert await answered(SOCKETS[route].format(plan=plan), who) == 4403, holder

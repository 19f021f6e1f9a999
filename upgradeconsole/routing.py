"""The sockets of the console."""

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import re_path

from batches.live.routing import websocket_urlpatterns as live


class NoSocket(AsyncWebsocketConsumer):
    """Refuse: there is no socket at this address."""

    async def connect(self) -> None:
        """Refuse without an error, which anybody could fill the log with."""
        await self.close()


websocket_urlpatterns = [*live, re_path("", NoSocket.as_asgi())]

__all__ = ["websocket_urlpatterns"]

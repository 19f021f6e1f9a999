"""The sockets of the console."""

from batches.routing import websocket_urlpatterns

__all__ = ["websocket_urlpatterns"]

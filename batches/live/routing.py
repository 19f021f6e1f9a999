"""The sockets of the live page."""

from django.urls import URLPattern, path

from batches.live.consumers import LivePlanConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/plans/<uuid:plan_id>/", LivePlanConsumer.as_asgi()),
]

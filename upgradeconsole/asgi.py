"""The ASGI application: pages and REST by Django, sockets by Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "upgradeconsole.settings")
# Read by the settings: web takes its database connections from a pool.
os.environ.setdefault("UPGRADECONSOLE_SERVES", "1")
http_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (needs the set-up above)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from upgradeconsole.routing import websocket_urlpatterns  # noqa: E402
from upgradeconsole.socket_origin import OurPagesAlone  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http_application,
        "websocket": OurPagesAlone(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)

"""Whose pages may open a socket: those that may send a form, and no others."""

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class OurPagesAlone:
    """Refuses a socket whose page is not of the very host and port that it asks.

    Browsers send cookies to every port of a host, so the host's name alone is not enough. Django's
    rule for forms, without the scheme, which a proxy may not tell.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Hand on to the application, or close."""
        told = {name: value.decode("latin-1") for name, value in scope["headers"]}
        ours = is_ours(told.get(b"origin", ""), told.get(b"host", ""))
        application = self._application if ours else WebsocketDenier()
        return await application(scope, receive, send)


def is_ours(origin: str, host: str) -> bool:
    """Tell whether a page of `origin` may open a socket at `host`, both as the browser says."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _port = split_domain_port(host)
    return validate_host(domain, settings.ALLOWED_HOSTS) and origin in (
        f"http://{host}",
        f"https://{host}",
    )

"""What every answer tells the browser beside Django's own headers, also errors and files."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

NOTHING_OF_THE_DEVICE = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "autoplay", "camera", "display-capture", "geolocation", "gyroscope"),
        *("magnetometer", "microphone", "midi", "payment", "screen-wake-lock", "usb"),
        "xr-spatial-tracking",
    )
)
"""Security keys (publickey-credentials-get) stay allowed to our own pages: they are a factor."""


class AnswerHeadersMiddleware:
    """Keep answers to this site, away from the device, and out of the browser's store."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add what a view has not said otherwise."""
        response = self.get_response(request)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        # Also where the middlewares further in were not reached.
        response.setdefault("X-Frame-Options", "DENY")
        response.setdefault("Permissions-Policy", NOTHING_OF_THE_DEVICE)
        # Files of ours hold nothing of anybody, and are kept. All else may: also a page that looks
        # the same to strangers today.
        if not request.path.startswith(settings.STATIC_URL):
            response.setdefault("Cache-Control", "private, no-store")
        return response

"""From where a request came: behind how many proxies is a setting, and nothing else is believed."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from plans.trail import trace


def client_address(request: HttpRequest | Request) -> str:
    """Return the client's address, '' where there is none (a socket of the machine itself)."""
    return trace.client_address(
        remote=request.META.get("REMOTE_ADDR") or "",
        forwarded=request.headers.get("X-Forwarded-For", ""),
        proxies=settings.TRUSTED_PROXIES,
    )


def is_of_this_machine(url: str) -> bool:
    """Tell whether nobody on another machine could reach this address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

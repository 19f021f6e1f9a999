"""From where a request came: behind how many proxies is a setting, and nothing else is believed."""

from allauth.core.internal.httpkit import get_client_ip
from django.http import HttpRequest
from rest_framework.request import Request


def client_address(request: HttpRequest | Request) -> str:
    """Return the client's address, '' where there is none (a socket of the machine itself)."""
    return get_client_ip(request) or ""

"""The address that people type for this console, and what follows from it. No Django."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
USUAL_PORTS: Final = {"http": 80, "https": 443}
"""No browser says them, so no address of ours does."""
HERE = ("localhost", "127.0.0.1", "[::1]")
"""The machine itself asks by these names whether the console answers."""


class BadAddress(ValueError):
    """The address cannot be one of a console; the message says what to write."""


@dataclass(frozen=True, slots=True)
class ServedAt:
    """An address such as `https://console.example.org`. `host`: its name without the port."""

    url: str
    host: str
    tls: bool


def served_at(text: str) -> ServedAt:
    """Return the address that was typed; raise BadAddress for what no browser would find."""
    try:
        parts = urlsplit(text.strip().rstrip("/"))
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"{text!r}: {error}") from error
    if parts.scheme not in USUAL_PORTS or not parts.hostname:
        raise BadAddress(f"{text!r} is no address; write it like https://console.example.org")
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise BadAddress(f"{text!r} is more than a host; the console has a host of its own")
    if port == 0:
        raise BadAddress(f"{text!r}: there is no port 0")
    host = host_name(f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname)
    shown = "" if port in (None, USUAL_PORTS[parts.scheme]) else f":{port}"
    return ServedAt(f"{parts.scheme}://{host}{shown}", host, parts.scheme == "https")


def host_name(text: str) -> str:
    """Return the name of a host as browsers send it, without a port; raise BadAddress."""
    host = text.strip().lower()
    if host.startswith("[") and host.endswith("]"):
        try:
            address = IPv6Address(host[1:-1])
        except ValueError as error:
            raise BadAddress(f"{text!r}: {error}") from error
        if address.scope_id is None:
            return f"[{address.compressed}]"
    if not NAME.fullmatch(host):
        raise BadAddress(
            f"{text!r} is no host's name: letters of a to z, digits, '-' and '.', without scheme"
            " and port; other letters as xn--..., an IPv6 address in [ ]"
        )
    return host

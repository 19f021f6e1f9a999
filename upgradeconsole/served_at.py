"""The address that people type for this console, and what follows from it. No Django."""

from dataclasses import dataclass
from urllib.parse import urlsplit

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
    parts = urlsplit(text.strip().rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadAddress(f"{text!r} is no address; write it like https://console.example.org")
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise BadAddress(f"{text!r} is more than a host; the console has a host of its own")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    try:
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"{text!r}: {error}") from error
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    return ServedAt(origin, host, parts.scheme == "https")

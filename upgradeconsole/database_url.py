"""Read a database address: `postgres://user:password@host:port/name?sslmode=require`.

Errors say what to write and never show the password.
"""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES = ("postgres", "postgresql")
# What libpq understands and an operator has a reason to set; anything else is a typing error.
PARAMETERS = {
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
    "host",
    "port",
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FORM = "postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=require"


class BadDatabaseUrl(ValueError):
    """The address cannot be used; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a PostgreSQL database is. `host`: a name, an address or the folder of a socket."""

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse_database_url(text: str) -> DatabaseAddress:
    """Return the address; raise BadDatabaseUrl for anything that would not work as it stands."""
    parts = _split(text)
    if parts.scheme not in SCHEMES:
        raise BadDatabaseUrl(
            f"{parts.scheme or 'no scheme'}: only PostgreSQL is supported here; write {FORM},"
            " or unset it to keep the data in SQLite"
        )
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise BadDatabaseUrl(f"it must name one database after the host: {FORM}")
    if parts.fragment:
        raise BadDatabaseUrl("'#' in a user name or password must be written as %23")
    parameters = _parameters(parts.query)
    host = unquote(parts.hostname or "") or parameters.pop("host", "")
    port = _port(parts) or parameters.pop("port", "")
    if port and not port.isdecimal():
        raise BadDatabaseUrl(f"port={port!r} is not a number")
    if {"host", "port"} & parameters.keys():
        raise BadDatabaseUrl("host and port stand either before the database name or after '?'")
    return DatabaseAddress(
        name=name,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=host,
        port=port,
        parameters=parameters,
    )


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text.strip())
    except ValueError:
        # The library's own message may repeat the password.
        raise BadDatabaseUrl(f"it cannot be read; write {FORM}") from None


def _port(parts: SplitResult) -> str:
    try:
        return str(parts.port) if parts.port is not None else ""
    except ValueError:
        raise BadDatabaseUrl(
            "its port is not a number from 0 to 65535; '/', ':' and '@' in a password are written"
            " as %2F, %3A and %40"
        ) from None


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in PARAMETERS:
            raise BadDatabaseUrl(
                f"{key!r} after '?' is unknown; possible: {', '.join(sorted(PARAMETERS))}"
            )
        if key in found:
            raise BadDatabaseUrl(f"{key!r} is given twice")
        found[key] = value
    mode = found.get("sslmode", SSL_MODES[0])
    if mode not in SSL_MODES:
        raise BadDatabaseUrl(f"sslmode={mode!r} is unknown; write one of {', '.join(SSL_MODES)}")
    timeout = found.get("connect_timeout", "1")
    if not timeout.isdecimal():
        raise BadDatabaseUrl(f"connect_timeout={timeout!r} is not a number of seconds")
    return found

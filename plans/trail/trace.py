"""Where an act comes from: address, trace, token, on whose behalf, by which grant.

A door (middleware, token, task, command) says it once; whoever records an event finds it here.
Threads begin with nothing known, so the engine's events never carry a stranger's address.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

_TRACEPARENT = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
NOTHING_TRACED = "0" * 32
NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known about where an act comes from; empty = not known, or does not apply."""

    ip: str = ""
    trace_id: str = ""
    on_behalf: str = ""
    token: str = ""
    grant: str = ""


NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def origin() -> Origin:
    """Return where the present act comes from."""
    return _origin.get()


@contextmanager
def acting_from(
    *,
    ip: str | None = None,
    trace_id: str | None = None,
    on_behalf: str | None = None,
    token: str | None = None,
    grant: str | None = None,
) -> Iterator[Origin]:
    """Let everything inside come from there; what is None stays as it was."""
    said = _changed(ip=ip, trace_id=trace_id, on_behalf=on_behalf, token=token, grant=grant)
    before = _origin.get()
    _origin.set(said)
    try:
        yield said
    finally:
        # Not by the variable's token: what is inside may have run in a copy of this context.
        _origin.set(before)


def note_origin(**known: str) -> None:
    """Add what became known on the way, until the surrounding `acting_from` ends."""
    _origin.set(_changed(**known))


def _changed(**known: Any) -> Origin:
    return replace(
        _origin.get(), **{name: said for name, said in known.items() if said is not None}
    )


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a W3C traceparent, '' where the header is none that may be used."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return ""
    version, trace_id, span, _flags, more = found.groups()
    # Version 00 has exactly four parts; ff is forbidden; later versions may have more.
    if version == "ff" or (version == "00" and more) or trace_id == NOTHING_TRACED:
        return ""
    return trace_id if span != NO_SPAN else ""


def new_trace_id() -> str:
    """Return a trace id for an act that brought none."""
    return secrets.token_hex(16)


def traceparent(trace_id: str) -> str:
    """Return the header that names the trace, with a span of our own."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def client_address(*, remote: str, forwarded: str, proxies: int) -> str:
    """Return the address of who asks, through as many proxies of our own as there are.

    Each proxy appends whom it heard from, so only the last `proxies` entries are worth anything;
    with fewer entries somebody came past a proxy, and the connection's own address counts.
    """
    entries = [entry.strip() for entry in forwarded.split(",") if entry.strip()]
    if proxies < 1 or len(entries) < proxies:
        return _address(remote)
    return _address(entries[-proxies]) or _address(remote)


def _address(text: str) -> str:
    """Return the address in its one form, without brackets and port; '' where it is none."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare.partition("%")[0]))
    except ValueError:
        return ""

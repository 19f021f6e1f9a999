"""What an URL must look like before anything is looked up or connected to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from yarl import URL

from upgradeconsole.outbound.addresses import Address, as_address
from upgradeconsole.outbound.openings import OutboundRefused, OutboundRules, Purpose

MOST_CHARACTERS: Final = 8_000
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
# How browsers know an IPv4 address: the last part is a number, be it hexadecimal or octal.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_AUTHORITY = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*:")


@dataclass(frozen=True, slots=True)
class Destination:
    """Whom an URL names: a name to look up, or an address to connect to."""

    scheme: str
    host: str
    port: int
    address: Address | None


def destination_of(url: str | URL) -> Destination:
    """Return whom the URL names; raise OutboundRefused where it can mislead."""
    text = str(url)
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise OutboundRefused(
            "the URL holds a blank, a backslash, a line break or a character that is not ASCII;"
            " write such a host in its xn-- form, and the rest with %"
        )
    if len(text) > MOST_CHARACTERS:
        raise OutboundRefused(f"the URL is longer than {MOST_CHARACTERS} characters")
    if not text.lower().startswith(("http://", "https://")):
        scheme = _SCHEME.match(text)
        named = f"{scheme.group()[:20]} is not spoken here" if scheme else "the URL has no scheme"
        raise OutboundRefused(f"{named}; write http:// or https://")
    try:
        parsed = URL(text) if isinstance(url, str) else url
        host, port = parsed.raw_host, parsed.port
    except ValueError as error:
        raise OutboundRefused("this is not a URL; write one such as https://host/path") from error
    written = _AUTHORITY.match(text)
    if written is None or "@" in written[1]:
        raise OutboundRefused("the URL holds a log-in before '@'; keep it in headers or auth")
    if not host or not port:
        raise OutboundRefused("the URL names no host, or port 0; write https://host:port/path")
    host = host.lower()
    return Destination(parsed.scheme, host, port, _address_in(host))


def check_destination(url: str | URL, rules: OutboundRules, purpose: Purpose) -> Destination:
    """Return whom the URL names; raise OutboundRefused where that is known to be forbidden.

    A name is judged by its addresses, at each connection.
    """
    found = destination_of(url)
    if found.address is not None:
        why = rules.refusal(found.address, found.port, purpose)
        if why:
            raise OutboundRefused(why)
    return found


def refusal_of(url: str, rules: OutboundRules, purpose: Purpose) -> str:
    """Return why the URL cannot be used, as far as can be told without a look-up; '' if it can."""
    try:
        check_destination(url, rules, purpose)
    except OutboundRefused as refused:
        return refused.sentence
    return ""


def _address_in(host: str) -> Address | None:
    if ":" in host:
        address = as_address(host)
        if address is None:
            raise OutboundRefused(f"[{host[:60]}] is no IPv6 address that can be connected to")
        return address
    if host.endswith("."):
        raise OutboundRefused("the host ends in a dot; write its name without")
    if _NUMERIC.fullmatch(host):
        address = as_address(host)
        if not isinstance(address, IPv4Address):
            raise OutboundRefused(
                f"{host[:60]} is an address in disguise; write four decimal numbers: 192.0.2.1"
            )
        return address
    if not _NAME.fullmatch(host):
        raise OutboundRefused(f"{host[:60]} is not the name of a host")
    return None

"""Look names up and check every answer, at the moment of connecting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from upgradeconsole.outbound.addresses import Address
from upgradeconsole.outbound.openings import OutboundRefused, Purpose, check_all
from upgradeconsole.outbound.rules_file import Rules

Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Returns all addresses of a name. Raises OSError."""
HOSTS_FILE: Final = Path("/etc/hosts")
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class CheckedResolver(AbstractResolver):
    """Gives the addresses that were checked, and these are the ones that are connected to."""

    def __init__(self, rules: Rules, purpose: Purpose, lookup: Lookup | None = None) -> None:
        self._rules = rules
        self._purpose = purpose
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return every address of the host. Raises OutboundRefused where one is forbidden."""
        rules = self._rules()
        if self._lookup is not None:
            addresses = await self._lookup(host, port)
        else:
            addresses = await system_lookup(host, port, search_domains=rules.search_domains)
        check_all(rules, addresses, port, self._purpose, host=host)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=_NUMERIC,
            )
            for address in addresses
            if family in (socket.AF_UNSPEC, _family(address))
        ]

    async def close(self) -> None:
        """Hold nothing."""


def checked_socket(rules: Rules, purpose: Purpose) -> Callable[[Any], socket.socket]:
    """Return what makes the sockets: only for addresses that may be reached right now.

    The last gate, and the only one for addresses that need no look-up.
    """

    def make(info: Any) -> socket.socket:
        family, kind, proto, _name, where = info
        why = rules().refusal(ip_address(where[0]), where[1], purpose)
        if why:
            raise OutboundRefused(why)
        return socket.socket(family, kind, proto)

    return make


async def system_lookup(host: str, port: int, *, search_domains: bool) -> list[Address]:
    """Ask the machine for a name as it is written.

    The machine's search domains would turn one name into another; the hosts file knows no names
    that end in a dot, so it is read for what the name service does not know.
    """
    if search_domains or host == "localhost":
        return await _asked(host, port)
    try:
        return await _asked(f"{host}.", port)
    except socket.gaierror:
        found = await asyncio.to_thread(hosts_file_addresses, host)
        if not found:
            raise
        return found


async def _asked(host: str, port: int) -> list[Address]:
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    found: dict[Address, None] = {}
    for _family, _kind, _proto, _canonical, where in infos:
        found[ip_address(str(where[0]).partition("%")[0])] = None
    return list(found)


def hosts_file_addresses(host: str, file: Path = HOSTS_FILE) -> list[Address]:
    """Return what the machine's hosts file says about a name."""
    found: dict[Address, None] = {}
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        words = line.partition("#")[0].lower().split()
        if host.lower() in words[1:]:
            try:
                found[ip_address(words[0].partition("%")[0])] = None
            except ValueError:
                continue
    return list(found)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET

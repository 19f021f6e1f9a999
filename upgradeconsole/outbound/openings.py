"""The rules of the way out: what the administrator has opened, and what is refused and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from upgradeconsole.outbound.addresses import (
    Address,
    Network,
    is_private_network,
    is_public,
    kind_of,
    never,
    unmapped,
)

Purpose = Literal["deployers", "metrics", "webhooks", "sign_on"]
PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
PUBLIC_PORTS: Final = (80, 443, 8080, 8443)
"""Where HTTP is spoken on public addresses; any other port is opened by the file."""


class OutboundRefused(OSError):
    """The console's own rules forbid a connection; the sentence says what to do about it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of the file: these addresses, on these ports, for this part of the console."""

    network: Network
    ports: tuple[tuple[int, int], ...]
    purposes: tuple[Purpose, ...]
    note: str = ""

    def covers(self, address: Address, port: int, purpose: Purpose) -> bool:
        """Tell whether the entry opens the address.

        An entry that is wider than a private network, such as 0.0.0.0/0, opens public ones alone.
        """
        return (
            purpose in self.purposes
            and any(low <= port <= high for low, high in self.ports)
            and address.version == self.network.version
            and address in self.network
            and (is_public(address) or is_private_network(self.network))
        )


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """Everything that is opened, and the file that says so."""

    file: str = "outbound.yaml"
    openings: tuple[Opening, ...] = ()
    ca_file: str = ""
    search_domains: bool = False
    broken: tuple[str, ...] = ()

    def refusal(self, address: Address, port: int, purpose: Purpose, *, host: str = "") -> str:
        """Return why the address may not be connected to, with what to do; '' where it may."""
        real = unmapped(address)
        shown = f"{host} is {address}" if host and host != str(address) else str(address)
        if what := never(address):
            return f"{shown}: {what}; it is never connected to, and no setting opens it"
        if any(opening.covers(real, port, purpose) for opening in self.openings):
            return ""
        if is_public(real):
            if port in PUBLIC_PORTS:
                return ""
            usual = ", ".join(map(str, PUBLIC_PORTS))
            why = f"port {port} is none of {usual}"
        else:
            why = f"this is {kind_of(real)}"
        return f"{shown}: {why}; {self._advice(real, port, purpose)}"

    def _advice(self, address: Address, port: int, purpose: Purpose) -> str:
        if self.broken:
            return f"{self.file} cannot be used, so it opens nothing: {self.broken[0]}"
        return (
            f"an administrator opens it for {purpose} by the line"
            f" '- {line_for(address, port, purpose)}' under 'allow:' in {self.file}"
        )


def line_for(address: Address, port: int, purpose: Purpose) -> str:
    """Return the entry of the file that opens exactly this."""
    cidr = f"{address}/{address.max_prefixlen}"
    # YAML would take an address that begins with ':' for something else.
    cidr = f'"{cidr}"' if ":" in cidr else cidr
    return f"{{cidr: {cidr}, ports: [{port}], purpose: {purpose}}}"


def check_all(
    rules: OutboundRules,
    addresses: Iterable[Address],
    port: int,
    purpose: Purpose,
    *,
    host: str = "",
) -> None:
    """Raise OutboundRefused when any of a name's addresses may not be reached.

    One bad record is enough: a name that leads to both could be steered to either.
    """
    for address in addresses:
        if why := rules.refusal(address, port, purpose, host=host):
            raise OutboundRefused(why)

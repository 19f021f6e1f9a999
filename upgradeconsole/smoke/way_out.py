"""What a rehearsal may connect to: the file that it was given, or what its other files name."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from batches.configured import secret_environ
from batches.deployers.deployers_yaml import load_deployers
from batches.kpis.dictionary import load_dictionary
from upgradeconsole.outbound import OutboundRefused, OutboundRules, Purpose
from upgradeconsole.outbound.addresses import Address, never, unmapped
from upgradeconsole.outbound.destination import Destination, destination_of
from upgradeconsole.outbound.openings import line_for
from upgradeconsole.smoke.inputs import Rehearsal

FILE = "rehearsal-outbound.yaml"
VARIABLE = "UPGRADECONSOLE_OUTBOUND"


def outbound_file(rehearsal: Rehearsal, folder: Path) -> Path:
    """Return the rules to rehearse by: those that were given, else a file made for this run.

    Whoever rehearses has named the platform and the sources in files of their own, so these alone
    are opened, on their very ports.
    """
    if rehearsal.outbound_file is not None:
        return rehearsal.outbound_file
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).resolve()
    lines = [
        f"  - {line_for(address, port, purpose)}\n"
        for address, port, purpose in dict.fromkeys(_named(rehearsal))
    ]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / FILE
    file.write_text("allow:\n" + "".join(lines), encoding="utf-8")
    return file


def opened(rules: OutboundRules) -> str:
    """Return in words what a file that was made for the run opens."""
    return ", ".join(
        f"{opening.network.network_address} port {opening.ports[0][0]} ({opening.purposes[0]})"
        for opening in rules.openings
    )


def _named(rehearsal: Rehearsal) -> Iterator[tuple[Address, int, Purpose]]:
    """Yield every address that is not open anyway and that the rehearsal's files name."""
    shut = OutboundRules()
    for url, purpose in _urls(rehearsal):
        try:
            found = destination_of(url)
        except OutboundRefused:
            # Its first call says what is wrong with it.
            continue
        for address in _addresses(found):
            if not never(address) and shut.refusal(address, found.port, purpose):
                yield unmapped(address), found.port, purpose


def _urls(rehearsal: Rehearsal) -> Iterator[tuple[str, Purpose]]:
    text = rehearsal.deployers_file.read_text(encoding="utf-8")
    spec = load_deployers(text, environ=secret_environ())[rehearsal.deployer]
    if spec.base_url:
        yield spec.base_url, "deployers"
    known = load_dictionary(rehearsal.dictionary_file.read_text(encoding="utf-8"))
    for source in known.sources.values():
        if "url" in source.options:
            yield str(source.options["url"]), "metrics"


def _addresses(found: Destination) -> list[Address]:
    if found.address is not None:
        return [found.address]
    try:
        infos = socket.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    except OSError:
        # A name that leads nowhere is told by the first call.
        return []
    return [ip_address(str(info[4][0]).partition("%")[0]) for info in infos]

"""outbound.yaml -> OutboundRules, or every problem of the file with its line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final

from plans.policies.yaml_nodes import MapNode, Node, Problem, ScalarNode, read_nodes
from plans.policies.yaml_section import Section, clipped
from upgradeconsole.outbound.addresses import Network, is_mixed, is_never
from upgradeconsole.outbound.openings import PURPOSES, Opening, OutboundRules, Purpose

MAX_BYTES: Final = 262_144
MOST_OPENINGS: Final = 500
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PURPOSE_RULE = f"write {', '.join(PURPOSES[:-1])} or {PURPOSES[-1]}, or a list of them"


class OutboundRejected(Exception):
    """The file cannot be used; problems says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


def load_outbound(text: str, *, file: str) -> OutboundRules:
    """Return the rules that the text writes down; `file` names it in sentences.

    Raises OutboundRejected.
    """
    root, problems = read_nodes(text, max_bytes=MAX_BYTES)
    if root is None and not problems:
        return OutboundRules(file)
    top = Section(root or MapNode(1), "", problems, keys=("allow", "ca_file", "search_domains"))
    openings = [
        _opening(Section(node, path, problems, keys=("cidr", "ports", "purpose", "note")))
        for node, path in _entries(top)
    ]
    rules = OutboundRules(
        file=file,
        openings=tuple(opening for opening in openings if opening is not None),
        ca_file=top.text("ca_file"),
        search_domains=top.flag("search_domains", False),
    )
    if problems:
        raise OutboundRejected(problems)
    return rules


def _entries(top: Section) -> list[tuple[Node, str]]:
    entry = top.entries.get("allow")
    if entry is not None and isinstance(entry.node, ScalarNode) and entry.node.is_null:
        # All lines under it are comments: nothing is opened.
        return []
    return top.items("allow", most=MOST_OPENINGS)


def _opening(section: Section) -> Opening | None:
    section.require("cidr", "ports", "purpose")
    network = _network(section)
    ports = _ports(section)
    purposes = _purposes(section)
    note = section.text("note", most=200)
    if network is None or not ports or not purposes:
        return None
    return Opening(network, ports, purposes, note)


def _network(section: Section) -> Network | None:
    node = section.scalar("cidr")
    if node is None:
        return None
    try:
        network = ip_network(node.text)
    except ValueError:
        section.note(
            node.line,
            "cidr",
            f"'{clipped(node.text)}' is no network; write one such as 10.20.0.0/16, with no bits"
            " set behind its length",
        )
        return None
    if is_never(network):
        section.note(
            node.line,
            "cidr",
            f"{network} is never opened: link-local, metadata, multicast, unspecified and"
            " reserved addresses stay shut; remove it",
        )
        return None
    if is_mixed(network):
        section.note(
            node.line,
            "cidr",
            f"{network} holds public and private addresses; write the private networks each by"
            " itself",
        )
        return None
    return network


def _listed(section: Section, key: str) -> list[tuple[Node, str]]:
    """Return the items of a list, or the one value that stands for a list of one."""
    node = section.node(key)
    if isinstance(node, ScalarNode):
        return [(node, f"{section.path}.{key}")]
    return section.items(key, most=50)


def _ports(section: Section) -> tuple[tuple[int, int], ...]:
    ports = []
    for node, path in _listed(section, "ports"):
        found = _PORTS.fullmatch(node.text) if isinstance(node, ScalarNode) else None
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= low <= high <= 65_535:
            message = 'write ports from 1 to 65535, such as [9090, "9700-9799"]'
            section.problems.append(Problem(node.line, path, message))
        else:
            ports.append((low, high))
    return tuple(ports)


def _purposes(section: Section) -> tuple[Purpose, ...]:
    purposes: list[Purpose] = []
    for node, path in _listed(section, "purpose"):
        meant = [p for p in PURPOSES if isinstance(node, ScalarNode) and p == node.text]
        if not meant:
            said = f"'{clipped(node.text)}'" if isinstance(node, ScalarNode) else "this"
            section.problems.append(
                Problem(node.line, path, f"{said} is no purpose; {_PURPOSE_RULE}")
            )
        purposes += meant
    return tuple(dict.fromkeys(purposes))

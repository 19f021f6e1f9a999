"""Which roles the identity provider may give: values of one claim, each for a time (YAML)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

CONSOLE, APPROVAL = "console", "approval"
MAPPABLE = ("viewer", "operator", "release_manager", "approver", "auditor")
KEYS = frozenset({"value", "role", "approval_role", "hours", "selector"})
DEFAULT_HOURS, MOST_HOURS = 24, 24 * 31


class MappingRejected(Exception):
    """The file cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Who has the value in the claim holds the role, for so many hours after each log-in."""

    value: str
    kind: str
    role: str
    hours: float
    selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleMapping:
    """The claim that is read, and its rules."""

    claim: str
    rules: tuple[RoleRule, ...]

    def granted(self, claims: Mapping[str, Any]) -> list[RoleRule]:
        """Return the rules that hold for these claims, the first for each role."""
        held = claims.get(self.claim, [])
        values = {held} if isinstance(held, str) else _texts(held)
        granted: dict[tuple[str, str], RoleRule] = {}
        for rule in self.rules:
            if rule.value in values:
                granted.setdefault((rule.kind, rule.role), rule)
        return list(granted.values())


def _texts(held: object) -> set[str]:
    return {one for one in held if isinstance(one, str)} if isinstance(held, list) else set()


def parse_mapping(text: str) -> RoleMapping:
    """Return the mapping; raise MappingRejected with every problem at once."""
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MappingRejected([f"this is no YAML: {error}"]) from error
    if not isinstance(given, dict) or not isinstance(given.get("roles"), list):
        raise MappingRejected(["write `claim: NAME` and `roles:` with a list of rules"])
    problems = [f"{key}: not known; claim and roles are" for key in given if key not in _TOP]
    claim = given.get("claim")
    if not isinstance(claim, str) or not claim.strip():
        problems.append("claim: write the name of the claim that lists a person's groups")
    rules = []
    for number, entry in enumerate(given["roles"], start=1):
        found = _problems(entry)
        problems += [f"roles[{number}]: {problem}" for problem in found]
        if not found:
            rules.append(_rule(entry))
    if problems:
        raise MappingRejected(problems)
    return RoleMapping(str(claim), tuple(rules))


_TOP = frozenset({"claim", "roles"})


def _problems(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["a rule is written {value: GROUP, role: ROLE}"]
    possible = ", ".join(sorted(KEYS))
    problems = [f"{key}: not known; possible: {possible}" for key in entry if key not in KEYS]
    if not isinstance(entry.get("value"), str) or not entry["value"]:
        problems.append("value: write the claim's value that gives the role")
    if ("role" in entry) == ("approval_role" in entry):
        problems.append("write either role or approval_role")
    problems += _role_problems(entry)
    hours = entry.get("hours", DEFAULT_HOURS)
    number = isinstance(hours, (int, float)) and not isinstance(hours, bool)
    if not number or not 0 < hours <= MOST_HOURS:
        problems.append(f"hours: a number above 0, {MOST_HOURS} at most")
    selector = entry.get("selector", {})
    if not isinstance(selector, dict) or not all(
        isinstance(part, str) for pair in selector.items() for part in pair
    ):
        problems.append('selector: write labels as {region: "eu"}')
    return problems


def _role_problems(entry: dict[str, Any]) -> list[str]:
    role = entry.get("role")
    if "role" in entry and role == "administrator":
        return ["role: administrators are made in the console, not by the identity provider"]
    if "role" in entry and role not in MAPPABLE:
        return [f"role: {role!r} is not one of {', '.join(MAPPABLE)}"]
    label = entry.get("approval_role")
    if "approval_role" in entry and (not isinstance(label, str) or not label):
        return ["approval_role: write the label that policies name"]
    return []


def _rule(entry: dict[str, Any]) -> RoleRule:
    return RoleRule(
        value=entry["value"],
        kind=CONSOLE if "role" in entry else APPROVAL,
        role=str(entry.get("role") or entry.get("approval_role")),
        hours=float(entry.get("hours", DEFAULT_HOURS)),
        selector=dict(entry.get("selector", {})),
    )

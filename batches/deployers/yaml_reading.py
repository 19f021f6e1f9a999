"""Read a YAML mapping key by key, remembering the line of everything and all problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

_LARGEST: Final = 200_000
_DEEPEST: Final = 20
_PLAIN: Final = frozenset(f"tag:yaml.org,2002:{tag}" for tag in ("str", "int", "float", "bool"))
_NULL: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where, and what to write instead."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.path}" if self.path else f"line {self.line}"
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Place:
    """A node with its path from the top of the file, and its key where it has one."""

    node: yaml.Node
    path: str
    key: yaml.Node | None = None

    @property
    def line(self) -> int:
        """Return the line as an editor counts it."""
        return int((self.key or self.node).start_mark.line) + 1


class Reader:
    """Collects problems while values are taken out; a value with a problem comes out as None."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def compose(self, text: str) -> Place | None:
        """Return the top of the document."""
        if len(text) > _LARGEST:
            self.problems.append(Problem(1, "", f"the file is longer than {_LARGEST} characters"))
            return None
        try:
            for token in yaml.scan(text, Loader=yaml.SafeLoader):
                if isinstance(token, yaml.AliasToken):
                    # Aliases let a short file unfold into a huge or an endless one.
                    line = token.start_mark.line + 1
                    self.problems.append(
                        Problem(line, "", f"aliases (*{token.value}) are not taken; write it out")
                    )
            node = None if self.problems else yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            self.problems.append(Problem(line, "", f"not YAML: {error.problem}"))
            return None
        except yaml.YAMLError as error:
            self.problems.append(Problem(1, "", f"not YAML: {error}"))
            return None
        except RecursionError:
            self.problems.append(Problem(1, "", "nested too deeply"))
            return None
        if node is None and not self.problems:
            self.problems.append(Problem(1, "", "the file is empty"))
        return None if node is None else Place(node, "")

    def complain(self, place: Place, message: str) -> None:
        """Remember a problem at the place."""
        self.problems.append(Problem(place.line, place.path, message))

    def mapping(self, place: Place) -> dict[str, Place] | None:
        """Return the places by key; complain about anything that is no mapping of texts."""
        if not isinstance(place.node, yaml.MappingNode):
            self.complain(place, "must be a mapping (key: value)")
            return None
        found: dict[str, Place] = {}
        for key, value in place.node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(Place(key, place.path), "a key must be a plain text")
                continue
            name = str(key.value)
            path = f"{place.path}.{name}" if place.path else name
            if name in found:
                self.complain(Place(key, path), "is written twice; keep one")
            found[name] = Place(value, path, key)
        return found

    def keys(
        self, place: Place, *, required: Sequence[str] = (), optional: Sequence[str] = ()
    ) -> dict[str, Place]:
        """Return the known keys' places; complain of unknown and missing ones by name."""
        found = self.mapping(place)
        if found is None:
            return {}
        known = [*required, *optional]
        for name, child in found.items():
            if name not in known:
                self.complain(child, f"unknown key; known here: {', '.join(known)}")
        for name in required:
            if name not in found:
                self.complain(place, f"{name} is missing")
        return {name: child for name, child in found.items() if name in known}

    def text(self, place: Place) -> str | None:
        """Return a text that is not empty."""
        value = self.value(place)
        if isinstance(value, str) and value:
            return value
        if value is not None or not self._complained(place):
            self.complain(place, "must be a text; put it in quotes")
        return None

    def number(self, place: Place, *, least: float, most: float) -> float | None:
        """Return a number within the bounds."""
        value = self.value(place)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
        ):
            return float(value)
        self.complain(place, f"must be a number from {least:g} to {most:g}")
        return None

    def whole(self, place: Place, *, least: int, most: int) -> int | None:
        """Return a whole number within the bounds."""
        value = self.value(place)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.complain(place, f"must be a whole number from {least} to {most}")
        return None

    def items(self, place: Place) -> list[Place]:
        """Return the places of a list that is not empty."""
        if not isinstance(place.node, yaml.SequenceNode) or not place.node.value:
            self.complain(place, "must be a list with at least one entry")
            return []
        return [Place(node, f"{place.path}[{i}]") for i, node in enumerate(place.node.value)]

    def value(self, place: Place, depth: int = 0) -> object:
        """Return the place as JSON would have it."""
        if depth > _DEEPEST:
            self.complain(place, f"nested deeper than {_DEEPEST} levels")
            return None
        if isinstance(place.node, yaml.MappingNode):
            found = self.mapping(place) or {}
            return {name: self.value(child, depth + 1) for name, child in found.items()}
        if isinstance(place.node, yaml.SequenceNode):
            return [
                self.value(Place(node, f"{place.path}[{i}]"), depth + 1)
                for i, node in enumerate(place.node.value)
            ]
        if place.node.tag == _NULL:
            return None
        if place.node.tag not in _PLAIN:
            self.complain(place, "must be a text, number, true, false or null; quote a date")
            return None
        try:
            scalar: object = SafeConstructor().construct_object(place.node)
        except (ConstructorError, ValueError, KeyError):
            self.complain(place, "cannot be read; put it in quotes")
            return None
        return scalar

    def _complained(self, place: Place) -> bool:
        return any(p.path == place.path and p.line == place.line for p in self.problems)

"""Read one mapping of a YAML file key by key; everything wrong is noted with line and path.

A reader always returns a value of its type, the default when the text is wrong: the caller looks
at the problems at the end and throws all values away if there is one.
"""

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from plans.policies.yaml_nodes import (
    Entry,
    ListNode,
    MapNode,
    Node,
    Problem,
    RefusedNode,
    ScalarNode,
)

NO_FALSE_GUARD = "so that nobody relies on a guard that is not there"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAME_RULE = "write letters, digits, '.', '_' or '-' (at most 63, the first a letter or digit)"
KPI = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
KPI_RULE = "write a Kpi name such as error_rate (letters, digits, '_', '.', ':' and '-')"

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smh]?)", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def nearest(word: str, possible: Iterable[str]) -> str | None:
    """Return the possible word that was probably meant, or None."""
    found = difflib.get_close_matches(word, list(possible), n=1, cutoff=0.6)
    return found[0] if found else None


def number_in(text: str) -> float | None:
    """Return the finite number that the text is, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def shown(value: float) -> str:
    """Return a number without a needless '.0'."""
    return f"{value:g}"


class Section:
    """One mapping at `path`; `read` says whether there was one to read."""

    def __init__(
        self,
        node: Node,
        path: str,
        problems: list[Problem],
        *,
        keys: Collection[str] | None,
        unenforced: Collection[str] = (),
    ) -> None:
        """Take the mapping and refuse every key that is not one of `keys` (None = any)."""
        self.path = path
        self.line = node.line
        self.problems = problems
        self.entries: Mapping[str, Entry] = {}
        self.read = isinstance(node, MapNode)
        if isinstance(node, MapNode):
            self.entries = node.entries
        elif not isinstance(node, RefusedNode):
            wanted = f"keys such as {', '.join(sorted(keys))}" if keys else "name: value pairs"
            self.note(node.line, "", f"write a mapping here, with {wanted}")
        if keys is not None:
            self._refuse_unknown(keys, unenforced)

    def note(self, line: int, key: str, message: str) -> None:
        """Note a problem of the key (or of the whole section, with an empty key)."""
        path = f"{self.path}.{key}" if self.path and key else self.path or key
        self.problems.append(Problem(line, path, message))

    def _refuse_unknown(self, keys: Collection[str], unenforced: Collection[str]) -> None:
        for key, entry in self.entries.items():
            if key in unenforced:
                self.note(
                    entry.line,
                    key,
                    f"'{key}' is known but not enforced by this version; remove it, "
                    + NO_FALSE_GUARD,
                )
            elif key not in keys:
                meant = nearest(key, keys)
                advice = (
                    f"did you mean '{meant}'?"
                    if meant
                    else f"possible here: {', '.join(sorted(keys))}"
                )
                self.note(entry.line, key, f"'{key}' is not a key of this place; {advice}")

    def node(self, key: str) -> Node | None:
        """Return the node of an optional key; None when absent, empty or reported already."""
        entry = self.entries.get(key)
        if entry is None or isinstance(entry.node, RefusedNode):
            return None
        if isinstance(entry.node, ScalarNode) and entry.node.is_null:
            self.note(entry.line, key, "nothing is written here; write a value or remove the key")
            return None
        return entry.node

    def require(self, *keys: str, why: str = "") -> None:
        """Note every one of the keys that is absent."""
        for key in keys:
            if self.read and key not in self.entries:
                self.note(self.line, key, f"'{key}' is missing; add it{why}")

    def child(
        self, key: str, *, keys: Collection[str] | None, unenforced: Collection[str] = ()
    ) -> "Section":
        """Return the section under the key; an empty one when the key is absent."""
        node = self.node(key)
        return Section(
            MapNode(self.line) if node is None else node,
            f"{self.path}.{key}" if self.path else key,
            self.problems,
            keys=keys,
            unenforced=unenforced,
        )

    def items(self, key: str, *, most: int) -> list[tuple[Node, str]]:
        """Return the (node, path) of each item of a list; empty when absent."""
        node = self.node(key)
        if node is None:
            return []
        path = f"{self.path}.{key}" if self.path else key
        if not isinstance(node, ListNode):
            self.note(node.line, key, "write a list here: [one, two] or lines that begin with '-'")
            return []
        if len(node.items) > most:
            self.note(node.line, key, f"{len(node.items)} entries; write at most {most}")
            return []
        return [
            (item, f"{path}[{index}]")
            for index, item in enumerate(node.items)
            if not isinstance(item, RefusedNode)
        ]

    def scalar(self, key: str) -> ScalarNode | None:
        """Return the plain value of a key; None when absent or wrong."""
        node = self.node(key)
        if node is None or isinstance(node, ScalarNode):
            return node
        self.note(node.line, key, "write a single value here, not a list or mapping")
        return None

    def text(self, key: str, default: str = "", *, most: int = 2000) -> str:
        """Return free text."""
        node = self.scalar(key)
        if node is None:
            return default
        if len(node.text) > most:
            self.note(node.line, key, f"{len(node.text)} characters; write at most {most}")
        return node.text

    def name(
        self,
        key: str,
        default: str = "",
        *,
        form: re.Pattern[str] = NAME,
        rule: str = NAME_RULE,
    ) -> str:
        """Return a name that fits the form."""
        node = self.scalar(key)
        if node is None:
            return default
        if not form.fullmatch(node.text):
            self.note(node.line, key, f"'{clipped(node.text)}' is not a name; {rule}")
        return node.text

    def names(
        self, key: str, *, form: re.Pattern[str], rule: str, most: int = 100
    ) -> tuple[str, ...]:
        """Return a list of different names."""
        names: list[str] = []
        for node, path in self.items(key, most=most):
            if not isinstance(node, ScalarNode) or not form.fullmatch(node.text):
                written = f"'{clipped(node.text)}'" if isinstance(node, ScalarNode) else "this"
                self.problems.append(Problem(node.line, path, f"{written} is not a name; {rule}"))
            elif node.text in names:
                message = f"'{node.text}' stands in the list twice; remove one"
                self.problems.append(Problem(node.line, path, message))
            else:
                names.append(node.text)
        return tuple(names)

    def choice(
        self,
        key: str,
        default: str,
        possible: Sequence[str],
        *,
        unenforced: Collection[str] = (),
    ) -> str:
        """Return one of the possible words."""
        node = self.scalar(key)
        if node is None or node.text in possible:
            return default if node is None else node.text
        if node.text in unenforced:
            message = (
                f"'{key}: {node.text}' is known but not enforced by this version; "
                f"remove it or write {' or '.join(possible)}, " + NO_FALSE_GUARD
            )
        else:
            meant = nearest(node.text, possible)
            advice = f"did you mean '{meant}'?" if meant else f"write {' or '.join(possible)}"
            message = f"'{clipped(node.text)}' is not possible here; {advice}"
        self.note(node.line, key, message)
        return default

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        node = self.scalar(key)
        if node is None:
            return default
        if node.text.lower() not in ("true", "false"):
            self.note(
                node.line, key, f"'{clipped(node.text)}' is not possible; write true or false"
            )
        return node.text.lower() == "true"

    def optional_number(self, key: str, *, low: float, high: float, above: bool) -> float | None:
        """Return a finite number from low (excluded when `above`) to high; None when absent."""
        node = self.scalar(key)
        if node is None:
            return None
        return self._within(key, node, number_in(node.text), low, high, above, "number")

    def number(
        self, key: str, default: float, *, low: float = 0, high: float, above: bool = False
    ) -> float:
        """Return a number as `optional_number` does, or the default."""
        value = self.optional_number(key, low=low, high=high, above=above)
        return default if value is None else value

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        node = self.scalar(key)
        if node is None:
            return default
        value = float(node.text) if _WHOLE.fullmatch(node.text) else None
        return int(self._within(key, node, value, low, high, False, "whole number"))

    def duration(
        self, key: str, default: float, *, low: float = 0, high: float, above: bool = False
    ) -> float:
        """Return seconds, written as a number of seconds or as 90s, 5m, 1h."""
        node = self.scalar(key)
        if node is None:
            return default
        match = _DURATION.fullmatch(node.text)
        if match is None:
            message = (
                f"'{clipped(node.text)}' is not a duration; "
                "write seconds as a number, or 90s, 5m or 1h"
            )
            self.note(node.line, key, message)
            return default
        value = float(match.group(1)) * _SECONDS[match.group(2)]
        return self._within(key, node, value, low, high, above, "duration in seconds")

    def _within(
        self,
        key: str,
        node: ScalarNode,
        value: float | None,
        low: float,
        high: float,
        above: bool,
        what: str,
    ) -> float:
        if value is not None and low <= value <= high and not (above and value == low):
            return value
        least = "above" if above else "from"
        self.note(
            node.line,
            key,
            f"'{clipped(node.text)}' is not possible; "
            f"write a {what} {least} {shown(low)} to {shown(high)}",
        )
        return high


def clipped(text: str) -> str:
    """Return the text, cut where a message would become unreadable."""
    return text if len(text) <= 60 else f"{text[:57]}..."

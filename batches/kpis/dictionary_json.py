"""Read JSON value by value, with the path of everything and all problems at once."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_LARGEST: Final = 1_000_000
_LONGEST_TEXT: Final = 4_000
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: where in the file, and what to write instead."""

    path: str
    message: str
    line: int = 0
    """The line of the file, 0 where it is not known."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def nearest(word: str, words: Iterable[str]) -> str:
    """Return " - did you mean 'x'?" for the likeliest of the words, else nothing."""
    likely = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" - did you mean '{likely[0]}'?" if likely else ""


def listed(words: Iterable[str]) -> str:
    """Return the words as a sentence names them."""
    return ", ".join(words) or "none"


@dataclass(frozen=True, slots=True)
class Place:
    """An object of the file; what is wrong with what is taken out of it is noted once."""

    values: Mapping[str, Any]
    path: str
    problems: list[Problem]

    def at(self, key: str) -> str:
        """Return the path of a key of this object."""
        return f"{self.path}.{key}" if self.path else key

    def note(self, key: str, message: str) -> None:
        """Remember a problem with a key, or with the object as a whole."""
        self.problems.append(Problem(self.at(key) if key else self.path, message))

    def only(self, *keys: str) -> None:
        """Refuse every other key by its name."""
        for key in self.values:
            if key not in keys:
                hint = nearest(key, keys)
                self.note(key, f"unknown key{hint or f'; the keys are {listed(keys)}'}")

    def text(
        self,
        key: str,
        *,
        form: re.Pattern[str] | None = None,
        rule: str = "",
        default: str | None = None,
    ) -> str:
        """Return a text; without a default it must be there."""
        value = self.values.get(key, _ABSENT)
        if value is _ABSENT:
            if default is None:
                self.note(key, f"is missing; {rule or 'write a text'}")
            return default or ""
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_TEXT:
            self.note(key, rule or f"write a text of 1 to {_LONGEST_TEXT} characters in quotes")
            return default or ""
        if form is not None and not form.fullmatch(value):
            self.note(key, f"'{value[:60]}' cannot be used; {rule}")
            return default or ""
        return value

    def choice(self, key: str, words: Sequence[str], *, default: str | None = None) -> str:
        """Return one of the words."""
        value = self.values.get(key, default if default is not None else _ABSENT)
        if isinstance(value, str) and value in words:
            return value
        said = "is missing" if value is _ABSENT else f"{json.dumps(value)[:60]} cannot be used"
        hint = nearest(value, words) if isinstance(value, str) else ""
        self.note(key, f"{said}; write one of {listed(words)}{hint}")
        return default or ""

    def number(self, key: str, *, above: float, below: float) -> float | None:
        """Return a number strictly between the two, or None where the key is absent."""
        if key not in self.values:
            return None
        value = as_number(self.values[key])
        if value is None or not above < value < below:
            self.note(key, f"write a number above {above:g} and below {below:g}")
            return None
        return value

    def child(self, key: str) -> Place | None:
        """Return an object inside this one, None where it is absent or not an object."""
        if key not in self.values:
            return None
        value = self.values[key]
        if not isinstance(value, dict):
            self.note(key, "write an object {...}")
            return None
        return Place(value, self.at(key), self.problems)

    def items(self, key: str) -> list[Place]:
        """Return the objects of a list."""
        places = []
        for index, value in enumerate(self.sequence(key)):
            path = f"{self.at(key)}[{index}]"
            if isinstance(value, dict):
                places.append(Place(value, path, self.problems))
            else:
                self.problems.append(Problem(path, "write an object {...}"))
        return places

    def sequence(self, key: str) -> list[Any]:
        """Return a list, empty where it is absent."""
        value = self.values.get(key, [])
        if isinstance(value, list):
            return value
        self.note(key, "write a list [...]")
        return []


def as_number(value: object) -> float | None:
    """Return a finite number, None for anything else; true is not 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_object(text: str, problems: list[Problem]) -> Place | None:
    """Return the top object of a JSON text; keys written twice are problems."""
    if len(text) > _LARGEST:
        problems.append(Problem("", f"the file is longer than {_LARGEST} characters"))
        return None

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        problems.extend(
            Problem(key, "is written twice in one object; keep one of them")
            for key in sorted({key for key in keys if keys.count(key) > 1})
        )
        return dict(pairs)

    try:
        top = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        problems.append(Problem("", f"not JSON at {where}: {error.msg}"))
        return None
    except RecursionError:
        problems.append(Problem("", "objects and lists are nested too deeply"))
        return None
    if not isinstance(top, dict):
        problems.append(Problem("", "write one object {...} around everything"))
        return None
    return Place(top, "", problems)

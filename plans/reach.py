"""How far a right reaches: over which tenants, told by the labels that they carry.

A reach is made of selectors. A selector covers the tenants that carry all of its labels, an empty
one covers every tenant, and what one of the selectors covers, the reach covers. A selector that
cannot be read covers nobody: a slip of the pen must not open doors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Labels = frozenset[tuple[str, str]]


def _readable(selector: object) -> Labels | None:
    if not isinstance(selector, Mapping) or selector_problems(selector):
        return None
    return frozenset(selector.items())


def selector_problems(selector: Mapping[Any, Any]) -> list[str]:
    """Return what is wrong with a selector; nothing for the empty one, which means all tenants."""
    problems = []
    for name, value in selector.items():
        if not isinstance(name, str) or not name or name.isdigit():
            problems.append(f'selector: {name!r} is no label\'s name; write {{"region": "eu"}}')
        elif not isinstance(value, str) or not value:
            problems.append(f'selector: {name} needs a text as its value, like {{"{name}": "eu"}}')
    return problems


def selector_words(selector: Mapping[str, str]) -> str:
    """Return the selector as people read it."""
    pairs = ", ".join(f"{name}={value}" for name, value in sorted(selector.items()))
    return pairs or "all tenants"


@dataclass(frozen=True, slots=True)
class Reach:
    """The tenants over which something holds."""

    selectors: frozenset[Labels]

    @classmethod
    def of(cls, selectors: Iterable[object]) -> "Reach":
        """Return the reach of selectors as they are stored."""
        readable = {labels for one in selectors if (labels := _readable(one)) is not None}
        # What an emptier selector covers already needs no second mention.
        return cls(frozenset(one for one in readable if not any(other < one for other in readable)))

    @property
    def everything(self) -> bool:
        """Tell whether it is every tenant, those to come included."""
        return frozenset() in self.selectors

    @property
    def nothing(self) -> bool:
        """Tell whether it is nobody."""
        return not self.selectors

    def covers(self, labels: Mapping[str, Any]) -> bool:
        """Tell whether a tenant with these labels is covered.

        So is then every tenant that carries them, whatever else it carries: a freeze or a choice of
        tenants by labels is inside a reach that covers its labels.
        """
        return any(
            all(labels.get(name) == value for name, value in selector)
            for selector in self.selectors
        )

    def narrowed(self, selector: object) -> "Reach":
        """Return what is left of the reach inside one more selector."""
        wanted = _readable(selector)
        if wanted is None:
            return NOTHING
        both = [one | wanted for one in self.selectors]
        # Two values for one label: no tenant carries both.
        return Reach.of(dict(labels) for labels in both if len(dict(labels)) == len(labels))

    def words(self) -> str:
        """Return the reach as people read it."""
        if self.nothing:
            return "no tenants"
        return " or ".join(sorted(selector_words(dict(one)) for one in self.selectors))


NOTHING = Reach(frozenset())
EVERYTHING = Reach(frozenset({frozenset()}))

"""What a fit probe finds: how bad, in a sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

Level = Literal["fine", "note", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("fine", "note", "warning", "error")
NO_ANSWER: Final = "no_answer"
"""The kind of the finding that the source gave nothing at all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: an error keeps plans from being submitted.

    A note is only shown beside the mapping, a warning also where a plan is previewed.
    """

    kind: str
    level: Level
    sentence: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}; {self.advice}" if self.advice else self.sentence

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON."""
        return {
            "kind": self.kind,
            "level": self.level,
            "sentence": self.sentence,
            "advice": self.advice,
        }


def finding_of(kept: Mapping[str, Any]) -> Finding:
    """Return the finding that to_json made."""
    return Finding(
        str(kept["kind"]), cast(Level, kept["level"]), str(kept["sentence"]), str(kept["advice"])
    )


def worst(findings: Iterable[Finding]) -> Level:
    """Return the highest level among them."""
    return max((one.level for one in findings), key=LEVELS.index, default="fine")


def some(names: Iterable[str], *, most: int = 5) -> str:
    """Return a few of the names as a sentence names them."""
    every = [_presentable(name) for name in sorted(names)]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _presentable(name: str) -> str:
    # Labels of a source are anybody's text.
    return "".join(mark if mark.isprintable() else "?" for mark in name[:63])

"""One change between two policies, and which way it goes."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Direction = Literal["tighter", "looser", "neutral"]
Judge = Callable[[Any, Any], Direction]

AGAIN = "let this plan end or roll it back, and plan again"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would read differently; several may share a path and change only together."""

    path: str
    what: str
    before: str
    after: str
    direction: Direction

    @property
    def sentence(self) -> str:
        """Return the change as one sentence."""
        return f"{self.what}: {self.before} → {self.after}: {self.direction}"

    def to_json(self) -> dict[str, str]:
        """Return JSON values, the sentence among them."""
        return {**asdict(self), "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the plan is: how many of the policy's batches stand, and which are over."""

    begun: int = 0
    over: frozenset[str] = frozenset()


def lower(before: float, after: float) -> Direction:
    """Return what a change means where lower is tighter."""
    return "tighter" if after < before else "looser"


def fewer(before: int | None, after: int | None) -> Direction:
    """Return what a change means where lower is tighter and None is no bound at all."""
    return lower(*(math.inf if bound is None else bound for bound in (before, after)))


def higher(before: float, after: float) -> Direction:
    """Return what a change means where higher is tighter."""
    return "tighter" if after > before else "looser"


def either_way(before: object, after: object) -> Direction:
    """Return what a change means where both ways can let something by."""
    return "looser"


def ranked(*loosest_first: object) -> Judge:
    """Return how words compare that go from the loosest to the tightest."""

    def judged(before: object, after: object) -> Direction:
        if before not in loosest_first or after not in loosest_first:
            return "looser"
        return higher(loosest_first.index(before), loosest_first.index(after))

    return judged

"""What comes next in a drill within a plan: one tenant back and forward again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Step = Literal["begin", "run", "restored", "undo", "passed", "failed"]

RUN_STATES: dict[str, tuple[str, ...]] = {
    "back": ("upgraded", "restoring"),
    "forward": ("rolled_back", "upgrading", "unknown"),
    "undo": ("failed", "unknown", "restoring"),
}
"""In which states a phase of the drill still has something to call."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """The drilled tenant as it is: its state, and whether its attempts are used up."""

    tenant: str
    state: str
    exhausted: bool = False
    error: str = ""


def next_step(phase: str, drilled: Drilled) -> tuple[Step, str]:
    """Return what the drill does next and why; `run` as long as calls are to be made."""
    tenant, state = drilled.tenant, drilled.state
    why = f": {drilled.error}" if drilled.error else ""
    if phase == "back" and state == "rolled_back":
        return "restored", f"{tenant} is back"
    if phase == "forward" and state == "upgraded":
        return "passed", f"{tenant} is back and forward again"
    if phase == "forward" and (state == "failed" or (state == "unknown" and drilled.exhausted)):
        return "undo", f"{tenant} did not go forward again{why}"
    if phase == "undo" and state == "rolled_back":
        return "failed", f"{tenant} was taken back, did not go forward again and stays back{why}"
    if state in RUN_STATES.get(phase, ()):
        return "run", ""
    word = state.replace("_", " ")
    return "failed", f"{tenant} could not be taken back and is {word} now{why}"


def verdict(*, seconds: float, quote: float | None, limit: float) -> str:
    """Return what is wrong with the time of a restore, empty where nothing is."""
    if seconds > limit:
        return f"{seconds:.1f} s are more than the {limit:.0f} s that a rollback may take"
    if quote is not None and seconds > quote:
        return f"{seconds:.1f} s are more than the {quote:.0f} s that were quoted"
    return ""


def first_of(tenants: Sequence[tuple[int, str]]) -> str | None:
    """Return the tenant that is drilled: the first by its position; None where there is none."""
    return min(tenants)[1] if tenants else None

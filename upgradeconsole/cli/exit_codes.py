"""The exit codes of `powerx`: what a pipeline may branch on."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """How a command ended, as its caller sees it."""

    COMPLETED = 0
    ROLLED_BACK_OR_FAILED = 1
    NEEDS_HAND = 2
    TIMED_OUT = 3
    NOT_ALLOWED = 4
    BAD_INPUT = 5


ENDED = frozenset(
    {
        "completed",
        "stopped",
        "rolled_back",
        "needs_hand",
        "rejected",
        "expired",
        "cancelled",
        "archived",
    }
)


def outcome(plan: Mapping[str, Any]) -> ExitCode:
    """Return the exit code of a plan in the state it is in now; a plan still going is 0."""
    state = plan["state"]
    if state == "needs_hand":
        return ExitCode.NEEDS_HAND
    if state == "archived":
        counts = plan.get("counts", {})
        total, upgraded = sum(counts.values()), counts.get("upgraded", 0)
        succeeded = total > 0 and upgraded == total
        return ExitCode.COMPLETED if succeeded else ExitCode.ROLLED_BACK_OR_FAILED
    if state in ENDED and state != "completed":
        return ExitCode.ROLLED_BACK_OR_FAILED
    return ExitCode.COMPLETED

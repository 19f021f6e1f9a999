"""What the batch ladder and the counts strip draw: shares of 100 as plain numbers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batches.lifecycle import BATCH, TENANT_UPGRADE

LEAST_SHARE = 1.5
"""A share of the bar in percent below which nobody would see the one tenant in ten thousand."""


@dataclass(frozen=True, slots=True)
class Share:
    """One state's part of a bar: begins at `x`, `width` wide, of 100."""

    state: str
    label: str
    n: int
    x: float
    width: float


def shares(counts: Mapping[str, int], order: Sequence[str]) -> list[Share]:
    """Return the parts of a bar from left to right; they fill it, and each can be seen."""
    present = [(state, counts[state]) for state in order if counts.get(state)]
    total = sum(n for _state, n in present)
    if not total:
        return []
    widths = [max(LEAST_SHARE, 100 * n / total) for _state, n in present]
    scale = 100 / sum(widths)
    drawn: list[Share] = []
    x = 0.0
    for (state, n), width in zip(present, widths, strict=True):
        share = round(width * scale, 3)
        drawn.append(Share(state, TENANT_UPGRADE.states[state], n, round(x, 3), share))
        x += width * scale
    return drawn


BAR_ORDER = (
    "upgraded",
    "upgrading",
    "restoring",
    "rolled_back",
    "excluded",
    "unknown",
    "failed",
    "needs_hand",
    "pending",
)


def rungs(batches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the snapshot's batches with their bars, and how much of the soak is over."""
    first_pending = next((b["number"] for b in batches if b["state"] == "pending"), None)
    begun = BATCH.sources("begin_rollback")
    newest = max((b["number"] for b in batches if b["state"] in begun), default=None)
    return [
        {
            **batch,
            "shares": shares(batch["counts"], BAR_ORDER),
            "soaked": round(100 * (1 - batch["soak_left"] / batch["soak_seconds"]), 1)
            if batch["soak_seconds"]
            else 100.0,
            "is_next": batch["number"] == first_pending,
            "is_newest": batch["number"] == newest,
        }
        for batch in batches
    ]

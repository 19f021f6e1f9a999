"""How live plans are shared out over the watches that are alive: a pure function."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one watch takes and what it gives up now."""

    take: tuple[str, ...] = ()
    give_up: tuple[str, ...] = ()


def fair_share(
    *,
    watch: str,
    plans: Collection[str],
    mine: Collection[str],
    free: Collection[str],
    bound: Collection[str],
    watches: int,
) -> Share:
    """Return what the watch takes of the free plans and gives up of its own.

    Each watch has room for the plans divided by the watches, rounded up, so that together they
    have room for all. `bound` plans of its own are kept whatever the room: a rollback is not moved
    while it runs.
    """
    room = math.ceil(len(plans) / max(1, watches))
    held = [plan for plan in mine if plan in plans]
    ended = [plan for plan in mine if plan not in plans]
    surplus = max(0, len(held) - room)
    movable = sorted((p for p in held if p not in bound), key=lambda p: _likes(watch, p))
    wanted = sorted(free, key=lambda plan: _likes(watch, plan), reverse=True)
    return Share(
        take=tuple(wanted[: max(0, room - len(held))]),
        give_up=(*ended, *movable[:surplus]),
    )


def _likes(watch: str, plan: str) -> str:
    """Rank the plans differently for each watch, so that they do not all reach for the same."""
    return hashlib.sha256(f"{watch} {plan}".encode()).hexdigest()

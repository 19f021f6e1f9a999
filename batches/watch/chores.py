"""Chores that other apps ask the watch to do once a second: reports, mail, webhooks."""

from collections.abc import Callable
from datetime import datetime

Chore = Callable[[datetime], None]
CHORES: dict[str, Chore] = {}


def register(name: str, chore: Chore) -> None:
    """Add a chore; registering the same name again replaces it."""
    CHORES[name] = chore

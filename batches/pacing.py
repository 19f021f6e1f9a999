"""How far a batch is: its soak, its failures, and what can still be reached. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

UNFINISHED = ("pending", "upgrading")


def soak_left(left: float, counted_at: datetime | None, now: datetime, *, counting: bool) -> float:
    """Return the seconds of soak that remain; the clock runs only while `counting`."""
    if counted_at is None or not counting:
        return left
    return max(0.0, left - (now - counted_at).total_seconds())


def net_of_waiting(calling_since: datetime | None, waited_seconds: float) -> datetime | None:
    """Return from when the clock of calls runs, without the time in which a batch had to wait."""
    if calling_since is None:
        return None
    return calling_since + timedelta(seconds=waited_seconds)


def failures(counts: Mapping[str, int], unknown_to_retry: int = 0) -> int:
    """Return how many tenants of a batch did not make it.

    `unknown_to_retry`: unknown tenants that were only stopped and will be tried again.
    """
    good = counts.get("upgraded", 0) + sum(counts.get(state, 0) for state in UNFINISHED)
    return sum(counts.values()) - good - unknown_to_retry


def failure_rate(failed: int, size: int) -> float:
    """Return the share of failed tenants in percent."""
    return 100.0 * failed / size if size else 0.0


def best_success_rate(counts: Mapping[str, int], unknown_to_retry: int = 0) -> float:
    """Return the success rate in percent that the whole plan can still reach at best."""
    total = sum(counts.values())
    if not total:
        return 100.0
    return 100.0 * (total - failures(counts, unknown_to_retry)) / total


def overdue(since: datetime | None, minutes: float, now: datetime) -> bool:
    """Tell whether more than `minutes` have passed since."""
    return since is not None and now - since > timedelta(minutes=minutes)

"""How far a batch is: its soak, its failures, and what can still be reached. Pure."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

UNFINISHED = ("pending", "upgrading")
CLAIM_CHUNK = 100
"""How many tenants are claimed at once, at most."""
AHEAD_SECONDS = 0.1
"""For how long calls are written into the journal before a slot is free for them."""
ROUNDING = 1e-9
"""What binary fractions may add or take away: 7 % of 100 are 7 tenants, not 7.000000000000001."""


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


def failures(counts: Mapping[str, int], unknown_to_retry: int = 0, spared: int = 0) -> int:
    """Return how many tenants of a batch did not make it.

    `unknown_to_retry`: unknown tenants that were only stopped and will be tried again. `spared`:
    tenants that were taken back or left out although their upgrade never failed.
    """
    good = counts.get("upgraded", 0) + sum(counts.get(state, 0) for state in UNFINISHED)
    return sum(counts.values()) - good - unknown_to_retry - spared


def failure_rate(failed: int, size: int) -> float:
    """Return the share of failed tenants in percent."""
    return 100.0 * failed / size if size else 0.0


def allowed_failures(size: int, rate: float, number: int | None = None) -> int:
    """Return how many tenants of a batch may fail: the percentage, or the number where less.

    One more exceeds the budget: "exceeded" is strictly more than what is allowed.
    """
    by_rate = math.floor(size * rate / 100 + ROUNDING)
    return by_rate if number is None else min(by_rate, number)


def calls_allowed(parallelism: int, failed: int, allowed: int | None) -> int:
    """Return how many tenants of a batch may be under way at once; `allowed` None = no budget.

    All of them until the first failure is known; from then on no more than what is left of the
    budget, and at least one, so that a batch ends; none once the budget is exceeded.
    """
    if allowed is None or failed == 0:
        return parallelism
    if failed > allowed:
        return 0
    return max(1, min(parallelism, allowed - failed))


def claimed_ahead(width: int, *, back: bool = False) -> int:
    """Return how many tenants are claimed before a slot is free for them, of `width` slots.

    More on the way back: all of them go back, and nothing is lost when a claim comes early.
    """
    return min(CLAIM_CHUNK, width if back else max(1, width // 2))


def journalled_ahead(width: int, call_seconds: float) -> int:
    """Return how many calls may wait for one of `width` slots with their journal row written.

    As many as get a slot within 0.1 s, so that a stop finds few that were journalled for nothing:
    none where calls take long, and then the journal's milliseconds do not matter.
    """
    return int(min(width // 2, width * AHEAD_SECONDS / max(call_seconds, AHEAD_SECONDS)))


def most_failures(size: int, parallelism: int, allowed: int) -> int:
    """Return how many tenants of a batch can fail at worst before nothing more is called.

    Those that are claimed when the first failure becomes known can all fail; from then on the
    budget plus the one that exceeds it.
    """
    return min(size, max(parallelism + claimed_ahead(parallelism), allowed + 1))


def best_success_rate(
    counts: Mapping[str, int], unknown_to_retry: int = 0, left_out: int = 0
) -> float:
    """Return the success rate in percent that the whole plan can still reach at best.

    It is tenants on target of tenants attempted: `left_out` were never attempted and count
    neither for nor against it; who was taken back counts against it.
    """
    total = sum(counts.values()) - left_out
    if not total:
        return 100.0
    return 100.0 * (total - failures(counts, unknown_to_retry, left_out)) / total


def overdue(since: datetime | None, minutes: float, now: datetime) -> bool:
    """Tell whether more than `minutes` have passed since."""
    return since is not None and now - since > timedelta(minutes=minutes)

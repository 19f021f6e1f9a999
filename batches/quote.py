"""The rollback quote: how long bringing everything touched back takes in the worst case."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plans.policy import PAUSE_SECONDS

MEASURED_FROM_CALLS = 20
OVERHEAD_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Quote:
    """The quote in seconds with its terms; `limit` is what it must not exceed, in seconds.

    Not `reversible`: nothing is promised, and nothing gates the next batch.
    """

    seconds: float
    limit: float
    touched: int
    terms: tuple[tuple[str, float], ...]
    sentence: str
    reversible: bool = True

    @property
    def fits(self) -> bool:
        """Tell whether everything would be back in time."""
        return self.seconds <= self.limit


def expected_per_restore(durations: Sequence[float], count: int, configured: float) -> float:
    """Return the p95 of the measured seconds once 20 calls are known, `configured` before."""
    if count < MEASURED_FROM_CALLS or len(durations) < MEASURED_FROM_CALLS:
        return configured
    ordered = sorted(durations)
    return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]


def no_way_back(touched: int) -> Quote:
    """Return what is said in the place of a quote when the release cannot be taken back."""
    sentence = (
        "this release cannot be taken back: when something goes wrong the plan stops, and"
        " nothing is restored"
    )
    return Quote(0.0, 0.0, touched, (), sentence, reversible=False)


def rollback_quote(
    *,
    touched: int,
    parallelism: int,
    per_restore: float,
    call_timeout: float,
    rollback_seconds: float,
    pause_wait: float,
) -> Quote:
    """Return the quote for taking back `touched` tenants, `parallelism` at a time.

    After an unresumed pause only what its wait leaves of the 180 s is there, if that is less.
    """
    limit = min(rollback_seconds, PAUSE_SECONDS - pause_wait)
    if touched == 0:
        return Quote(0.0, limit, 0, (), "nothing is touched, nothing has to come back")
    rounds = math.ceil(touched / max(1, parallelism))
    terms = (
        (
            f"{rounds} round{'' if rounds == 1 else 's'} of up to {parallelism} restores"
            f" at {per_restore:.2f} s",
            rounds * per_restore,
        ),
        ("one call that times out", call_timeout),
        ("its retry", per_restore),
        ("forward calls that are applied late", 2 * call_timeout),
        ("overhead", OVERHEAD_SECONDS),
    )
    seconds = round(sum(value for _label, value in terms), 2)
    words = "fits into" if seconds <= limit else "exceeds"
    sentence = (
        f"{touched} tenants would be back within {seconds:.0f} s in the worst case; this {words}"
        f" the {limit:.0f} s that the promise leaves"
    )
    return Quote(seconds, limit, touched, terms, sentence)

"""What would make a plan that cannot be taken back in time fit: each answer tried before given.

Everything is computed by the quote itself: an advice is a changed way back whose quote fits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batches.quotes.quote import Quote, WayBack, rollback_quote
from plans.counted_words import counted

SHORTEST_CALL_TIMEOUT = 1.0
TIMEOUT_OVER_USUAL = 2.0
"""A time-out below twice a call's worst pace would cut off calls that only take their time."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One change that makes it fit: `key` names the setting, `value` what it would have to be."""

    key: str
    value: float
    seconds: float
    limit: float
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "key": self.key,
            "value": self.value,
            "seconds": self.seconds,
            "limit": self.limit,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """The quote after each batch, the first batch that would not fit (its place from 0), advice."""

    quotes: tuple[Quote, ...]
    first_over: int | None
    advice: tuple[Advice, ...]

    @property
    def fits(self) -> bool:
        """Tell whether the whole plan could be taken back in time."""
        return self.first_over is None


NO_FORECAST = Forecast((), None, ())


def forecast(way: WayBack, sizes: Sequence[int], *, touched: int = 0) -> Forecast:
    """Return the forecast for batches of these sizes after `touched` tenants."""
    quotes: list[Quote] = []
    total = touched
    first_over: int | None = None
    for place, size in enumerate(sizes):
        total += size
        quotes.append(rollback_quote(way, touched=total))
        if first_over is None and not quotes[-1].fits:
            first_over = place
    if first_over is None:
        return Forecast(tuple(quotes), None, ())
    at_first = touched + sum(sizes[: first_over + 1])
    return Forecast(
        tuple(quotes),
        first_over,
        # Only where nothing has begun is it the first batch that could be made smaller.
        advice(way, touched=total, first=at_first if first_over == 0 and not touched else None),
    )


def advice(way: WayBack, *, touched: int, first: int | None = None) -> tuple[Advice, ...]:
    """Return what would let `touched` tenants fit; nothing that does not help.

    `first`: the first batch alone is too large already, with so many tenants; then the size that it
    may have is said, else how many tenants one plan may have.
    """
    if rollback_quote(way, touched=touched).fits:
        return ()
    found = (
        _parallelism(way, touched),
        _tenants(way, touched, first),
        _call_timeout(way, touched),
        _pause_wait(way, touched),
    )
    return tuple(one for one in found if one is not None)


def _least(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the least number from `low` to `high` that fits, where more never fits less."""
    if low > high or not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def _parallelism(way: WayBack, touched: int) -> Advice | None:
    def fits(parallelism: int) -> bool:
        return rollback_quote(replace(way, parallelism=parallelism), touched=touched).fits

    wanted = _least(way.parallelism + 1, way.deployer_parallelism, fits)
    if wanted is None:
        return None
    quote = rollback_quote(replace(way, parallelism=wanted), touched=touched)
    return Advice(
        "limits.parallelism",
        wanted,
        quote.seconds,
        quote.limit,
        f"with parallelism {wanted} instead of {way.parallelism} it fits:"
        f" {quote.seconds:.0f} s of {quote.limit:.0f} s",
    )


def _tenants(way: WayBack, touched: int, first: int | None) -> Advice | None:
    whole = touched if first is None else first
    # Counted from the top, so that more of the searched number never fits less.
    less = _least(1, whole - 1, lambda cut: rollback_quote(way, touched=whole - cut).fits)
    if less is None:
        return None
    most = whole - less
    quote = rollback_quote(way, touched=most)
    share = 100 * most / touched
    if first is not None:
        words = (
            f"with at most {counted(most, 'tenant')} in the first batch ({share:.4g} % of the"
            f" plan) it could begin: {quote.seconds:.0f} s of {quote.limit:.0f} s"
        )
        return Advice("batches.percentage", most, quote.seconds, quote.limit, words)
    words = (
        f"at most {most} of its tenants ({share:.4g} %) may be touched at a time; with the others"
        f" in a plan of their own it fits: {quote.seconds:.0f} s of {quote.limit:.0f} s"
    )
    return Advice("tenants", most, quote.seconds, quote.limit, words)


def _call_timeout(way: WayBack, touched: int) -> Advice | None:
    # In tenths of a second, again counted from the top.
    top = int(way.call_timeout * 10)
    floor = max(SHORTEST_CALL_TIMEOUT, TIMEOUT_OVER_USUAL * way.restore.worst)

    def with_cut(cut: int) -> WayBack:
        return replace(way, call_timeout=(top - cut) / 10)

    cut = _least(
        1, top - int(floor * 10), lambda n: rollback_quote(with_cut(n), touched=touched).fits
    )
    if cut is None:
        return None
    shorter = with_cut(cut)
    if shorter.call_timeout < floor:
        return None
    quote = rollback_quote(shorter, touched=touched)
    return Advice(
        "limits.call_timeout_seconds",
        shorter.call_timeout,
        quote.seconds,
        quote.limit,
        f"with call_timeout_seconds {shorter.call_timeout:g} instead of {way.call_timeout:g} it"
        f" fits: {quote.seconds:.0f} s of {quote.limit:.0f} s",
    )


def _pause_wait(way: WayBack, touched: int) -> Advice | None:
    """Return how long a pause may wait for a person, where that wait is what is missing."""
    top = int(way.pause_wait)
    cut = _least(
        1,
        top,
        lambda n: rollback_quote(replace(way, pause_wait=top - n), touched=touched).fits,
    )
    if cut is None:
        return None
    quote = rollback_quote(replace(way, pause_wait=top - cut), touched=touched)
    return Advice(
        "rollback.on_manual_pause.rollback_after_seconds",
        top - cut,
        quote.seconds,
        quote.limit,
        f"with rollback_after_seconds {top - cut} instead of {way.pause_wait:g} the promise leaves"
        f" {quote.limit:.0f} s, and {quote.seconds:.0f} s fit",
    )

"""The rollback quote: how long bringing everything touched back takes, at worst and as usual.

The worst case gates batches; the expected time says what will most probably be measured. Why they
differ, and which waits run side by side: docs/quote.md.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plans.counted_words import counted
from plans.policies.policy import PAUSE_SECONDS

MEASURED_FROM_CALLS = 20
OVERHEAD_SECONDS = 2.0
USUAL_OVERHEAD_SECONDS = 0.5
LATE_CALL_TIMEOUTS = 2
"""A forward call may be applied until so many time-outs after it was sent."""
TENANTS_PER_SECOND = 100.0
"""What the console itself writes and reads back at worst, however fast the platform is."""
USUAL_TENANTS_PER_SECOND = 250.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that one call takes, at worst and as usual; `measured` calls stand behind it."""

    worst: float
    usual: float
    measured: int = 0


UNMEASURED = Pace(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class WayBack:
    """What taking tenants back depends on, beside their number.

    `parallelism` is what policy and deployer both allow, `deployer_parallelism` what all plans on
    this deployer share, `elsewhere` the tenants that other live plans on it would take back at the
    same time. `look` is the pace of one read-back; until it is measured it is a part of `restore`.
    Not `reversible`: the release cannot be taken back at all.
    """

    parallelism: int
    call_timeout: float
    rollback_seconds: float
    pause_wait: float
    restore: Pace
    look: Pace = UNMEASURED
    deployer_parallelism: int = 0
    elsewhere: int = 0
    reversible: bool = True

    @property
    def limit(self) -> float:
        """Return the seconds that the promise leaves: after an unresumed pause its wait is gone."""
        return min(self.rollback_seconds, PAUSE_SECONDS - self.pause_wait)

    @property
    def late_wait(self) -> float:
        """Return how long a forward call that was sent at the trigger may still be applied."""
        return LATE_CALL_TIMEOUTS * self.call_timeout


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
    expected_seconds: float = 0.0
    reversible: bool = True

    @property
    def fits(self) -> bool:
        """Tell whether everything would be back in time."""
        return self.seconds <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, as pages, REST and reports carry them."""
        return {
            "touched": self.touched,
            "reversible": self.reversible,
            "seconds": self.seconds if self.reversible else None,
            "expected_seconds": self.expected_seconds if self.reversible else None,
            "limit": self.limit if self.reversible else None,
            "fits": self.fits,
            "terms": [{"label": label, "seconds": value} for label, value in self.terms],
            "sentence": self.sentence,
        }


def no_way_back(touched: int) -> Quote:
    """Return what is said in the place of a quote when the release cannot be taken back."""
    sentence = (
        "this release cannot be taken back: when something goes wrong the plan stops, and"
        " nothing is restored"
    )
    return Quote(0.0, 0.0, touched, (), sentence, reversible=False)


def pace(durations: Sequence[float], count: int, configured: float) -> Pace:
    """Return the pace measured once 20 calls are known, `configured` before.

    At worst: the 95th percentile, or the mean where a few slow calls make up more than that.
    """
    if count < MEASURED_FROM_CALLS or len(durations) < MEASURED_FROM_CALLS:
        return Pace(configured, configured)
    ordered = sorted(durations)
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    worst = max(p95, statistics.fmean(ordered))
    return Pace(worst, statistics.median(ordered), count)


def rollback_quote(way: WayBack, *, touched: int, late_seconds: float = 0.0) -> Quote:
    """Return the quote for taking back `touched` tenants.

    `late_seconds`: how long forward calls that are known to be late may still be applied; the worst
    case assumes one that was sent at the trigger, the expected time only what is known.
    """
    if not way.reversible:
        return no_way_back(touched)
    if touched == 0:
        return Quote(0.0, way.limit, 0, (), "nothing is touched, nothing has to come back")
    rounds, shared = _rounds(way, touched)
    work = _work(way, touched, rounds, shared)
    worked = sum(value for _label, value in work)
    terms = [
        *work,
        ("longer wait for forward calls that are applied late", max(0.0, way.late_wait - worked)),
        ("one call that times out", way.call_timeout),
        ("its retry", way.restore.worst + way.look.worst),
        ("all of them read once more", rounds * way.look.worst),
        ("overhead", OVERHEAD_SECONDS),
    ]
    shown = tuple((label, round(value, 2)) for label, value in terms if round(value, 2) > 0)
    seconds = round(sum(value for _label, value in shown), 2)
    expected = expected_seconds(way, touched=touched, late_seconds=late_seconds)
    words = "fits into" if seconds <= way.limit else "exceeds"
    sentence = (
        f"{counted(touched, 'tenant')} would be back within {seconds:.0f} s in the worst"
        f" case, about {expected:.0f} s as usual; this {words} the {way.limit:.0f} s that the"
        " promise leaves"
    )
    return Quote(seconds, way.limit, touched, shown, sentence, min(expected, seconds))


def expected_seconds(way: WayBack, *, touched: int, late_seconds: float = 0.0) -> float:
    """Return what taking back `touched` tenants takes when no call fails or hangs meanwhile."""
    if touched == 0:
        return 0.0
    rounds = math.ceil(touched / max(1, way.parallelism))
    work = max(rounds * (way.restore.usual + way.look.usual), touched / USUAL_TENANTS_PER_SECOND)
    seconds = max(work, late_seconds) + rounds * way.look.usual + USUAL_OVERHEAD_SECONDS
    return round(seconds, 2)


def _rounds(way: WayBack, touched: int) -> tuple[int, bool]:
    """Return how often all slots are filled, and whether other plans' tenants decide that."""
    own = math.ceil(touched / max(1, way.parallelism))
    if not way.elsewhere:
        return own, False
    together = math.ceil(
        (touched + way.elsewhere) / max(1, way.deployer_parallelism, way.parallelism)
    )
    return max(own, together), together > own


def _work(way: WayBack, touched: int, rounds: int, shared: bool) -> list[tuple[str, float]]:
    """Return the terms of restoring and reading back each tenant."""
    each = way.restore.worst + way.look.worst
    if rounds * each < touched / TENANTS_PER_SECOND:
        label = (
            f"{counted(touched, 'tenant')} at {TENANTS_PER_SECOND:.0f} a second, the"
            " console's own pace"
        )
        return [(label, touched / TENANTS_PER_SECOND)]
    width = max(way.deployer_parallelism, way.parallelism) if shared else way.parallelism
    label = f"{counted(rounds, 'round')} of up to {counted(max(1, width), 'restore')}"
    if shared:
        label += f", shared with {counted(way.elsewhere, 'tenant')} of other live plans,"
    terms = [(f"{label} at {way.restore.worst:.2f} s", rounds * way.restore.worst)]
    if way.look.worst:
        terms.append((f"reading each back, {way.look.worst:.2f} s", rounds * way.look.worst))
    return terms

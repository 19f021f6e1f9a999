"""How much may be sent to us per second: a bucket of points that fills up by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

BURST_SECONDS: Final = 10.0
"""So many seconds' worth may come at once: exporters of a whole fleet wake at the same moment."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many points may still come, and when that was."""

    left: float
    at: datetime


def take(bucket: Bucket | None, points: int, *, per_second: float, now: datetime) -> Bucket | float:
    """Return the bucket after taking the points, or the seconds to wait until there is room.

    A full bucket takes any request, else one larger than the burst could never come through.
    """
    most = per_second * BURST_SECONDS
    left = most
    if bucket is not None:
        # A clock that was set back fills nothing, and takes nothing away.
        passed = max(0.0, (now - bucket.at).total_seconds())
        left = min(most, bucket.left + passed * per_second)
    wanted = min(float(points), most)
    if left < wanted:
        return (wanted - left) / per_second
    return Bucket(left - points, now)

"""Write the queries with which a Prometheus tells what was before now."""

from __future__ import annotations

from typing import Final, Literal

from batches.metric_sources.base import Selector

Wanted = Literal["newest", "present", "lowest", "highest"]
_FUNCTIONS: Final = {
    "newest": "max_over_time",
    "present": "count_over_time",
    "lowest": "min_over_time",
    "highest": "max_over_time",
}


def over_time(
    selector: Selector, wanted: Wanted, *, hours: float, step_minutes: int = 5
) -> Selector:
    """Return the query for the lowest or highest value, the time of the newest sample, or whether.

    A query, and every question for a time, is asked again for each step of the hours (a subquery):
    what came and went between two steps is not seen.
    """
    span = f"{hours * 60:.0f}m"
    told = f"timestamp({selector})" if wanted == "newest" else str(selector)
    if wanted != "newest" and selector.metric is not None:
        return Selector(query=f"{_FUNCTIONS[wanted]}({selector}[{span}])")
    return Selector(query=f"{_FUNCTIONS[wanted]}(({told})[{span}:{step_minutes}m])")

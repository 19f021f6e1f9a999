"""How carefully a list of batches exposes tenants: what passes before more than a share has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from plans.policies.policy import BatchSpec


@dataclass(frozen=True, slots=True)
class _Step:
    start: Fraction
    end: Fraction
    soak: Fraction
    gate: bool


def as_careful(after: Sequence[BatchSpec], before: Sequence[BatchSpec]) -> bool:
    """Tell whether `after` goes at least as carefully as `before`, whatever share is looked at.

    For every two shares: before more than the larger one is upgraded, at least as many seconds
    were watched with at least the smaller one upgraded, and at least as many people have let a
    batch begin. So a smaller step alone is not enough when it makes a later step larger: nobody
    would have watched the share between them. The lists share out the same tenants, whatever
    their percentages add up to.
    """
    new, old = _steps(after), _steps(before)
    shares = sorted({Fraction(0), *(step.end for step in (*new, *old))})
    return all(_gates(new, share) >= _gates(old, share) for share in shares) and all(
        _watched(new, low, high) >= _watched(old, low, high)
        for index, low in enumerate(shares)
        for high in shares[index:]
    )


def _steps(batches: Sequence[BatchSpec]) -> list[_Step]:
    # Exact fractions of what was written, as where the tenants are shared out.
    sizes = [Fraction(str(batch.percentage)) for batch in batches]
    whole = sum(sizes, Fraction(0))
    ends = [Fraction(0)]
    for size in sizes:
        ends.append(ends[-1] + size / whole)
    return [
        _Step(start, end, Fraction(str(batch.soak_seconds)), batch.advance == "manual")
        for batch, (start, end) in zip(batches, pairwise(ends), strict=True)
    ]


def _watched(steps: Sequence[_Step], low: Fraction, high: Fraction) -> Fraction:
    """Return the seconds of soak with at least `low` upgraded, before it is more than `high`."""
    return sum((step.soak for step in steps if low <= step.end <= high), Fraction(0))


def _gates(steps: Sequence[_Step], share: Fraction) -> int:
    """Return how many people have to let a batch begin before more than the share is upgraded."""
    return sum(step.gate for step in steps if step.start <= share)

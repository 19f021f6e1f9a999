"""What each tenant is like, from its own history: expected errors, and how much they scatter. Pure.

Without it tenants that always had more errors look like a bad version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PRIOR_ERRORS, PRIOR_REQUESTS = 1.0, 200.0
"""What is believed of a rate before anything was seen of it."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known of the tenants' past: errors and requests of each, and the dispersion.

    `estimated`: it comes from history, so that evidence is "calibrated", not "proven".
    """

    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    phi: float = 1.0

    @property
    def estimated(self) -> bool:
        """Tell whether exposures are known at all."""
        return bool(self.rates)


SHRINK_ERRORS: Final = 2.0


def fleet_rate(rates: Mapping[str, tuple[float, float]]) -> float:
    """Return the usual share of errors of all tenants together, never 0."""
    errors = math.fsum(pair[0] for pair in rates.values())
    requests = math.fsum(pair[1] for pair in rates.values())
    return (errors + PRIOR_ERRORS) / (requests + PRIOR_REQUESTS)


def exposure(requests: float, errors_before: float, requests_before: float, fleet: float) -> float:
    """Return how many errors a tenant's requests let one expect, from its own history.

    A tenant with little history counts as the fleet does.
    """
    return requests * (errors_before + SHRINK_ERRORS) / (requests_before + SHRINK_ERRORS / fleet)


def dispersion(errors: Sequence[Sequence[float]], requests: Sequence[Sequence[float]]) -> float:
    """Return how many times more than independent requests the errors scatter (F10), at least 1.

    One row per tenant, one column per block of 5 minutes; at least 3 hours of them. Tenants
    without any error say nothing of bursts: leave them out.
    """
    tenants, blocks = len(errors), len(errors[0]) if errors else 0
    freedom = (tenants - 1) * (blocks - 1)
    if freedom <= 0:
        return 1.0
    expected: list[list[float]] = []
    for row, sizes in zip(errors, requests, strict=True):
        size = math.fsum(sizes)
        rate = math.fsum(row) / size if size > 0 else 0.0
        expected.append([rate * n for n in sizes])
    chi_square = 0.0
    for block in range(blocks):
        usual = math.fsum(row[block] for row in expected)
        factor = math.fsum(row[block] for row in errors) / usual if usual > 0 else 0.0
        for row, means in zip(errors, expected, strict=True):
            mean = means[block] * factor
            if mean > 0:
                chi_square += (row[block] - mean) ** 2 / mean
    return max(1.0, chi_square / freedom)

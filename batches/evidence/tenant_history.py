"""What the evidence test asks of the tenants' history, and takes down once per plan.

Nothing that happens while the plan runs may change what counts as usual: the first look of each
Kpi keeps it in a row, and a restart counts with the same, and so does a replay.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from batches.evidence.calibration import Usual
from batches.history import kpi_history
from batches.models import EvidenceBaseline, TenantUpgrade
from plans.counted_words import counted
from plans.models import Plan

FEWEST_REQUESTS: Final = 1000.0
"""With fewer requests of all tenants together nothing is said about what is usual."""


def usual_of(plan: Plan, kpi: str, *, bound: float | None, now: datetime) -> tuple[Usual, str]:
    """Return what was usual before this plan, and why it is too little where it is."""
    # Remembered from the next look on: what is written now may still be taken back.
    return _kept(plan.pk, kpi) or _read(_take_down(plan, kpi, bound, now))


def usual_so_far(plan: Plan, kpi: str, *, bound: float | None, now: datetime) -> tuple[Usual, str]:
    """Return the same without keeping it, for a test that is only thought of."""
    return _kept(plan.pk, kpi) or usual_from_history(
        plan.plugin.key, kpi, _tenants(plan), until=min(plan.started_at or now, now), bound=bound
    )


def usual_before(plan: Plan, kpi: str, *, bound: float | None) -> tuple[Usual, str, str]:
    """Return the same for a replay, which writes nothing, and what is to be known of it.

    What the plan has taken down counts. Else the history is asked, as long as it reaches back so
    far.
    """
    row = EvidenceBaseline.objects.filter(plan=plan, kpi=kpi).first()
    if row is not None:
        usual, short = _read(row)
        other = not short and None not in (bound, row.bound) and row.bound != bound
        said = f"{kpi} is calibrated by what was slower than {row.bound:g}" if other else ""
        return usual, short, said
    until = plan.started_at or plan.created_at
    usual, short = usual_from_history(
        plan.plugin.key, kpi, _tenants(plan), until=until, bound=bound
    )
    said = "" if short else f"{kpi} is calibrated by what is recorded now from before the plan"
    return usual, short, said


def usual_from_history(
    plugin: str, kpi: str, tenants: Sequence[str], *, until: datetime, bound: float | None
) -> tuple[Usual, str]:
    """Return what was usual before a moment, and why it is too little where it is."""
    asked: dict[str, Any] = {"until": until, "bound": bound}
    rates = kpi_history.exposure_rates(plugin, kpi, tenants, **asked)
    phi = kpi_history.dispersion(plugin, kpi, **asked)
    requests = sum(pair[1] for pair in rates.values())
    if requests < FEWEST_REQUESTS:
        return (
            Usual(),
            f"{counted(round(requests), f'request of {kpi} is', f'requests of {kpi} are')}"
            " known from before the plan",
        )
    if phi is None:
        return Usual(), f"less than three hours of {kpi} are known from before the plan"
    return Usual(rates, phi), ""


def _tenants(plan: Plan) -> list[str]:
    return list(TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", flat=True))


def _take_down(plan: Plan, kpi: str, bound: float | None, now: datetime) -> EvidenceBaseline:
    until = min(plan.started_at or now, now)
    usual, short = usual_from_history(
        plan.plugin.key, kpi, _tenants(plan), until=until, bound=bound
    )
    return EvidenceBaseline.objects.create(
        plan=plan,
        kpi=kpi,
        bound=bound,
        rates={tenant: list(pair) for tenant, pair in usual.rates.items()},
        phi=usual.phi,
        short=short,
        taken_at=now,
    )


def _read(row: EvidenceBaseline) -> tuple[Usual, str]:
    rates = {tenant: (float(pair[0]), float(pair[1])) for tenant, pair in row.rates.items()}
    return Usual(rates, row.phi), row.short


_known: dict[tuple[Any, str], tuple[Usual, str]] = {}
MOST_TENANTS_KNOWN: Final = 200_000
"""What one process remembers of all plans: about 40 MB."""


def _kept(plan_id: Any, kpi: str) -> tuple[Usual, str] | None:
    """Return the kept row: read once per process, since it never changes."""
    if (plan_id, kpi) in _known:
        return _known[plan_id, kpi]
    row = EvidenceBaseline.objects.filter(plan_id=plan_id, kpi=kpi).first()
    if row is None:
        return None
    if sum(len(usual.rates) for usual, _short in _known.values()) > MOST_TENANTS_KNOWN:
        _known.clear()
    _known[plan_id, kpi] = _read(row)
    return _known[plan_id, kpi]

"""A guardrail over the looks of its window: what every way of measuring needs of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from batches.guardrails.allowed import Allowed, allowed, slow_share_of, threshold_of
from batches.guardrails.measured import Measurement, Outcome, each_outcome
from batches.guardrails.measured_words import cause_words, named, shown
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import WAITING, GaugePoint, LookSample
from plans.counted_words import counted
from plans.policies.policy import Guardrail


class Window:
    """One guardrail, the looks of its window oldest first, and whom it is about.

    `canary`: how many upgraded tenants. `baselines`: each tenant's own mean before its upgrade.
    """

    def __init__(
        self,
        guardrail: Guardrail,
        definition: KpiDefinition,
        looks: Sequence[LookSample],
        *,
        canary: int,
        baselines: Mapping[str, float],
    ) -> None:
        self.guardrail = guardrail
        self.definition = definition
        self.looks = looks
        self.canary = canary
        self.baselines = baselines
        self.each = guardrail.scope == "tenant"

    @property
    def newest(self) -> LookSample:
        """Return the newest look."""
        return self.looks[-1]

    # Limits.

    def own_limit(self, tenant: str, limit: Allowed) -> Allowed:
        """Return the limit of one tenant: its own history makes one of its own."""
        if self.guardrail.against != "own_history":
            return limit
        return allowed(
            self.guardrail,
            self.definition,
            self.baselines[tenant],
            of_gauge=isinstance(self.newest.canary.get(tenant), GaugePoint),
        )

    def strangers(self, tenants: Collection[str]) -> bool:
        """Tell whether too many of the tenants have no history."""
        return sum(tenant not in self.baselines for tenant in tenants) * 2 > len(tenants)

    # Who gave nothing.

    @property
    def mostly_silent(self) -> bool:
        """Tell whether most upgraded tenants gave no data."""
        # One silent tenant must not stop thousands, a silent majority must.
        lost = self.newest.lost
        return lost * 2 > self.canary or (lost > 0 and not self.newest.canary)

    def silence(self) -> Measurement:
        """Return that most upgraded tenants gave no data."""
        newest = self.newest
        said = (
            f"no data for {newest.lost} of {counted(self.canary, 'upgraded tenant')} from "
            f"{newest.source or 'the source'} ({cause_words(newest.cause)})"
        )
        return self.without("error", newest.cause, said)

    def no_control(self) -> Measurement:
        """Return that nobody on the old version can be compared with."""
        causes = self.newest.control_causes
        if causes and causes.keys() <= WAITING:
            said = f"no second reading of control yet ({self.span})"
            return self.without("inconclusive", None, said)
        why = "control_lost" if causes else "no_control"
        return self.without("error", why, f"no data to compare with ({cause_words(why)})")

    def no_history(self, tenants: Collection[str]) -> Measurement:
        """Return that too few of these tenants have a history."""
        missing = sum(tenant not in self.baselines for tenant in tenants)
        said = (
            f"no data of {missing} of {counted(len(tenants), 'upgraded tenant')} from before their "
            f"upgrade ({cause_words('no_history')})"
        )
        return self.without("error", "no_history", said)

    def without(
        self, outcome: Outcome, cause: str | None, said: str, *, silent: Collection[str] = ()
    ) -> Measurement:
        """Return a measurement that brought no value, and why; `silent`: of whom, if of all."""
        newest = self.looks[-1] if self.looks else None
        lost: Mapping[str, str] = {}
        if self.each and outcome == "error" and newest is not None:
            lost = _lost(newest) or dict.fromkeys(silent, cause or "")
        return without(
            self.guardrail,
            self.definition,
            outcome,
            cause,
            said,
            at=newest.at if newest is not None else None,
            undecided=self.everybody if newest is not None else frozenset(),
            silent=lost,
            lost=newest.lost if newest is not None else 0,
        )

    @property
    def everybody(self) -> frozenset[str]:
        """Return the upgraded tenants that the newest look knows of."""
        return frozenset(self.newest.canary.keys() | self.newest.absent.keys())

    # Tenant by tenant.

    def by_itself(self, measured: Measurement, limit: Allowed) -> Measurement:
        """Return the measurement with what it says of single tenants."""
        undecided = self.everybody - measured.by_tenant.keys()
        measured = replace(measured, undecided=undecided, lost=self.newest.lost)
        return self._for_each(measured, limit) if self.each else self._far_only(measured, limit)

    def _far_only(self, measured: Measurement, limit: Allowed) -> Measurement:
        """Keep of the tenants those that are far over the limit by themselves."""
        far = {
            tenant: seen
            for tenant, seen in measured.by_tenant.items()
            if seen.failed
            and seen.value is not None
            and self.own_limit(tenant, limit).far(seen.value)
        }
        return replace(measured, by_tenant=far)

    def _for_each(self, measured: Measurement, limit: Allowed) -> Measurement:
        """Return the measurement of a guardrail by which each tenant is judged alone."""
        lost = _lost(self.newest)
        outcome = each_outcome(measured.by_tenant, self.canary)
        if outcome != "failed" and self.mostly_silent:
            return replace(self.silence(), by_tenant=measured.by_tenant, silent=lost)
        measured = replace(measured, outcome=outcome, silent=lost)
        bad = {
            tenant: seen.value
            for tenant, seen in measured.by_tenant.items()
            if seen.failed and seen.value is not None
        }
        if not bad:
            return replace(measured, sentence=self._nobody_failed(measured, limit))
        worst = limit.worst(bad.items())
        own = self.own_limit(worst[0], limit)
        of = ""
        if measured.bad is not None:
            of = f" ({counted(measured.by_tenant[worst[0]].n, 'request')}, {self.span})"
        said = (
            f"{self.definition.name} {shown(worst[1], own.unit)} in {worst[0]}{of} "
            f"{compared(own, worst[1])}"
        )
        if others := sorted(bad.keys() - {worst[0]}):
            said += f", and so {'is' if len(others) == 1 else 'are'} {named(others)}"
        return replace(measured, value=worst[1], threshold=own.number, worst=worst, sentence=said)

    def _nobody_failed(self, measured: Measurement, limit: Allowed) -> str:
        said = (
            f"{self.definition.name}: {len(measured.by_tenant)} of"
            f" {counted(self.canary, 'upgraded tenant')}"
            f" measured, each by itself ({self.span}{self.lost_words})"
        )
        if measured.outcome == "successful":
            side = "over" if limit.most else "under"
            rule = limit.rule or shown(limit.number, limit.unit)
            return f"{said}, none is {side} {rule}"
        needed = self.guardrail.min_samples
        return f"{said}; {counted(needed, 'request of each is', 'requests of each are')} needed"

    # Words.

    @property
    def span(self) -> str:
        """Return the length of the window in words."""
        return f"{self.guardrail.window_seconds:g} s"

    @property
    def lost_words(self) -> str:
        """Return how many upgraded tenants gave no data, empty where all did."""
        return f", {self.newest.lost} without data" if self.newest.lost else ""


def without(
    guardrail: Guardrail,
    definition: KpiDefinition,
    outcome: Outcome,
    cause: str | None,
    said: str,
    *,
    at: datetime | None = None,
    undecided: frozenset[str] = frozenset(),
    silent: Mapping[str, str] | None = None,
    lost: int = 0,
) -> Measurement:
    """Return a measurement that brought no value, and why."""
    histogram = definition.kind == "histogram"
    return Measurement(
        outcome=outcome,
        value=None,
        threshold=slow_share_of(guardrail) if histogram else threshold_of(guardrail),
        unit="%" if histogram else definition.unit,
        n=0,
        tenants=0,
        worst=None,
        cause=cause,
        sentence=f"{definition.name}: {said}",
        at=at,
        undecided=undecided,
        silent=silent or {},
        lost=lost,
    )


def compared(limit: Allowed, value: float) -> str:
    """Return whether a value is within its limit, in words."""
    if not limit.fails(value):
        word = "is within its limit of"
    else:
        word = "is over its limit of" if limit.most else "is under its limit of"
    rule = f" ({limit.rule})" if limit.rule else ""
    return f"{word} {shown(limit.number, limit.unit)}{rule}"


def _lost(look: LookSample) -> dict[str, str]:
    return {tenant: cause for tenant, cause in look.absent.items() if cause not in WAITING}

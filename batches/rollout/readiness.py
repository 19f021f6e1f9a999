"""Is a plan ready? Its deployer and Kpis exist, its rollback quote fits, its duration is known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, Sum

from batches.configured import deployer_spec, dictionary, way_shut
from batches.evidence.rules import evidence_test
from batches.kpis.dictionary import Dictionary, GuardrailUnusable, resolve_guardrail
from batches.lifecycle import BATCH, TENANT_UPGRADE
from batches.models import Batch, DeployerMeasurement, TenantUpgrade
from batches.quotes.advice import NO_FORECAST, Advice, Forecast, forecast
from batches.quotes.quote import Pace, Quote, WayBack, pace, rollback_quote
from plans.drafting.drafting import PlanDraft, Resolved
from plans.drafting.waves import Wave
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput


def missing_names(draft_deployer: str, policy: UpgradePolicy | None) -> list[str]:
    """Return what the plan names and this installation does not have."""
    problems: list[str] = []
    try:
        if shut := way_shut(deployer_spec(draft_deployer)):
            problems.append(f"deployer: {draft_deployer!r} cannot be reached: {shut}")
    except BadInput as refused:
        problems += refused.problems
    if policy is None:
        return problems
    try:
        dictionary()
    except BadInput as refused:
        return [*problems, *refused.problems]
    return [*problems, *(f"policy: {said}" for _kpi, said in kpi_problems(policy))]


def kpi_problems(policy: UpgradePolicy) -> list[tuple[str, str]]:
    """Return each Kpi of the policy with what is wrong about it; nothing where nothing is known."""
    try:
        known = dictionary()
    except BadInput:
        return []
    problems = []
    for name in sorted(policy.watched_kpis):
        if known.kpi(name) is None:
            problems.append((name, known.unknown([name])[name]))
        elif not known.mappings_for(name):
            problems.append((name, f"the Kpi {name!r} is mapped to no metric source"))
    for guardrail in policy.guardrails:
        definition = known.kpi(guardrail.kpi)
        if definition is None:
            continue
        try:
            resolve_guardrail(guardrail, definition)
        except GuardrailUnusable as unusable:
            problems.append((guardrail.kpi, str(unusable)))
    return [*problems, *_untestable(policy, known)]


def _untestable(policy: UpgradePolicy, known: Dictionary) -> list[tuple[str, str]]:
    """Return which Kpis of the evidence test it cannot test; those that are lacking tell so."""
    test = evidence_test(policy, known)
    if test is None:
        return []
    return [(kpi, why) for kpi, why in test.unusable.items() if known.mappings_for(kpi)]


AT_STAKE = (*TENANT_UPGRADE.sources("begin_restore"), "restoring")
"""Touched tenants in these states are what a rollback would take back."""
TOUCHING = (*BATCH.sources("begin_rollback"), "rolling_back")
"""Batches in these states have touched tenants, or are about to."""


def paces_of(deployer: str, configured: float) -> dict[str, Pace]:
    """Return the pace of each kind of call: measured, or as the deployers file says."""
    measured = {row.direction: row for row in DeployerMeasurement.objects.filter(deployer=deployer)}
    # A look has no configured seconds: until it is measured it is a part of the call's.
    usual = {"install": configured, "restore": configured, "observe": 0.0}
    return {
        direction: pace(row.durations, row.count, seconds)
        if (row := measured.get(direction)) is not None
        else Pace(seconds, seconds)
        for direction, seconds in usual.items()
    }


def way_back(
    *,
    deployer: str,
    policy: UpgradePolicy,
    plan: Plan | None = None,
    irreversible: bool = False,
) -> WayBack:
    """Return what taking tenants of a plan back depends on, by what was measured so far.

    Tenants that other live plans have touched through this deployer count too: what breaks the
    platform breaks all of them, and all go back through the same connections.
    """
    spec = deployer_spec(deployer)
    paces = paces_of(deployer, spec.expected_seconds)
    others = Batch.objects.filter(
        plan__deployer=deployer, plan__state__in=LIVE_PLAN_STATES, state__in=TOUCHING
    )
    if plan is not None:
        others = others.exclude(plan=plan)
    return WayBack(
        parallelism=min(spec.parallelism, policy.limits.parallelism),
        call_timeout=policy.limits.call_timeout_seconds,
        rollback_seconds=policy.limits.rollback_seconds,
        pause_wait=policy.rollback.rollback_after_seconds,
        restore=paces["restore"],
        look=paces["observe"],
        deployer_parallelism=spec.parallelism,
        elsewhere=others.aggregate(n=Sum("size"))["n"] or 0,
        reversible=not (irreversible or (plan is not None and plan.release.irreversible)),
    )


def quote_for(
    *, deployer: str, policy: UpgradePolicy, touched: int, plan: Plan | None = None
) -> Quote:
    """Return the rollback quote for so many touched tenants, by what was measured so far."""
    return rollback_quote(way_back(deployer=deployer, policy=policy, plan=plan), touched=touched)


def gate_quote(plan: Plan, policy: UpgradePolicy) -> Quote:
    """Return the quote for everything touched so far and by the next batch."""
    upgrades = TenantUpgrade.objects.filter(plan=plan)
    pending = upgrades.filter(state="pending")
    # A batch that begins again goes before the next new one.
    again = pending.filter(batch__state__in=("passed", "rolled_back"))
    waiting = again if again.exists() else pending.filter(batch__state="pending")
    coming = waiting.order_by("batch__number").values("batch")[:1]
    return quote_for(
        deployer=plan.deployer,
        policy=policy,
        touched=upgrades.touched().filter(state__in=AT_STAKE).count()
        + pending.filter(batch__in=coming).count(),
        plan=plan,
    )


def past_failures(keys: Iterable[str] | None = None) -> dict[str, int]:
    """Return how often each tenant's upgrades failed or needed a person."""
    rows = TenantUpgrade.objects.filter(
        Q(state__in=("failed", "unknown", "needs_hand")) | Q(state="rolled_back", last_error__gt="")
    )
    if keys is not None:
        rows = rows.filter(tenant_key__in=list(keys))
    counted = rows.order_by().values("tenant_key").annotate(n=Count("pk"))
    return {row["tenant_key"]: row["n"] for row in counted}


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """What the form and REST show before anything is written.

    `unfit` and `warnings` are what the newest probes of its Kpis' mappings say about the plan: with
    the first it could be saved and not submitted.
    """

    problems: tuple[str, ...]
    waves: tuple[Wave, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    guardrails: tuple[Any, ...] = ()
    windows: str = ""
    duration_seconds: float = 0.0
    forecast: Forecast = NO_FORECAST
    approval_roles: tuple[str, ...] = ()
    policy: UpgradePolicy | None = None
    irreversible: bool = False
    parallelism: int = 1
    unfit: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    old_versions: tuple[str, ...] = ()
    """What a rollback would bring back without a signature that holds."""
    soaks: tuple[dict[str, Any], ...] = ()
    """What the soaks find, per Kpi, as `KpiOutlook.to_json` says it."""

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """Return the quote after each batch."""
        return self.forecast.quotes

    @property
    def advice(self) -> tuple[Advice, ...]:
        """Return what would make it fit where it does not."""
        return self.forecast.advice

    @property
    def quote_seconds(self) -> float:
        """Return the quote for the whole plan."""
        return self.quotes[-1].seconds if self.quotes else 0.0

    @property
    def tenants(self) -> int:
        """Return how many tenants would be upgraded."""
        return sum(len(wave.tenants) for wave in self.waves)


def forecast_of(draft: PlanDraft, resolved: Resolved) -> Forecast:
    """Return the quote after each batch, and what would help where it does not fit."""
    way = way_back(
        deployer=draft.deployer,
        policy=resolved.policy,
        irreversible=resolved.release.irreversible,
    )
    return forecast(way, [len(wave.tenants) for wave in resolved.arrangement.waves])


def expected_duration(waves: Sequence[Wave], *, parallelism: int, per_call: float) -> float:
    """Return the seconds that calls and soaks take when nothing goes wrong."""
    calls = sum(-(-len(wave.tenants) // max(1, parallelism)) * per_call for wave in waves)
    return calls + sum(wave.soak_seconds for wave in waves)

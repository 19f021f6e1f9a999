"""Is a plan ready? Its deployer and Kpis exist, its rollback quote fits, its duration is known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from batches.configured import deployer_spec, dictionary
from batches.dictionary import GuardrailUnusable, resolve_guardrail
from batches.models import DeployerMeasurement, TenantUpgrade
from batches.quote import Quote, expected_per_restore, no_way_back, rollback_quote
from plans.drafting import PlanDraft, Resolved
from plans.policy import UpgradePolicy
from plans.refusal import BadInput
from plans.waves import Wave


def missing_names(draft_deployer: str, policy: UpgradePolicy | None) -> list[str]:
    """Return what the plan names and this installation does not have."""
    problems: list[str] = []
    try:
        deployer_spec(draft_deployer)
    except BadInput as refused:
        problems += refused.problems
    if policy is None:
        return problems
    try:
        known = dictionary()
    except BadInput as refused:
        return [*problems, *refused.problems]
    for name in sorted(policy.watched_kpis):
        if known.kpi(name) is None:
            hint = known.unknown([name]).get(name, "")
            problems.append(f"policy: {hint or f'the dictionary has no Kpi {name!r}'}")
            continue
        if not known.mappings_for(name):
            problems.append(f"policy: the Kpi {name!r} is mapped to no metric source")
    for guardrail in policy.guardrails:
        definition = known.kpi(guardrail.kpi)
        if definition is None:
            continue
        try:
            resolve_guardrail(guardrail, definition)
        except GuardrailUnusable as unusable:
            problems.append(f"policy: {unusable}")
    return problems


def quote_for(
    *, deployer: str, policy: UpgradePolicy, touched: int, irreversible: bool = False
) -> Quote:
    """Return the rollback quote for so many touched tenants, by what was measured so far."""
    if irreversible:
        return no_way_back(touched)
    spec = deployer_spec(deployer)
    measured = DeployerMeasurement.objects.filter(deployer=deployer, direction="restore").first()
    per_restore = expected_per_restore(
        measured.durations if measured else [],
        measured.count if measured else 0,
        spec.expected_seconds,
    )
    return rollback_quote(
        touched=touched,
        parallelism=min(spec.parallelism, policy.limits.parallelism),
        per_restore=per_restore,
        call_timeout=policy.limits.call_timeout_seconds,
        rollback_seconds=policy.limits.rollback_seconds,
        pause_wait=policy.rollback.rollback_after_seconds,
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
    """What the form and REST show before anything is written."""

    problems: tuple[str, ...]
    waves: tuple[Wave, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    guardrails: tuple[Any, ...] = ()
    windows: str = ""
    duration_seconds: float = 0.0
    quotes: tuple[Quote, ...] = ()
    approval_roles: tuple[str, ...] = ()
    policy: UpgradePolicy | None = None
    irreversible: bool = False
    parallelism: int = 1

    @property
    def quote_seconds(self) -> float:
        """Return the quote for the whole plan."""
        return self.quotes[-1].seconds if self.quotes else 0.0

    @property
    def tenants(self) -> int:
        """Return how many tenants would be upgraded."""
        return sum(len(wave.tenants) for wave in self.waves)


def quotes_of(draft: PlanDraft, resolved: Resolved) -> list[Quote]:
    """Return the quote after each batch."""
    touched = 0
    quotes: list[Quote] = []
    for wave in resolved.arrangement.waves:
        touched += len(wave.tenants)
        quotes.append(
            quote_for(
                deployer=draft.deployer,
                policy=resolved.policy,
                touched=touched,
                irreversible=resolved.release.irreversible,
            )
        )
    return quotes


def expected_duration(waves: Sequence[Wave], *, parallelism: int, per_call: float) -> float:
    """Return the seconds that calls and soaks take when nothing goes wrong."""
    calls = sum(-(-len(wave.tenants) // max(1, parallelism)) * per_call for wave in waves)
    return calls + sum(wave.soak_seconds for wave in waves)

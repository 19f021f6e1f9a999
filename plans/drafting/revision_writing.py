"""Write a revision: who stands in which batch, and the digests of what approvers agree to."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import rfc8785

from plans.chain import timestamp
from plans.drafting.waves import Arrangement, batch_specs
from plans.models import Plan, PlanRevision, PlanTenant, Policy, Tenant, User
from plans.policies.policy import UpgradePolicy


def _digest(value: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def tenants_digest_of(batches: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return the digest of who stands in which batch, in which order."""
    return _digest([{"name": name, "tenants": list(tenants)} for name, tenants in batches])


def placed_digest(plan: Plan, policy: UpgradePolicy) -> str:
    """Return the digest of the places as they are in the database now."""
    placed: dict[int, list[str]] = {}
    rows = PlanTenant.objects.filter(plan=plan, excluded=False).order_by("batch_number", "position")
    for number, key in rows.values_list("batch_number", "tenant__key"):
        placed.setdefault(number, []).append(key)
    names = [spec.name for spec in batch_specs(policy, len(placed))]
    return tenants_digest_of(zip(names, placed.values(), strict=False))


def plan_digest(plan: Plan, *, policy_digest: str, approvals: str, tenants_digest: str) -> str:
    """Return the digest of all that approvers agree to."""
    return _digest(
        {
            "external_id": plan.external_id,
            "plugin": plan.plugin.key,
            "version": plan.release.version,
            "artifact": plan.release.digest,
            "deployer": plan.deployer,
            "policy": policy_digest,
            "approvals": approvals,
            "tenants": tenants_digest,
            "not_before": timestamp(plan.not_before) if plan.not_before else None,
        }
    )


def write_revision(
    *,
    plan: Plan,
    policy: Policy,
    approvals: str,
    tenant_choice: Mapping[str, Any],
    arrangement: Arrangement,
    tenants: Mapping[str, Tenant],
    seed: str,
    author: User,
    why: str,
    now: datetime,
) -> PlanRevision:
    """Write the next revision of a plan and put its tenants in their places."""
    plan.revision += 1
    tenants_digest = tenants_digest_of((w.name, w.tenants) for w in arrangement.waves)
    revision = PlanRevision.objects.create(
        plan=plan,
        number=plan.revision,
        release=plan.release,
        deployer=plan.deployer,
        not_before=plan.not_before,
        policy=policy,
        policy_name=policy.name,
        policy_text=policy.text,
        policy_digest=policy.digest,
        approvals=approvals,
        tenant_choice=dict(tenant_choice),
        tenants_digest=tenants_digest,
        seed=seed,
        plan_digest=plan_digest(
            plan,
            policy_digest=policy.digest,
            approvals=approvals,
            tenants_digest=tenants_digest,
        ),
        author=author,
        why=why,
        created_at=now,
    )
    PlanTenant.objects.filter(plan=plan).delete()
    places: list[PlanTenant] = []
    for wave in arrangement.waves:
        places += [
            PlanTenant(
                plan=plan,
                tenant=tenants[key],
                plugin_id=plan.plugin_id,
                batch_number=wave.number,
                position=position,
            )
            for position, key in enumerate(wave.tenants)
        ]
    places += [
        PlanTenant(
            plan=plan,
            tenant=tenants[key],
            plugin_id=plan.plugin_id,
            excluded=True,
            excluded_why=why_excluded,
        )
        for key, why_excluded in arrangement.excluded.items()
    ]
    PlanTenant.objects.bulk_create(places, batch_size=500)
    return revision

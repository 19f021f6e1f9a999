"""A plan in each state for the tests of the live page, and what happens to it."""

from datetime import timedelta
from typing import Any

from django.db import transaction

from batches.models import Batch, DeployerCall, KpiSample, TenantUpgrade
from plans.models import Plan, Tenant, User
from plans.trail import events
from tests.web.api_scene import Scene, configure, now, started

__all__ = [
    "Scene",
    "all_at_once",
    "call_ended",
    "configure",
    "happens",
    "looked",
    "many_tenants",
    "now",
    "upgraded",
]


def happens(plan: Plan, kind: str, sentence: str, *, by: User | None = None) -> None:
    """Commit one event."""
    with transaction.atomic():
        events.record(
            stream=plan,
            kind=kind,
            sentence=sentence,
            actor=by,
            via="page" if by else "watch",
            now=now(),
        )


def all_at_once(plan: Plan, n: int) -> None:
    """Commit n events in one transaction."""
    with transaction.atomic():
        for number in range(n):
            happens(plan, "remark", f"Number {number}.")


def many_tenants(n: int) -> None:
    Tenant.objects.bulk_create(Tenant(key=f"oak-{number:03d}") for number in range(n))


def upgraded(scene: Scene) -> Plan:
    """Return a running plan whose first batch is on the new version and soaks."""
    plan = started(scene)
    first = plan.batches.get(number=1)
    Batch.objects.filter(pk=first.pk).update(
        state="soaking", opened_at=now(), soak_counted_at=now()
    )
    TenantUpgrade.objects.filter(batch=first).update(
        state="upgraded",
        attempts=1,
        version_before="1.4.2",
        version_observed="1.5.0",
        touched_at=now(),
    )
    return plan


def call_ended(plan: Plan, answer: str) -> None:
    """Commit the end of one call with what the deployer answered."""
    upgrade = TenantUpgrade.objects.filter(plan=plan).order_by("pk")[0]
    DeployerCall.objects.create(
        plan=plan,
        upgrade=upgrade,
        direction="install",
        generation=1,
        attempt=1,
        key=f"{plan.pk}:{upgrade.tenant_key}:install:1",
        fence=1,
        version="1.5.0",
        executor="hands",
        started_at=now() - timedelta(seconds=1),
        ended_at=now(),
        outcome="ok",
        status=200,
        answer=answer,
    )


def looked(plan: Plan, look: dict[str, Any]) -> None:
    """Commit one look at the error rate."""
    KpiSample.objects.create(plan=plan, kpi="error_rate", at=now(), source="fleet", look=look)

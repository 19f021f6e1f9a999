"""Which rows the field-level diff watches: what people edit, not what machines write in bulk."""

from auditlog.registry import auditlog

from plans.models import (
    Approval,
    BreakGlass,
    Flag,
    Freeze,
    FreezeOverride,
    Plan,
    PlanRevision,
    Policy,
    Release,
    RoleBinding,
    Tenant,
    TrustKey,
)


def register() -> None:
    """Register the watched models once, at start."""
    for model in (Plan, PlanRevision, Policy, Tenant, Release, TrustKey, Approval, RoleBinding):
        auditlog.register(model)
    auditlog.register(Flag)
    auditlog.register(Freeze)
    auditlog.register(FreezeOverride)
    auditlog.register(BreakGlass)

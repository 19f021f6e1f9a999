"""The rows of plans, by noun."""

from plans.models.adjustment import Adjustment
from plans.models.event import ZERO_HASH, Event, Stream
from plans.models.flag import Flag
from plans.models.freeze import Freeze, FreezeOverride
from plans.models.people import CONSOLE_ROLES, ApiToken, RoleBinding, User
from plans.models.plan import Approval, ApprovalRequest, Plan, PlanRevision, PlanTenant
from plans.models.plugin_release import Plugin, Release, ReleaseSignature, TrustKey
from plans.models.policy_record import Policy
from plans.models.tenant import Installation, Tenant

__all__ = [
    "CONSOLE_ROLES",
    "ZERO_HASH",
    "Adjustment",
    "ApiToken",
    "Approval",
    "ApprovalRequest",
    "Event",
    "Flag",
    "Freeze",
    "FreezeOverride",
    "Installation",
    "Plan",
    "PlanRevision",
    "PlanTenant",
    "Plugin",
    "Policy",
    "Release",
    "ReleaseSignature",
    "RoleBinding",
    "Stream",
    "Tenant",
    "TrustKey",
    "User",
]

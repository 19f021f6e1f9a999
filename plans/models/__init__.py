"""The rows of plans, by noun."""

from plans.models.adjustment import Adjustment
from plans.models.event import ZERO_HASH, Event, Stream
from plans.models.flag import Flag
from plans.models.freeze import Freeze, FreezeOverride
from plans.models.grant import BreakGlass, Grant
from plans.models.people import CONSOLE_ROLES, ApiToken, RoleBinding, User
from plans.models.plan import Approval, ApprovalRequest, Plan, PlanRevision, PlanTenant
from plans.models.plugin_release import Plugin, Release, TrustKey
from plans.models.policy_record import Policy
from plans.models.tenant import Installation, Tenant

__all__ = [
    "CONSOLE_ROLES",
    "ZERO_HASH",
    "Adjustment",
    "ApiToken",
    "Approval",
    "ApprovalRequest",
    "BreakGlass",
    "Event",
    "Flag",
    "Freeze",
    "FreezeOverride",
    "Grant",
    "Installation",
    "Plan",
    "PlanRevision",
    "PlanTenant",
    "Plugin",
    "Policy",
    "Release",
    "RoleBinding",
    "Stream",
    "Tenant",
    "TrustKey",
    "User",
]

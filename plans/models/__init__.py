"""The rows of plans, by noun."""

from plans.models.adjustment import Adjustment
from plans.models.checkpoint import Checkpoint, TrailCheck
from plans.models.event import SYSTEM_STREAM, ZERO_HASH, Event, EventAddress, Stream
from plans.models.flag import Flag
from plans.models.freeze import Freeze, FreezeOverride
from plans.models.grant import BreakGlass, Grant
from plans.models.log_in import FailedLogIn, MappedRole
from plans.models.people import CONSOLE_ROLES, ApiToken, RoleBinding, RoleRequest, User
from plans.models.plan import Approval, ApprovalRequest, OfPlans, Plan, PlanRevision, PlanTenant
from plans.models.plugin_release import Plugin, Release, ReleaseSignature, TrustKey
from plans.models.policy_record import Policy
from plans.models.tenant import Installation, Tenant

__all__ = [
    "CONSOLE_ROLES",
    "SYSTEM_STREAM",
    "ZERO_HASH",
    "Adjustment",
    "ApiToken",
    "Approval",
    "ApprovalRequest",
    "BreakGlass",
    "Checkpoint",
    "Event",
    "EventAddress",
    "FailedLogIn",
    "Flag",
    "Freeze",
    "FreezeOverride",
    "Grant",
    "Installation",
    "MappedRole",
    "OfPlans",
    "Plan",
    "PlanRevision",
    "PlanTenant",
    "Plugin",
    "Policy",
    "Release",
    "ReleaseSignature",
    "RoleBinding",
    "RoleRequest",
    "Stream",
    "Tenant",
    "TrailCheck",
    "TrustKey",
    "User",
]

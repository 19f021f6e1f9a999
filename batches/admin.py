"""The admin pages of plans and batches: read only, with the acts that the state allows."""

from datetime import datetime
from typing import Any

from django.contrib import admin

from batches.models import (
    Alert,
    Batch,
    DeployerCall,
    DeployerMeasurement,
    DrillSchedule,
    EvidenceBaseline,
    EvidenceState,
    Heartbeat,
    Lease,
    Rollback,
    RollbackDrill,
    Ruling,
    TenantUpgrade,
)
from batches.rollback.rollback import request_rollback
from batches.rollout import control, launch, planning
from batches.rollout.going_on import go_on
from plans.admin.acts import Act, as_action
from plans.admin.rights import AnyInline, HistoryAdmin, ReadOnlyAdmin
from plans.approvals import approval
from plans.log_in.step_up import StepUp
from plans.models import ApprovalRequest, Grant, Plan, PlanRevision, User


def _submit(plan: Plan, by: User, _reason: str, now: datetime) -> Plan:
    return planning.submit(plan_id=plan.pk, by=by, now=now, via="admin")


def _approve(plan: Plan, by: User, reason: str, now: datetime, step_up: StepUp | None) -> Plan:
    return approval.approve(
        plan_id=plan.pk, approver=by, comment=reason, now=now, via="admin", step_up=step_up
    )


def _reject(plan: Plan, by: User, reason: str, now: datetime) -> Plan:
    return approval.reject(plan_id=plan.pk, approver=by, reason=reason, now=now, via="admin")


def _start(plan: Plan, by: User, _reason: str, now: datetime) -> Plan:
    return launch.start(plan_id=plan.pk, by=by, now=now, via="admin")


def _pause(plan: Plan, by: User, reason: str, now: datetime) -> Plan:
    return control.pause(plan_id=plan.pk, by=by, reason=reason, now=now, via="admin")


def _resume(plan: Plan, by: User, reason: str, now: datetime) -> Plan:
    return go_on(plan_id=plan.pk, by=by, reason=reason, now=now, via="admin")


def _roll_back(plan: Plan, by: User, reason: str, now: datetime) -> Rollback:
    return request_rollback(plan_id=plan.pk, by=by, reason=reason, now=now, via="admin")


PLAN_ACTS = (
    Act("submit", "Submit for approval", "The approvers are asked to decide.", _submit),
    Act(
        "approve",
        "Approve",
        "Each plan is approved in your approval role.",
        _approve,
        signs=True,
    ),
    Act("reject", "Reject", "The plans end; their authors read why.", _reject, reason_needed=True),
    Act("start", "Start", "The first batch of each plan begins.", _start),
    Act("pause", "Pause", "Nothing new starts; unless resumed in time, all goes back.", _pause),
    Act("resume", "Resume", "The plans go on where they stand still.", _resume),
    Act(
        "roll_back",
        "Roll back",
        "Every tenant that these plans have touched is taken back to its version before, at once.",
        _roll_back,
        reason_needed=True,
    ),
)


class ReadOnlyInline(AnyInline):
    """Rows below another row, to look at."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Let staff look."""
        return bool(request.user.is_staff)

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Let nobody change."""
        return False


class RevisionInline(ReadOnlyInline):
    """What the plan said, and when."""

    model = PlanRevision
    fields = ("number", "policy_name", "policy_digest", "approvals", "plan_digest", "author", "why")


class ApprovalInline(ReadOnlyInline):
    """What the approvers were asked."""

    model = ApprovalRequest
    fields = ("action", "roles", "deadline", "opened_by", "closed_at", "outcome")


class GrantInline(ReadOnlyInline):
    """Who signed what, and what used it up."""

    model = Grant
    fields = ("action", "approver", "role", "issued_at", "expires_at", "consumed_at", "op")


class BatchInline(ReadOnlyInline):
    """The plan's batches."""

    model = Batch
    fields = ("number", "name", "size", "state", "opened_at", "ended_at")


@admin.register(Plan)
class PlanAdmin(HistoryAdmin):
    """Plans: changed by acts only."""

    list_display = (
        "external_id",
        "plugin",
        "release__version",
        "state",
        "author__name",
        "created_at",
    )
    list_select_related = ("plugin", "release", "author")
    list_filter = ("state", "plugin")
    search_fields = ("external_id", "plugin__key", "release__version")
    date_hierarchy = "created_at"
    inlines = (RevisionInline, ApprovalInline, GrantInline, BatchInline)
    actions = tuple(as_action(act) for act in PLAN_ACTS)


@admin.register(Batch)
class BatchAdmin(HistoryAdmin):
    """Batches."""

    list_display = ("plan", "number", "name", "size", "state", "opened_at", "ended_at")
    list_select_related = ("plan",)
    list_filter = ("state",)
    search_fields = ("plan__external_id", "name")
    ordering = ("-pk",)


@admin.register(TenantUpgrade)
class TenantUpgradeAdmin(ReadOnlyAdmin):
    """What became of each tenant."""

    list_display = (
        "tenant_key",
        "batch",
        "state",
        "version_before",
        "version_observed",
        "attempts",
    )
    list_select_related = ("batch",)
    list_filter = ("state",)
    search_fields = ("tenant_key", "plan__external_id")
    ordering = ("-pk",)


@admin.register(DeployerCall)
class DeployerCallAdmin(ReadOnlyAdmin):
    """The journal of calls."""

    list_display = ("key", "attempt", "direction", "version", "started_at", "ended_at", "outcome")
    list_filter = ("direction", "outcome")
    search_fields = ("key",)
    ordering = ("-pk",)


@admin.register(Rollback)
class RollbackAdmin(ReadOnlyAdmin):
    """Rollbacks."""

    list_display = (
        "plan",
        "scope",
        "trigger",
        "triggered_at",
        "deadline",
        "verified_at",
        "missed_at",
        "aftermath",
    )
    list_select_related = ("plan",)
    list_filter = ("trigger", "scope", "aftermath")
    search_fields = ("plan__external_id", "reason")
    ordering = ("-triggered_at",)


@admin.register(RollbackDrill)
class RollbackDrillAdmin(ReadOnlyAdmin):
    """Rehearsed rollbacks."""

    list_display = ("plan", "kind", "inject", "started_at", "seconds", "quote_seconds", "outcome")
    list_select_related = ("plan",)
    list_filter = ("kind", "outcome", "inject", "deployer")
    search_fields = ("plan__external_id", "sentence")
    ordering = ("-started_at",)


@admin.register(DrillSchedule)
class DrillScheduleAdmin(ReadOnlyAdmin):
    """Rehearsals that come again; made and agreed to under Drills."""

    list_display = ("name", "release", "deployer", "enabled", "next_at", "problem")
    list_select_related = ("release__plugin",)


@admin.register(Ruling)
class RulingAdmin(ReadOnlyAdmin):
    """Verdicts with their sentences."""

    list_display = ("at", "plan", "guardrail", "verdict", "action", "sentence")
    list_select_related = ("plan",)
    list_filter = ("verdict",)
    search_fields = ("plan__external_id", "kpi")
    ordering = ("-at",)


@admin.register(EvidenceState)
class EvidenceStateAdmin(ReadOnlyAdmin):
    """Where the evidence tests stand."""

    list_display = ("plan", "percent", "verdict", "action", "sentence", "updated_at")
    list_select_related = ("plan",)
    list_filter = ("verdict",)
    search_fields = ("plan__external_id", "kpi")


@admin.register(EvidenceBaseline)
class EvidenceBaselineAdmin(ReadOnlyAdmin):
    """What tenants were like before their plan; the tests are calibrated with it."""

    list_display = ("plan", "kpi", "phi", "short", "taken_at")
    list_select_related = ("plan",)
    search_fields = ("plan__external_id", "kpi")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What people had to know."""

    list_display = ("opened_at", "resolved_at", "kind", "plan", "sentence")
    list_select_related = ("plan",)
    list_filter = ("kind",)
    search_fields = ("plan__external_id", "sentence")


@admin.register(DeployerMeasurement)
class DeployerMeasurementAdmin(ReadOnlyAdmin):
    """How fast the deployers were; the rollback quote comes from these."""

    list_display = ("deployer", "direction", "count", "updated_at")


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Who runs what right now."""

    list_display = ("name", "holder", "kind", "token", "expires_at")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """Which processes are alive."""

    list_display = ("name", "kind", "at", "tick_ms")

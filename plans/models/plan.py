"""Plans, their revisions and the tenants in them."""

import uuid
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import models
from django_fsm import FSMField

from plans.lifecycle import LIVE_PLAN_STATES, PLAN
from plans.models.driven import Driven
from plans.models.people import User
from plans.models.rights import sight
from plans.models.tenant import Tenant
from plans.reach import Reach
from plans.refusal import Refused

RowT = TypeVar("RowT", bound=models.Model)


class PlanQuerySet(models.QuerySet["Plan"]):
    """Questions about plans."""

    def locked(self, plan_id: uuid.UUID | str) -> "Plan":
        """Return the plan under its row lock; only inside a transaction, before any other lock.

        Whoever changes anything of a plan takes this first, so that what concerns one plan happens
        one after the other. Rows that merely refer to the plan do not wait for it (no key).
        """
        return self.select_for_update(no_key=True).select_related(None).get(pk=plan_id)

    def live(self) -> "PlanQuerySet":
        """Return the plans that may touch tenants or have unfinished business with them."""
        return self.filter(state__in=LIVE_PLAN_STATES)

    def within(self, reach: Reach) -> "PlanQuerySet":
        """Return the plans all of whose tenants the reach covers.

        A plan that also covers a tenant beyond it is another's plan: whoever saw it would see that
        tenant, and whoever stopped it would stop it there.
        """
        if reach.everything:
            return self
        if reach.nothing:
            return self.none()
        beyond = PlanTenant.objects.filter(plan=models.OuterRef("pk")).exclude(
            tenant__in=Tenant.objects.within(reach)
        )
        return self.filter(~models.Exists(beyond))

    def visible_to(self, user: User) -> "PlanQuerySet":
        """Return the plans that the person may know of; others do not exist for them."""
        return self.within(sight(user))


class Plan(Driven, models.Model):
    """An upgrade of one plugin to one release over a list of tenants, under one policy."""

    lifecycle = PLAN

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    external_id = models.CharField(max_length=120, unique=True)
    plugin = models.ForeignKey("plans.Plugin", on_delete=models.PROTECT, related_name="plans")
    release = models.ForeignKey("plans.Release", on_delete=models.PROTECT, related_name="plans")
    deployer = models.CharField(max_length=63)
    owner_name = models.CharField(max_length=120, blank=True)
    owner_email = models.EmailField(blank=True)
    note = models.TextField(blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="plans"
    )
    state = FSMField(
        max_length=24, default=PLAN.initial, choices=PLAN.choices(), protected=True, db_index=True
    )
    epoch = models.PositiveIntegerField(default=0)
    revision = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    metric_bindings = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    paused_at = models.DateTimeField(null=True, blank=True)
    resume_by = models.DateTimeField(null=True, blank=True)
    pause_deadline = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="When a person ended it where it stood."
    )
    waiting_for = models.CharField(max_length=300, blank=True)
    old_versions = models.JSONField(
        default=list,
        blank=True,
        help_text="What a rollback would bring back without a signature that holds, as it was"
        " looked up at submission and start: version, tenants, problem.",
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.external_id} ({self.state})"

    def require_revision(self, number: int | None) -> None:
        """Raise Refused when something was decided by another revision than the one in force."""
        if number is not None and number != self.revision:
            raise Refused(
                f"The plan was changed to revision {self.revision} meanwhile; look at it again.",
                code="plan_changed",
            )

    @property
    def stream_key(self) -> str:
        """Return the name of this plan's trail."""
        return f"plan:{self.pk}"


class OfPlans(models.QuerySet[RowT]):
    """Rows that belong to a plan: they are visible to whom their plan is."""

    def visible_to(self, user: User) -> Self:
        """Return the rows of plans that the person may know of; of no plan only to who sees all."""
        reach = sight(user)
        return self if reach.everything else self.filter(plan__in=Plan.objects.within(reach))


class PlanRevision(models.Model):
    """What exactly a plan said at one time; never edited."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    release = models.ForeignKey("plans.Release", on_delete=models.PROTECT, related_name="+")
    deployer = models.CharField(max_length=63)
    not_before = models.DateTimeField(null=True, blank=True)
    policy = models.ForeignKey("plans.Policy", on_delete=models.PROTECT, related_name="+")
    policy_name = models.CharField(max_length=120)
    policy_text = models.TextField()
    policy_digest = models.CharField(max_length=64)
    approvals = models.CharField(max_length=120)
    tenant_choice = models.JSONField(default=dict)
    tenants_digest = models.CharField(max_length=64)
    seed = models.CharField(max_length=64)
    plan_digest = models.CharField(max_length=64)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    why = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("plan", "number")
        constraints = (
            models.UniqueConstraint(fields=["plan", "number"], name="one_row_per_plan_revision"),
        )

    def __str__(self) -> str:
        return f"{self.plan_id} revision {self.number}"


class PlanTenantQuerySet(OfPlans["PlanTenant"]):
    """Questions about places."""


class PlanTenant(models.Model):
    """A tenant's place in a plan."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="plan_tenants")
    tenant = models.ForeignKey("plans.Tenant", on_delete=models.PROTECT, related_name="+")
    plugin = models.ForeignKey("plans.Plugin", on_delete=models.PROTECT, related_name="+")
    batch_number = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    reserved = models.BooleanField(default=False)
    excluded = models.BooleanField(default=False)
    excluded_why = models.CharField(max_length=200, blank=True)

    objects = PlanTenantQuerySet.as_manager()

    class Meta:
        ordering = ("plan", "batch_number", "position")
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "tenant"], name="one_place_per_plan_and_tenant"
            ),
            models.UniqueConstraint(
                fields=["plugin", "tenant"],
                condition=models.Q(reserved=True),
                name="one_live_plan_per_tenant_and_plugin",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.plan_id}"


class ApprovalRequest(models.Model):
    """A question to the approvers about one exact content."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="approval_requests")
    revision = models.ForeignKey(PlanRevision, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=32, default="start")
    plan_digest = models.CharField(max_length=64)
    roles = models.JSONField(default=list)
    deadline = models.DateTimeField()
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ("-opened_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "action"],
                condition=models.Q(closed_at=None),
                name="one_open_request_per_plan_and_action",
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} of {self.plan_id}"

    def missing_roles(self, given: Any) -> list[str]:
        """Return the roles that nobody among `given` approvals stands for yet."""
        held = {approval.role for approval in given if approval.verdict == Approval.APPROVED}
        return [role for role in self.roles if role not in held]


class Approval(models.Model):
    """One person's verdict on one request."""

    APPROVED = "approved"
    REJECTED = "rejected"

    request = models.ForeignKey(ApprovalRequest, on_delete=models.CASCADE, related_name="approvals")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(
        max_length=16, choices=[(APPROVED, "Approved"), (REJECTED, "Rejected")]
    )
    role = models.CharField(max_length=64, blank=True)
    comment = models.TextField(blank=True)
    method = models.CharField(max_length=32, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ("at",)
        constraints = (
            models.UniqueConstraint(
                fields=["request", "user"], name="one_verdict_per_person_and_request"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} {self.verdict}"

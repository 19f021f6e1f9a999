"""Batches and the tenant upgrades in them."""

from typing import Any

from django.conf import settings
from django.db import models
from django_fsm import FSMField

from batches.lifecycle import BATCH, LIVE_BATCH_STATES, TENANT_UPGRADE
from plans.models import Plan
from plans.models.driven import Driven
from plans.refusal import NotFound


class BatchQuerySet(models.QuerySet["Batch"]):
    """Questions about batches."""

    def locked(self, batch_id: int) -> tuple["Batch", Plan]:
        """Return a batch and its plan under their row locks, always taken plan first."""
        plan_id = self.filter(pk=batch_id).values_list("plan_id", flat=True).first()
        if plan_id is not None:
            plan = Plan.objects.locked(plan_id)
            batch = self.select_for_update(no_key=True).filter(pk=batch_id).first()
            if batch is not None:
                return batch, plan
        # A batch that had not begun goes when the tenants that wait are shared out anew.
        raise NotFound("This batch is not there any more; look at the plan again.")


class Batch(Driven, models.Model):
    """A share of a plan's tenants that is upgraded and watched together."""

    lifecycle = BATCH

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="batches")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    size = models.PositiveIntegerField(default=0)
    metrics = models.JSONField(default=list)
    advance = models.CharField(max_length=16, default="automatic")
    hold_back = models.BooleanField(default=False)
    state = FSMField(
        max_length=24, default=BATCH.initial, choices=BATCH.choices(), protected=True, db_index=True
    )
    held_from = models.CharField(max_length=24, blank=True)
    held_at = models.DateTimeField(null=True, blank=True)
    held_kind = models.CharField(max_length=32, blank=True)
    held_reason = models.CharField(max_length=400, blank=True)
    acknowledged = models.JSONField(
        default=dict, blank=True, help_text="What a person let pass: condition to its value."
    )
    promoted_at = models.DateTimeField(null=True, blank=True)
    promoted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    opened_at = models.DateTimeField(null=True, blank=True)
    handed_out_at = models.DateTimeField(null=True, blank=True)
    calling_since = models.DateTimeField(null=True, blank=True)
    calls_done_at = models.DateTimeField(null=True, blank=True)
    waits_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when a closed window or a freeze keeps it waiting."
    )
    waited_seconds = models.FloatField(
        default=0, help_text="How long it waited for openings while it was being called."
    )
    soak_seconds = models.FloatField(default=0)
    soak_left = models.FloatField(default=0)
    soak_counted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    owner = models.CharField(max_length=200, blank=True)
    quote = models.JSONField(
        default=dict, blank=True, help_text="The rollback quote at the gate, when it began."
    )

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ("plan", "number")
        verbose_name_plural = "batches"
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "number"], name="one_batch_per_plan_and_number"
            ),
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(state__in=LIVE_BATCH_STATES),
                name="one_live_batch_per_plan",
            ),
        )

    def __str__(self) -> str:
        return f"Batch {self.number} of {self.plan_id} ({self.state})"


class TenantUpgradeQuerySet(models.QuerySet["TenantUpgrade"]):
    """Questions about tenant upgrades."""

    def touched(self) -> "TenantUpgradeQuerySet":
        """Return those that a call may have reached."""
        return self.filter(touched_at__isnull=False)

    def to_restore(self) -> "TenantUpgradeQuerySet":
        """Return the touched ones that are not accounted for after a rollback."""
        return self.touched().filter(
            state__in=(*TENANT_UPGRADE.sources("begin_restore"), "restoring"),
        )

    def quarantined(self) -> "TenantUpgradeQuerySet":
        """Return those that were taken out of their batch while the plan goes on."""
        return self.filter(set_aside=TenantUpgrade.QUARANTINED)

    def counts(self) -> dict[str, int]:
        """Return how many are in each state."""
        rows = self.order_by().values("state").annotate(n=models.Count("pk"))
        return {row["state"]: row["n"] for row in rows}


class TenantUpgrade(models.Model):
    """One tenant's upgrade in one batch; moved in chunks by compare-and-set, never one by one."""

    QUARANTINED = "quarantined"
    EXCLUDED = "excluded"
    SKIPPED = "skipped"

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="tenant_upgrades")
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="tenant_upgrades")
    tenant = models.ForeignKey("plans.Tenant", on_delete=models.PROTECT, related_name="+")
    tenant_key = models.CharField(max_length=63)
    position = models.PositiveIntegerField(default=0)
    state = models.CharField(
        max_length=16, default=TENANT_UPGRADE.initial, choices=TENANT_UPGRADE.choices()
    )
    generation = models.PositiveIntegerField(default=0)
    fence = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    version_before = models.CharField(max_length=64, blank=True)
    digest_before = models.CharField(max_length=200, blank=True)
    config_before = models.JSONField(null=True, blank=True)
    version_observed = models.CharField(max_length=64, blank=True)
    digest_observed = models.CharField(max_length=200, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    touched_at = models.DateTimeField(null=True, blank=True)
    upgraded_at = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True)
    exhausted_at = models.DateTimeField(
        null=True, blank=True, help_text="Its attempts are used up; only a person tries again."
    )
    last_error = models.CharField(max_length=500, blank=True)
    set_aside = models.CharField(
        max_length=16,
        blank=True,
        choices=[
            (QUARANTINED, "Quarantined"),
            (EXCLUDED, "Left out"),
            (SKIPPED, "Skipped"),
        ],
        help_text="Why the plan goes on without it; empty = it does not.",
    )
    set_aside_at = models.DateTimeField(null=True, blank=True)
    set_aside_why = models.CharField(max_length=500, blank=True)

    objects = TenantUpgradeQuerySet.as_manager()

    class Meta:
        ordering = ("batch", "position")
        constraints = (
            models.UniqueConstraint(
                fields=["batch", "tenant"], name="one_upgrade_per_batch_and_tenant"
            ),
        )
        indexes = (
            models.Index(fields=["batch", "state"], name="upgrade_batch_state"),
            models.Index(fields=["plan", "state"], name="upgrade_plan_state"),
        )

    def __str__(self) -> str:
        return f"{self.tenant_key} in batch {self.batch_id} ({self.state})"


class DeployerCall(models.Model):
    """The journal: one call to a deployer, written before it is sent."""

    INSTALL = "install"
    RESTORE = "restore"

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="calls")
    upgrade = models.ForeignKey(TenantUpgrade, on_delete=models.CASCADE, related_name="calls")
    direction = models.CharField(max_length=8, choices=[(INSTALL, "Install"), (RESTORE, "Restore")])
    generation = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    key = models.CharField(max_length=200)
    fence = models.BigIntegerField()
    version = models.CharField(max_length=64)
    executor = models.CharField(max_length=16)
    reason = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True)
    status = models.PositiveIntegerField(null=True, blank=True)
    answer = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=["key", "attempt"], name="one_row_per_key_and_attempt"),
        )
        indexes = (
            models.Index(
                fields=["plan"], condition=models.Q(ended_at=None), name="calls_open_by_plan"
            ),
            models.Index(fields=["plan", "ended_at"], name="calls_by_plan_and_end"),
        )

    def __str__(self) -> str:
        return f"{self.key} #{self.attempt}"

    def seconds(self) -> float | None:
        """Return how long the call took, None while it is open."""
        if self.ended_at is None:
            return None
        ended: Any = self.ended_at
        return float((ended - self.started_at).total_seconds())

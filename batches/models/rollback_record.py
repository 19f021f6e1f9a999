"""Rollbacks: what was taken back, why, by whom and how fast."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from plans.models import Plan


class RollbackQuerySet(models.QuerySet["Rollback"]):
    """Questions about rollbacks."""

    def locked(self, rollback_id: Any) -> tuple["Rollback", Plan]:
        """Return a rollback and its plan under their row locks, always taken plan first."""
        plan = Plan.objects.locked(self.values_list("plan_id", flat=True).get(pk=rollback_id))
        return self.select_for_update(no_key=True).get(pk=rollback_id), plan


class Rollback(models.Model):
    """One rollback of a plan, of a batch or of named tenants."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="rollbacks")
    scope = models.CharField(
        max_length=8, choices=[("plan", "Plan"), ("batch", "Batch"), ("tenants", "Tenants")]
    )
    batch = models.ForeignKey(
        "batches.Batch", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    tenants = models.JSONField(default=list, blank=True)
    trigger = models.CharField(max_length=24)
    ruling = models.ForeignKey(
        "batches.Ruling", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.TextField()
    sentence = models.TextField(blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    via = models.CharField(max_length=16)
    triggered_at = models.DateTimeField()
    clock_from = models.DateTimeField(help_text="Where the 180 s begin: for a pause, the pause.")
    deadline = models.DateTimeField()
    quote_seconds = models.FloatField(null=True, blank=True)
    expected_seconds = models.FloatField(
        null=True, blank=True, help_text="What was expected at the trigger, without bad luck."
    )
    quote_terms = models.JSONField(
        default=list, blank=True, help_text="The terms of the quote: label and seconds each."
    )
    touched = models.PositiveIntegerField(default=0)
    restored = models.PositiveIntegerField(default=0)
    needs_hand = models.PositiveIntegerField(default=0)
    superseded = models.JSONField(default=list, blank=True)
    unverified = models.JSONField(
        default=list,
        blank=True,
        help_text="Versions that it brings back without a signature that holds: version, tenants,"
        " problem.",
    )
    first_call_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When all of them had been read back once more."
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    missed_at = models.DateTimeField(null=True, blank=True)
    aftermath = models.CharField(
        max_length=16,
        blank=True,
        choices=[
            ("watching", "Being watched"),
            ("in_band", "Back in band"),
            ("still_bad", "Still bad"),
            ("no_data", "No data since"),
            ("not_watched", "Not watched"),
        ],
        help_text="What the Kpis of the restored tenants showed afterwards; empty before the end.",
    )
    aftermath_until = models.DateTimeField(
        null=True, blank=True, help_text="How long the restored tenants are watched at most."
    )
    aftermath_at = models.DateTimeField(null=True, blank=True)
    aftermath_sentence = models.TextField(blank=True)
    aftermath_kpis = models.JSONField(
        default=list, blank=True, help_text="Each guardrail with what was measured last."
    )

    objects = RollbackQuerySet.as_manager()

    class Meta:
        ordering = ("plan", "triggered_at")
        constraints = (
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(finished_at=None),
                name="one_open_rollback_per_plan",
            ),
        )
        indexes = (
            models.Index(
                fields=["plan"],
                condition=models.Q(aftermath="watching"),
                name="rollback_watched_afterwards",
            ),
        )

    def __str__(self) -> str:
        return f"Rollback of {self.plan_id} by {self.trigger}"

    def seconds(self) -> float | None:
        """Return the seconds from the trigger until the last tenant was read back, None before."""
        if self.verified_at is None:
            return None
        return (self.verified_at - self.triggered_at).total_seconds()


class AftermathSample(models.Model):
    """One look at one Kpi of the tenants that a rollback has restored."""

    rollback = models.ForeignKey(Rollback, on_delete=models.CASCADE, related_name="samples")
    kpi = models.CharField(max_length=120)
    at = models.DateTimeField()
    source = models.CharField(max_length=63)
    ok = models.BooleanField(default=True)
    look = models.JSONField(default=dict)
    asked = models.JSONField(
        default=dict, blank=True, help_text="What was read: the metric or the query of each part."
    )

    class Meta:
        ordering = ("rollback", "kpi", "at")
        indexes = (
            models.Index(fields=["rollback", "kpi", "at"], name="aftermath_rollback_kpi_at"),
        )

    def __str__(self) -> str:
        return f"{self.kpi} after {self.rollback_id} at {self.at:%H:%M:%S}"


class AftermathCursor(models.Model):
    """Where the counters of the restored tenants stood at the last look, per version."""

    rollback = models.ForeignKey(Rollback, on_delete=models.CASCADE, related_name="cursors")
    kpi = models.CharField(max_length=120)
    source = models.CharField(max_length=63)
    cursors = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["rollback", "kpi"], name="one_cursor_per_rollback_and_kpi"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kpi} after {self.rollback_id}"

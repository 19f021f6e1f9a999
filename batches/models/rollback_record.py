"""Rollbacks: what was taken back, why, by whom and how fast."""

import uuid

from django.conf import settings
from django.db import models


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
    first_call_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When all of them had been read back once more."
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    missed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("plan", "triggered_at")
        constraints = (
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(finished_at=None),
                name="one_open_rollback_per_plan",
            ),
        )

    def __str__(self) -> str:
        return f"Rollback of {self.plan_id} by {self.trigger}"

    def seconds(self) -> float | None:
        """Return the seconds from the trigger until the last tenant was read back, None before."""
        if self.verified_at is None:
            return None
        return (self.verified_at - self.triggered_at).total_seconds()

"""Changes to a plan while it runs: who asked for what, who agreed, and how long it holds."""

import uuid

from django.conf import settings
from django.db import models

from plans.models.plan import ApprovalRequest, Plan, PlanRevision


class Adjustment(models.Model):
    """One change of a running plan from the revision `before` to `revision`.

    Tightening is `applied` at once. Anything looser is `waiting` until its request is decided;
    what then does not take effect says why: rejected, expired, superseded or dropped.
    """

    WAITING = "waiting"
    APPLIED = "applied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    DROPPED = "dropped"
    STATES = (
        (WAITING, "Waits for approval"),
        (APPLIED, "In force"),
        (REJECTED, "Rejected"),
        (EXPIRED, "Expired"),
        (SUPERSEDED, "Superseded"),
        (DROPPED, "Dropped"),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="adjustments")
    before = models.ForeignKey(PlanRevision, on_delete=models.PROTECT, related_name="+")
    revision = models.ForeignKey(PlanRevision, on_delete=models.PROTECT, related_name="+")
    request = models.OneToOneField(
        ApprovalRequest,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="adjustment",
    )
    direction = models.CharField(max_length=8)
    changes = models.JSONField(default=list)
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    via = models.CharField(max_length=16)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=STATES)
    applied_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was dropped, or what it loosened was put back."
    )
    expires_after_seconds = models.FloatField(
        null=True, blank=True, help_text="How long a loosening holds once it is in force."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    restores = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="restored_by"
    )

    class Meta:
        ordering = ("plan", "asked_at", "revision__number")
        constraints = (
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(state="waiting"),
                name="one_waiting_adjustment_per_plan",
            ),
        )

    def __str__(self) -> str:
        return f"Adjustment of {self.plan_id} to revision {self.revision_id} ({self.state})"

    @property
    def sentences(self) -> list[str]:
        """Return its changes in words."""
        return [str(change["sentence"]) for change in self.changes]

    @property
    def paths(self) -> frozenset[str]:
        """Return what it changes."""
        return frozenset(str(change["path"]) for change in self.changes)

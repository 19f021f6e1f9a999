"""Approval grants: signed, bound to one content, used once."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models

from plans.models.plan import OfPlans


class GrantQuerySet(OfPlans["Grant"]):
    """Questions about grants."""

    def unused(self) -> "GrantQuerySet":
        """Return those that were neither used nor voided."""
        return self.filter(consumed_at=None, voided_at=None)

    def void(self, *, why: str, now: datetime) -> int:
        """Let those that were not used count no more; return how many there were."""
        return self.unused().update(voided_at=now, voided_why=why[:200])


class Grant(models.Model):
    """One person's signed yes. The columns are there to find it by; what counts is the payload.

    `jti` is the payload's own id. `op` names the operation that used it up.
    """

    jti = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="grants")
    request = models.ForeignKey(
        "plans.ApprovalRequest",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="grants",
    )
    approval = models.OneToOneField(
        "plans.Approval", on_delete=models.PROTECT, null=True, blank=True, related_name="grant"
    )
    action = models.CharField(max_length=32)
    approver = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    role = models.CharField(max_length=64, blank=True)
    methods = models.JSONField(default=list, help_text="How the approver stepped up.")
    answer = models.JSONField(
        null=True, blank=True, help_text="What the approver's security key answered."
    )
    payload = models.TextField(help_text="Base64 of the canonical JSON that is signed.")
    sig = models.CharField(max_length=128, help_text="Base64 of the Ed25519 signature.")
    kid = models.CharField(max_length=64)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    consumed_at = models.DateTimeField(null=True, blank=True)
    op = models.CharField(max_length=160, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    voided_why = models.CharField(max_length=200, blank=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ("issued_at", "jti")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(consumed_at=None) | models.Q(voided_at=None),
                name="a_used_grant_is_not_void",
            ),
        )
        indexes = (
            models.Index(
                fields=["expires_at"],
                condition=models.Q(consumed_at=None, voided_at=None),
                name="grants_not_used_yet",
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} by {self.approver_id} ({self.jti})"

    def to_json(self) -> dict[str, str]:
        """Return the grant as whoever verifies it takes it."""
        return {"payload": self.payload, "sig": self.sig, "kid": self.kid}

    def stage(self, at: datetime) -> str:
        """Return `used`, `void`, `expired` or `open`."""
        if self.consumed_at is not None:
            return "used"
        if self.voided_at is not None:
            return "void"
        return "expired" if self.expires_at <= at else "open"


class BreakGlassQuerySet(OfPlans["BreakGlass"]):
    """Questions about the times at which the approvers were passed over."""

    def unreviewed(self) -> "BreakGlassQuerySet":
        """Return those about which nobody has said a word yet."""
        return self.filter(reviewed_at=None)

    def overdue(self, at: datetime) -> "BreakGlassQuerySet":
        """Return those whose review should have been."""
        return self.unreviewed().filter(review_due__lte=at)


class BreakGlass(models.Model):
    """One act that was done without the approvers, why, and what others said of it afterwards."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not_justified"
    VERDICTS = ((JUSTIFIED, "Justified"), (NOT_JUSTIFIED, "Not justified"))

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="broken_glass")
    act = models.CharField(max_length=16)
    batch = models.PositiveIntegerField(null=True, blank=True)
    grant = models.OneToOneField(Grant, on_delete=models.PROTECT, related_name="broken_glass")
    roles = models.JSONField(default=list, help_text="The roles that were passed over.")
    told = models.JSONField(default=list, help_text="The ids of those who could have agreed.")
    reason = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    via = models.CharField(max_length=16)
    review_due = models.DateTimeField()
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reviewed_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=16, choices=VERDICTS, blank=True)
    review = models.TextField(blank=True)

    objects = BreakGlassQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "pk")
        indexes = (
            models.Index(
                fields=["review_due"],
                condition=models.Q(reviewed_at=None),
                name="break_glass_not_reviewed",
            ),
        )

    def __str__(self) -> str:
        return f"{self.act} of {self.plan_id} by {self.by_id}"

    def is_overdue(self, at: datetime) -> bool:
        """Tell whether its review should have been."""
        return self.reviewed_at is None and self.review_due <= at

    def facts(self) -> dict[str, Any]:
        """Return what events and alerts tell of it."""
        return {
            "break_glass": str(self.pk),
            "act": self.act,
            "batch": self.batch,
            "roles": self.roles,
            "reason": self.reason,
            "grant": str(self.grant_id),
            "review_due": self.review_due.isoformat(),
        }

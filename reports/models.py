"""Reports that were issued, and who was told what."""

import uuid
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q

from plans.lifecycle import PLAN
from plans.models import OfPlans
from plans.sealed_secrets import open_sealed, seal


class UpgradeReportQuerySet(OfPlans["UpgradeReport"]):
    """Questions about reports."""


class UpgradeReport(models.Model):
    """One issued report: a file that never changes, or the reason why there is none."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="reports")
    kind = models.CharField(
        max_length=16, choices=[("compliance", "Compliance report")], default="compliance"
    )
    ending = models.DateTimeField(help_text="The plan's ending that the report tells of.")
    state = models.CharField(max_length=24, help_text="The plan's state in the report.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the PDF's bytes.")
    data_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of report.json.")
    file = models.CharField(max_length=300, blank=True, help_text="Relative to the reports folder.")
    size = models.PositiveBigIntegerField(default=0)
    issued_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(default=0, help_text="How long it took to make.")
    error = models.CharField(max_length=700, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(help_text="When it is tried (again).")

    objects = UpgradeReportQuerySet.as_manager()

    class Meta:
        ordering = ("-ending",)
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "kind", "ending"], name="one_report_per_plan_kind_and_ending"
            ),
        )
        indexes = (
            models.Index(
                fields=["next_at"], condition=Q(issued_at=None), name="report_not_issued_yet"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} of {self.plan_id} at {self.ending:%Y-%m-%d %H:%M:%S}"

    @property
    def state_words(self) -> str:
        """Return the plan's state in the report as people say it."""
        return PLAN.states.get(self.state, self.state)

    @property
    def ready(self) -> bool:
        """Tell whether the file is there to be read."""
        return self.issued_at is not None


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    """Questions about endpoints."""

    def wanting(self, kind: str) -> "list[Endpoint]":
        """Return the active endpoints that asked for this kind of alert; no kinds = all."""
        return [row for row in self.filter(active=True) if not row.kinds or kind in row.kinds]


class Endpoint(models.Model):
    """A machine that wants to be told of alerts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    url = models.URLField(max_length=500, help_text="http or https; gets CloudEvents 1.0 JSON.")
    sealed_secret = models.TextField(
        blank=True,
        default="",
        editable=False,
        help_text="What signs each delivery, sealed by a key that is not in the database.",
    )
    kinds = models.JSONField(
        default=list, blank=True, help_text='Kinds of alerts, e.g. ["breach"]; empty = all.'
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"

    @property
    def has_secret(self) -> bool:
        """Tell whether deliveries are signed; that much of the secret may be shown."""
        return bool(self.sealed_secret)

    def keep_secret(self, secret: str) -> None:
        """Take a secret, sealed at once; none leaves deliveries unsigned. Raises KeysUnusable."""
        self.sealed_secret = seal(secret)

    def open_secret(self) -> str:
        """Return the secret for signing. Raises SealBroken or KeysUnusable."""
        return open_sealed(self.sealed_secret)


class Announcement(models.Model):
    """An alert that began or ended, or a checkpoint, in the words that everybody is sent.

    Written once with all its deliveries, so that a retry sends the same event, id included.
    """

    FIRING = "firing"
    RESOLVED = "resolved"
    SIGNED = "signed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(
        "batches.Alert",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="announcements",
        help_text="Nothing for a checkpoint of the trail.",
    )
    status = models.CharField(
        max_length=8,
        choices=[(FIRING, "Firing"), (RESOLVED, "Resolved"), (SIGNED, "Checkpoint")],
    )
    event = models.JSONField(help_text="The CloudEvent as it is sent.")
    made_at = models.DateTimeField()

    class Meta:
        ordering = ("-made_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["alert", "status"], name="one_announcement_per_alert_and_status"
            ),
        )

    def __str__(self) -> str:
        told = self.event.get("data", {})
        plan = told.get("external_id")
        what = told.get("kind") or self.event.get("subject")
        return f"{what} of {plan}, {self.status}" if plan else f"{what} {self.status}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Questions about deliveries."""

    def due(self, now: datetime) -> "DeliveryQuerySet":
        """Return what has to be sent (again) by now, the oldest first."""
        return self.filter(delivered_at=None, given_up_at=None, next_at__lte=now).order_by(
            "next_at", "pk"
        )


class Delivery(models.Model):
    """One announcement on its way to one address; sent until it arrives or is given up."""

    WEBHOOK = "webhook"
    MAIL = "mail"

    announcement = models.ForeignKey(
        Announcement, on_delete=models.CASCADE, related_name="deliveries"
    )
    channel = models.CharField(max_length=8, choices=[(WEBHOOK, "Webhook"), (MAIL, "E-mail")])
    target = models.CharField(max_length=500, help_text="An URL or an e-mail address.")
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries"
    )
    tenants = models.JSONField(
        default=list, blank=True, help_text="For an owner: the tenants of theirs."
    )
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    given_up_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=["announcement", "channel", "target"],
                name="one_delivery_per_announcement_and_target",
            ),
        )
        indexes = (
            models.Index(
                fields=["next_at"],
                condition=Q(delivered_at=None, given_up_at=None),
                name="delivery_not_done_yet",
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.target}: {self.outcome()}"

    def outcome(self) -> str:
        """Return what has become of it."""
        if self.delivered_at is not None:
            return "delivered"
        return "given up" if self.given_up_at is not None else "waiting"

    def event(self) -> dict[str, Any]:
        """Return the CloudEvent that is sent."""
        body: dict[str, Any] = self.announcement.event
        return body

"""Who runs what right now, how fast the deployers are, and what is wrong."""

from django.db import models


class Lease(models.Model):
    """The right to do one thing; moved by compare-and-set only."""

    name = models.CharField(max_length=80, primary_key=True)
    holder = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, blank=True)
    token = models.PositiveBigIntegerField(default=1)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class Heartbeat(models.Model):
    """When a process last said that it is alive, and how long its work took."""

    name = models.CharField(max_length=80, primary_key=True)
    kind = models.CharField(max_length=16)
    at = models.DateTimeField()
    tick_ms = models.FloatField(default=0)
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name


class DeployerMeasurement(models.Model):
    """How long a deployer's calls took lately; feeds the rollback quote."""

    deployer = models.CharField(max_length=63)
    direction = models.CharField(max_length=8)
    count = models.PositiveBigIntegerField(default=0)
    durations = models.JSONField(default=list, help_text="Seconds of the newest calls.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["deployer", "direction"], name="one_measurement_per_deployer_direction"
            ),
        )

    def __str__(self) -> str:
        return f"{self.deployer} {self.direction}"


class Alert(models.Model):
    """Something that people must know; one open alert per key."""

    plan = models.ForeignKey(
        "plans.Plan", on_delete=models.CASCADE, null=True, blank=True, related_name="alerts"
    )
    batch = models.ForeignKey(
        "batches.Batch", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=200)
    sentence = models.TextField()
    payload = models.JSONField(default=dict)
    opened_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-opened_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["key"], condition=models.Q(resolved_at=None), name="one_open_alert_per_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"

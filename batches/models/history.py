"""What was measured while nothing was released: roll-ups of all tenants, and where they stand."""

from django.conf import settings
from django.db import models


class KpiRollup(models.Model):
    """One Kpi of all tenants over one span; numbers are in `body` (batches/history/rollups.py).

    One row per Kpi and span, not per tenant. `step`: 60 s as recorded, 300 s and 3,600 s made of
    the finer ones.
    """

    kpi = models.CharField(max_length=120)
    step = models.PositiveIntegerField(help_text="Seconds of the span.")
    at = models.DateTimeField(help_text="Where the span begins.")
    tenants = models.PositiveIntegerField(default=0)
    body = models.BinaryField()

    class Meta:
        ordering = ("kpi", "step", "at")
        constraints = (
            models.UniqueConstraint(
                fields=["kpi", "step", "at"], name="one_rollup_per_kpi_step_and_span"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kpi} for {self.step} s from {self.at:%Y-%m-%d %H:%M}"


class KpiHistoryCursor(models.Model):
    """Where the counters of one Kpi stood at the last reading for the history."""

    kpi = models.CharField(max_length=120, primary_key=True)
    source = models.CharField(max_length=63)
    at = models.DateTimeField()
    cursor = models.JSONField(default=dict)
    trouble = models.CharField(
        max_length=300, blank=True, help_text="Why the last reading brought nothing."
    )

    def __str__(self) -> str:
        return f"{self.kpi} up to {self.at:%H:%M:%S}"


class JudgedLook(models.Model):
    """When and with what else the looks of a plan were judged: with these a ruling replays.

    `looks`: per Kpi the moment of the newest look. `since`: what was seen before did not count.
    `states`: where the guardrails stood, written when the watch had just read them back.
    `upgraded`, `baselines`: written when they are others than in the row before.
    """

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="judged_looks")
    at = models.DateTimeField()
    revision = models.PositiveIntegerField()
    canary = models.PositiveIntegerField(help_text="Upgraded tenants.")
    control = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tenants that waited untouched; empty in old rows."
    )
    evidence_anew = models.BooleanField(
        default=False, help_text="What the evidence test had tested was over: it began anew."
    )
    soak_started = models.DateTimeField(null=True, blank=True)
    since = models.DateTimeField(null=True, blank=True)
    batch = models.PositiveBigIntegerField(null=True, blank=True, help_text="The present one.")
    looks = models.JSONField(default=dict)
    states = models.JSONField(null=True, blank=True)
    upgraded = models.JSONField(null=True, blank=True)
    baselines = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("plan", "pk")

    def __str__(self) -> str:
        return f"Judged {self.plan_id} at {self.at:%H:%M:%S}"


class PlaceboRun(models.Model):
    """How often a policy would have rolled back although nothing was released; insert only."""

    policy = models.ForeignKey("plans.Policy", on_delete=models.CASCADE, related_name="placebos")
    at = models.DateTimeField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    seed = models.CharField(max_length=64)
    rollouts = models.PositiveIntegerField()
    rolled_back = models.PositiveIntegerField()
    sentence = models.TextField()
    result = models.JSONField(default=dict)

    class Meta:
        ordering = ("policy", "-at")

    def __str__(self) -> str:
        return f"Placebo of {self.policy_id}: {self.rolled_back} of {self.rollouts}"


class SoakOutlook(models.Model):
    """What the soaks of a plan could find, as forecast when it was submitted; insert only."""

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="soak_outlooks")
    revision = models.PositiveIntegerField()
    at = models.DateTimeField()
    outlook = models.JSONField(default=list)

    class Meta:
        ordering = ("plan", "-pk")

    def __str__(self) -> str:
        return f"Soak of {self.plan_id} revision {self.revision}"

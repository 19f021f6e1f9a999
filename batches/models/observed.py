"""What was measured, and what was ruled on it."""

from django.db import models


class KpiSample(models.Model):
    """One look at one Kpi of one plan: the increments or values of all its tenants.

    One row per look, not per tenant: 10,000 tenants x 4 Kpis are 4 rows, not 40,000
    (docs/decisions/0007).
    """

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="samples")
    kpi = models.CharField(max_length=120)
    at = models.DateTimeField()
    source = models.CharField(max_length=63)
    ok = models.BooleanField(default=True)
    cause = models.CharField(max_length=300, blank=True)
    look = models.JSONField(default=dict)
    asked = models.JSONField(
        default=dict, blank=True, help_text="What was read: the metric or the query of each part."
    )

    class Meta:
        ordering = ("plan", "kpi", "at")
        indexes = (models.Index(fields=["plan", "kpi", "at"], name="sample_plan_kpi_at"),)

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id} at {self.at:%H:%M:%S}"


class KpiCourse(models.Model):
    """What a report draws of the looks at one Kpi, kept when the looks were dropped.

    `points`: moment, value of the upgraded tenants, of the others, why there was none. `up_to`: the
    newest look of the plan that is in the courses.
    """

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="kpi_courses")
    kpi = models.CharField(max_length=120)
    source = models.CharField(max_length=63)
    looks = models.PositiveIntegerField(default=0)
    blind = models.PositiveIntegerField(default=0)
    points = models.JSONField(default=list)
    up_to = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["plan", "kpi"], name="one_course_per_plan_and_kpi"),
        )

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id}: {self.looks} looks"


class KpiCursor(models.Model):
    """Where the counters of one Kpi stood at the last look, so that a restart goes on exactly."""

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="kpi_cursors")
    kpi = models.CharField(max_length=120)
    source = models.CharField(max_length=63)
    at = models.DateTimeField()
    cursor = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["plan", "kpi"], name="one_cursor_per_plan_and_kpi"),
        )

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id}"


class GuardrailState(models.Model):
    """The running state of one guardrail of one plan."""

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="guardrails")
    key = models.CharField(max_length=160)
    kpi = models.CharField(max_length=120)
    verdict = models.CharField(max_length=16, default="undecided")
    sentence = models.TextField(blank=True)
    value = models.FloatField(null=True, blank=True)
    state = models.JSONField(default=dict)
    told = models.JSONField(
        default=dict, help_text="What the sentence stands on: counts, limit, cause, what is next."
    )
    recent = models.JSONField(
        default=list, help_text="The newest measured values: [unix seconds, value, limit]."
    )
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "key"], name="one_state_per_plan_and_guardrail"
            ),
        )

    def __str__(self) -> str:
        return f"{self.key} of {self.plan_id}: {self.verdict}"


class Ruling(models.Model):
    """A verdict with its sentence; insert only, one when verdict or reason changes."""

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="rulings")
    batch = models.ForeignKey(
        "batches.Batch", on_delete=models.CASCADE, null=True, blank=True, related_name="rulings"
    )
    guardrail = models.CharField(max_length=160)
    kpi = models.CharField(max_length=120)
    verdict = models.CharField(max_length=16)
    action = models.CharField(max_length=16, blank=True)
    sentence = models.TextField()
    value = models.FloatField(null=True, blank=True)
    threshold = models.FloatField(null=True, blank=True)
    unit = models.CharField(max_length=16, blank=True)
    n = models.PositiveBigIntegerField(default=0)
    window_seconds = models.FloatField(default=0)
    tenants = models.PositiveIntegerField(default=0)
    worst_tenant = models.CharField(max_length=63, blank=True)
    worst_value = models.FloatField(null=True, blank=True)
    inputs_digest = models.CharField(max_length=64)
    revision = models.PositiveIntegerField(
        default=0, help_text="The plan's revision whose policy ruled; 0 = before it was kept."
    )
    cause = models.CharField(
        max_length=40, blank=True, default="", help_text="Why there was nothing to judge."
    )
    since = models.DateTimeField(
        null=True, blank=True, help_text="Since when there had been nothing to judge."
    )
    baseline = models.FloatField(
        null=True, blank=True, help_text="What the value was compared with, if with anything."
    )
    query = models.TextField(blank=True, default="", help_text="What the source was asked.")
    evidence = models.JSONField(
        default=dict, help_text="Counts, worst tenant, newest values, what would be next."
    )
    at = models.DateTimeField()

    class Meta:
        ordering = ("plan", "at", "pk")

    def __str__(self) -> str:
        return f"{self.guardrail}: {self.verdict}"


class KpiBaseline(models.Model):
    """Each tenant's own mean of one Kpi before this plan upgraded it, in the Kpi's unit.

    Written once per tenant, so that every ruling of the plan stands on the same numbers.
    """

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="kpi_baselines")
    kpi = models.CharField(max_length=120)
    means = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["plan", "kpi"], name="one_baseline_per_plan_and_kpi"),
        )

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id} before its upgrades"

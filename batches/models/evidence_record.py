"""Where the evidence test of a plan stands, what it was calibrated with, and its course."""

from django.db import models


class EvidenceState(models.Model):
    """The test of one plan: its running state, and what it says now.

    `may_pass`: a batch whose soak is over is not kept by it. `reached_at`: when it reached 100 %.
    """

    plan = models.OneToOneField("plans.Plan", on_delete=models.CASCADE, related_name="evidence")
    state = models.JSONField(default=dict)
    percent = models.FloatField(default=0.0)
    verdict = models.CharField(max_length=16, default="undecided")
    action = models.CharField(max_length=16, blank=True)
    cause = models.CharField(max_length=32, blank=True)
    kpi = models.CharField(max_length=120, blank=True)
    sentence = models.TextField(blank=True)
    may_pass = models.BooleanField(default=False)
    estimated = models.BooleanField(default=False)
    began_at = models.DateTimeField()
    reached_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"evidence of {self.plan_id}: {self.percent:.0f} %"


class EvidenceLook(models.Model):
    """What one look at one Kpi brought to the test; insert only, once per look."""

    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="evidence_looks")
    kpi = models.CharField(max_length=120)
    at = models.DateTimeField()
    log_e = models.FloatField(help_text="Logarithm of the evidence of this Kpi alone.")
    percent = models.FloatField(help_text="Of this Kpi alone.")
    together = models.FloatField(help_text="Percent of all Kpis together.")
    together_log_e = models.FloatField(help_text="Logarithm of the evidence of all together.")
    canary_errors = models.FloatField()
    canary_requests = models.FloatField()
    control_errors = models.FloatField()
    control_requests = models.FloatField()
    ratio = models.FloatField(
        null=True, blank=True, help_text="The canary's rate by the control's, within the batch."
    )
    ratio_lower = models.FloatField(null=True, blank=True)
    ratio_upper = models.FloatField(null=True, blank=True)
    ratio_tolerated = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ("plan", "at", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "kpi", "at"], name="one_evidence_look_per_kpi_and_moment"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id} at {self.at:%H:%M:%S}: {self.percent:.0f} %"


class EvidenceBaseline(models.Model):
    """What the tenants were like before the plan, taken once: a restart counts with the same.

    `rates` holds errors and requests by tenant; empty where the history is `short`, and why.
    """

    plan = models.ForeignKey(
        "plans.Plan", on_delete=models.CASCADE, related_name="evidence_baselines"
    )
    kpi = models.CharField(max_length=120)
    bound = models.FloatField(
        null=True, blank=True, help_text="Of a histogram: slower than that counted as an error."
    )
    rates = models.JSONField(default=dict)
    phi = models.FloatField(default=1.0)
    short = models.CharField(max_length=300, blank=True)
    taken_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["plan", "kpi"], name="one_evidence_baseline_per_plan_and_kpi"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kpi} of {self.plan_id}: {self.short or 'known'}"

"""What the newest probe of each mapping found."""

from django.db import models


class KpiFit(models.Model):
    """How one mapping of the Kpi dictionary fitted its source when it was last probed.

    `digest` names the entries of the file that were probed: a changed mapping was not probed yet.
    """

    kpi = models.CharField(max_length=120)
    source = models.CharField(max_length=63)
    digest = models.CharField(max_length=64)
    probed_at = models.DateTimeField()
    took_ms = models.PositiveIntegerField(default=0)
    level = models.CharField(max_length=8)
    findings = models.JSONField(default=list, blank=True)
    tenants = models.PositiveIntegerField(default=0, help_text="How many were asked about.")
    without = models.JSONField(default=list, blank=True, help_text="Tenants without data.")
    facts = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("kpi", "source")
        constraints = (
            models.UniqueConstraint(fields=["kpi", "source"], name="one_fit_per_kpi_and_source"),
        )

    def __str__(self) -> str:
        return f"{self.kpi} from {self.source}: {self.level}"

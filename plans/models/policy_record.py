"""Policies as they were handed in."""

from django.db import models
from django.utils import timezone


class Policy(models.Model):
    """One policy of a policy file, kept with the whole text; never edited, only succeeded."""

    name = models.CharField(max_length=120)
    digest = models.CharField(max_length=64)
    text = models.TextField(help_text="The whole file, approvals included.")
    source = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(
        "plans.User", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    in_force_since = models.DateTimeField(
        default=timezone.now,
        help_text="When this text was handed in last; the newest is what new plans take.",
    )

    class Meta:
        ordering = ("name", "-in_force_since", "-pk")
        verbose_name_plural = "policies"
        constraints = (
            models.UniqueConstraint(fields=["name", "digest"], name="one_row_per_policy_text"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.digest[:8]}"

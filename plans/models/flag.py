"""Audited switches."""

from django.conf import settings
from django.db import models


class Flag(models.Model):
    """A switch that an administrator may turn; what each does: plans/flags.py."""

    name = models.CharField(max_length=63, primary_key=True)
    enabled = models.BooleanField(default=True)
    reason = models.CharField(max_length=300, blank=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.name}: {'on' if self.enabled else 'off'}"

"""Signed checkpoints over the trail, and what its checks have found."""

from django.db import models


class Checkpoint(models.Model):
    """What all heads were at a moment, signed. Written once; what vouches for it is outside."""

    number = models.PositiveBigIntegerField(unique=True)
    log = models.CharField(max_length=32, help_text="Which trail: the same as long as it goes on.")
    at = models.DateTimeField()
    why = models.CharField(max_length=32)
    text = models.TextField(help_text="The signed checkpoint, word for word.")
    kid = models.CharField(max_length=16)
    size = models.PositiveBigIntegerField(help_text="Events of all streams.")
    whole = models.BooleanField(help_text="Whether `heads` holds all heads, or what has changed.")
    heads = models.JSONField(help_text="Stream -> [number, hash] of its last event.")
    last_event = models.PositiveBigIntegerField(help_text="The newest event's key at that moment.")

    class Meta:
        ordering = ("number",)

    def __str__(self) -> str:
        return f"checkpoint {self.number}"


class TrailCheck(models.Model):
    """One check of the whole trail."""

    at = models.DateTimeField()
    outcome = models.PositiveSmallIntegerField(help_text="The exit code of audit_verify.")
    sentence = models.TextField()
    problems = models.JSONField(default=list)
    events = models.PositiveBigIntegerField()
    checkpoints = models.PositiveBigIntegerField()
    seconds = models.FloatField()

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}: {self.sentence}"

    @property
    def alarming(self) -> bool:
        """Tell whether somebody changed something, rather than that nobody looked."""
        return self.outcome in {1, 2, 3}

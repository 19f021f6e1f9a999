"""The trail: timeline, outbox and audit in one append-only table, chained by hashes."""

from django.conf import settings
from django.db import models

ZERO_HASH = "0" * 64


class Stream(models.Model):
    """One chain: `plan:<uuid>` or `system`. Its head is kept here and taken under its row lock."""

    key = models.CharField(max_length=64, unique=True)
    head_seq = models.PositiveBigIntegerField(default=0)
    head_hash = models.CharField(max_length=64, default=ZERO_HASH)

    def __str__(self) -> str:
        return self.key


class Event(models.Model):
    """One fact. Insert only: triggers refuse UPDATE and DELETE."""

    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="events")
    seq = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=64)
    at = models.DateTimeField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    actor_name = models.CharField(max_length=200)
    via = models.CharField(max_length=16)
    sentence = models.TextField()
    payload = models.JSONField(default=dict)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("stream", "seq")
        constraints = (
            models.UniqueConstraint(fields=["stream", "seq"], name="one_event_per_stream_and_seq"),
        )

    def __str__(self) -> str:
        return f"{self.stream_id}:{self.seq} {self.kind}"

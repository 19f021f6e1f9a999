"""The trail: timeline, outbox and audit in one append-only table, chained by hashes."""

from typing import Any

from django.conf import settings
from django.db import models

from plans.chain import VERSION, event_body
from plans.models.people import User
from plans.models.plan import Plan
from plans.models.rights import sight

ZERO_HASH = "0" * 64
SYSTEM_STREAM = "system"


class Stream(models.Model):
    """One chain: `plan:<uuid>` or `system`. Its head is kept here and taken under its row lock.

    `mandate` says in whose name the console carries the plan out, `mandate_trace` since which act.
    """

    key = models.CharField(max_length=64, unique=True)
    head_seq = models.PositiveBigIntegerField(default=0)
    head_hash = models.CharField(max_length=64, default=ZERO_HASH)
    mandate = models.CharField(max_length=200, blank=True, default="")
    mandate_trace = models.CharField(max_length=32, blank=True, default="")

    def __str__(self) -> str:
        return self.key


class EventQuerySet(models.QuerySet["Event"]):
    """Questions about the trail."""

    def told_of(self, plan: Plan | None) -> "EventQuerySet":
        """Return the events of one plan's trail; None = of the system's."""
        return self.filter(stream__key=SYSTEM_STREAM if plan is None else plan.stream_key)

    def visible_to(self, user: User) -> "EventQuerySet":
        """Return the events of the plans that the person may know of; never of the system's trail.

        That one tells of all tenants and people; whoever may read it is asked for by itself.
        """
        of_plans = self.exclude(stream__key=SYSTEM_STREAM)
        reach = sight(user)
        if reach.everything:
            return of_plans
        plans = Plan.objects.within(reach).values_list("pk", flat=True)
        return of_plans.filter(stream__key__in=[f"plan:{pk}" for pk in plans])


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
    v = models.PositiveSmallIntegerField(default=VERSION, help_text="Of what is hashed.")
    on_behalf = models.CharField(max_length=200, blank=True)
    token = models.CharField(max_length=160, blank=True, help_text="The API token that was used.")
    ip = models.CharField(max_length=64, blank=True, help_text="Salted digest of the address.")
    trace_id = models.CharField(max_length=32, blank=True)
    reason = models.TextField(blank=True)
    grant = models.CharField(max_length=64, blank=True, help_text="The approval grant it used up.")
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ("stream", "seq")
        constraints = (
            models.UniqueConstraint(fields=["stream", "seq"], name="one_event_per_stream_and_seq"),
        )

    def __str__(self) -> str:
        return f"{self.stream_id}:{self.seq} {self.kind}"

    def body(self, stream: str) -> dict[str, Any]:
        """Return what of it is hashed; `stream` is the key of its stream."""
        return event_body(
            stream=stream,
            seq=self.seq,
            kind=self.kind,
            at=self.at,
            actor=str(self.actor_id) if self.actor_id else None,
            actor_name=self.actor_name,
            via=self.via,
            sentence=self.sentence,
            payload=self.payload,
            v=self.v,
            on_behalf=self.on_behalf,
            token=self.token,
            ip=self.ip,
            trace_id=self.trace_id,
            reason=self.reason,
            grant=self.grant,
        )


class EventAddress(models.Model):
    """From which address an event came: beside the chain, which holds its digest, and erasable."""

    event = models.OneToOneField(
        Event, on_delete=models.PROTECT, primary_key=True, related_name="address"
    )
    address = models.CharField(max_length=45)
    salt = models.CharField(max_length=32)

    def __str__(self) -> str:
        return f"{self.event_id} came from {self.address}"

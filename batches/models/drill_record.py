"""Drills: rollbacks that were rehearsed, on purpose, to know that they work."""

import uuid

from django.conf import settings
from django.db import models

from plans.models import OfPlans, Tenant, User
from plans.models.rights import sight

NAMES_SHOWN = 6
"""Of how many tenants of a schedule the names are said."""


def fault_words(inject: str) -> str:
    """Return a fault as people say it."""
    return "nothing" if inject == "none" else inject.replace("_", " ")


class RollbackDrillQuerySet(OfPlans["RollbackDrill"]):
    """Questions about drills."""


class RollbackDrill(models.Model):
    """One rehearsed rollback: within a plan before it widens, or as a plan of its own."""

    PLAN = "plan"
    REHEARSAL = "rehearsal"
    INJECTS = (
        ("none", "Nothing: taken back as soon as the batch soaks"),
        ("breach", "A breach: a limit that no value can keep"),
        ("missing_metric", "Missing data: looks that bring nothing"),
        ("hung_hook", "A hung hook: the first restore gets no answer"),
        ("killed_worker", "A killed worker: the process that calls dies"),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(
        max_length=16, choices=[(PLAN, "Within a plan"), (REHEARSAL, "Rehearsal")]
    )
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="drills")
    deployer = models.CharField(max_length=63)
    tenants = models.JSONField(default=list)
    inject = models.CharField(max_length=16, choices=INJECTS, default="none")
    phase = models.CharField(
        max_length=16,
        choices=[
            ("back", "Taking back"),
            ("forward", "Going forward again"),
            ("undo", "Taking back what did not go forward"),
            ("plan", "The plan of the rehearsal runs"),
            ("ended", "Ended"),
        ],
    )
    epoch = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    clock_from = models.DateTimeField(help_text="Where its seconds begin: anew after a pause.")
    injected_at = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True)
    forward_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(
        null=True, blank=True, help_text="Until the last tenant was read back."
    )
    quote_seconds = models.FloatField(null=True, blank=True)
    limit_seconds = models.FloatField()
    outcome = models.CharField(
        max_length=16,
        blank=True,
        choices=[("passed", "Passed"), ("failed", "Failed"), ("cut_short", "Cut short")],
    )
    sentence = models.TextField(blank=True)
    schedule = models.ForeignKey(
        "batches.DrillSchedule",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="drills",
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )

    objects = RollbackDrillQuerySet.as_manager()

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["plan"],
                condition=models.Q(ended_at=None),
                name="one_open_drill_per_plan",
            ),
        )
        indexes = (models.Index(fields=["deployer", "ended_at"], name="drill_by_deployer_and_end"),)

    def __str__(self) -> str:
        return f"{self.kind} drill of {self.plan_id} ({self.outcome or self.phase})"

    def fault_words(self) -> str:
        """Return what went wrong on purpose."""
        return fault_words(self.inject)


class DrillScheduleQuerySet(models.QuerySet["DrillSchedule"]):
    """Questions about schedules."""

    def visible_to(self, user: User) -> "DrillScheduleQuerySet":
        """Return those whose tenants are all tenants that the person may know of."""
        reach = sight(user)
        if reach.everything:
            return self
        choices = dict(self.order_by().values_list("pk", "tenant_choice"))
        named = {key for choice in choices.values() for key in choice.get("keys", ())}
        seen = Tenant.objects.visible_to(user).filter(key__in=named)
        keys = set(seen.values_list("key", flat=True))
        return self.filter(
            pk__in=[
                pk
                for pk, choice in choices.items()
                if (
                    keys.issuperset(choice["keys"])
                    if choice.get("keys")
                    else reach.covers(choice.get("labels", {}))
                )
            ]
        )


class DrillSchedule(models.Model):
    """A rehearsal that comes again on its days; it runs only once its approvers have agreed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60, unique=True)
    release = models.ForeignKey("plans.Release", on_delete=models.PROTECT, related_name="+")
    deployer = models.CharField(max_length=63)
    tenant_choice = models.JSONField(default=dict)
    injects = models.JSONField(default=list, help_text="Taken in turn, one each time.")
    days = models.JSONField(default=list, help_text="mon to sun.")
    at = models.TimeField()
    timezone = models.CharField(max_length=63)
    enabled = models.BooleanField(default=True)
    roles = models.JSONField(default=list, help_text="The approval roles that must agree.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    next_at = models.DateTimeField(help_text="When it runs next.")
    problem = models.CharField(max_length=400, blank=True, help_text="Why it did not run last.")

    objects = DrillScheduleQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def tenant_words(self) -> str:
        """Return who is taken there and back at each run."""
        keys = self.tenant_choice.get("keys", ())
        labels = self.tenant_choice.get("labels", {})
        if keys:
            more = len(keys) - NAMES_SHOWN
            return ", ".join(keys[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        if labels:
            return "all with " + ", ".join(f"{name}={labels[name]}" for name in sorted(labels))
        return "all tenants"

    def fault_words(self) -> list[str]:
        """Return what goes wrong on purpose, in its turns."""
        return [fault_words(inject) for inject in self.injects]


class DrillApproval(models.Model):
    """One person's standing yes to every run of a schedule, for one role."""

    schedule = models.ForeignKey(DrillSchedule, on_delete=models.CASCADE, related_name="approvals")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    role = models.CharField(max_length=64)
    comment = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ("at",)
        constraints = (
            models.UniqueConstraint(
                fields=["schedule", "user"], name="one_standing_yes_per_schedule_and_person"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} for {self.schedule_id}"

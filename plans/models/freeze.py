"""Freezes: times in which nothing new is called, and the plans that were let through."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models

from plans.models.people import User
from plans.models.rights import sight
from plans.models.tenant import Tenant


class FreezeQuerySet(models.QuerySet["Freeze"]):
    """Questions about freezes."""

    def standing(self, at: datetime) -> "FreezeQuerySet":
        """Return those that hold now or will: not lifted, not over."""
        return self.filter(
            models.Q(ends_at=None) | models.Q(ends_at__gt=at),
            lifted_at=None,
        )

    def in_force(self, at: datetime) -> "FreezeQuerySet":
        """Return those that hold now."""
        return self.standing(at).filter(begins_at__lte=at)

    def over_plugin(self, plugin_id: Any) -> "FreezeQuerySet":
        """Return those that are about the plugin."""
        return self.filter(models.Q(plugin=None) | models.Q(plugin=plugin_id))

    def visible_to(self, user: User) -> "FreezeQuerySet":
        """Return those that hold up every tenant, or one that the person may know of.

        Of those by labels also the ones that can hold up nobody else, be it of today or tomorrow.
        """
        reach = sight(user)
        if reach.everything:
            return self
        seen = Tenant.objects.visible_to(user)
        keys: set[str] = set()
        carried: list[dict[str, Any]] = []
        for key, labels in seen.values_list("key", "labels"):
            keys.add(key)
            carried.append(labels)
        return self.filter(
            pk__in=[
                pk
                for pk, named, wanted in self.order_by().values_list("pk", "tenants", "labels")
                if (not named and not wanted)
                or keys.intersection(named)
                or (wanted and reach.covers(wanted))
                or (wanted and any(wanted.items() <= labels.items() for labels in carried))
            ]
        )


class Freeze(models.Model):
    """Nothing new is called for the tenants and the plugin that it covers, while it holds.

    Without keys and labels it covers every tenant; else those named and those with all labels.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    reason = models.CharField(max_length=300)
    plugin = models.ForeignKey(
        "plans.Plugin", on_delete=models.PROTECT, null=True, blank=True, related_name="freezes"
    )
    tenants = models.JSONField(default=list, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    overriders = models.JSONField(
        default=list, blank=True, help_text="Console or approval roles that may let a plan through."
    )
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty = until it is lifted.")
    declared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    declared_at = models.DateTimeField()
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_why = models.CharField(max_length=300, blank=True)

    objects = FreezeQuerySet.as_manager()

    class Meta:
        ordering = ("-begins_at", "pk")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ends_at=None) | models.Q(ends_at__gt=models.F("begins_at")),
                name="freeze_ends_after_it_begins",
            ),
        )
        indexes = (
            models.Index(
                fields=["begins_at"], condition=models.Q(lifted_at=None), name="freezes_not_lifted"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} from {self.begins_at:%Y-%m-%d %H:%M}"

    def stage(self, at: datetime) -> str:
        """Return `lifted`, `past`, `upcoming` or `current`."""
        if self.lifted_at is not None:
            return "lifted"
        if self.ends_at is not None and self.ends_at <= at:
            return "past"
        return "upcoming" if self.begins_at > at else "current"


class FreezeOverride(models.Model):
    """One plan that was let through one freeze, by whom and why; never edited."""

    freeze = models.ForeignKey(Freeze, on_delete=models.PROTECT, related_name="overrides")
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="overrides")
    reason = models.CharField(max_length=300)
    role = models.CharField(max_length=64)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty = as long as the plan lives."
    )

    class Meta:
        ordering = ("at", "pk")

    def __str__(self) -> str:
        return f"{self.plan_id} through {self.freeze_id}"

"""Tenants and what is installed for them."""

import uuid
from functools import reduce
from operator import and_, or_

from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.lookups import Exact

from plans.models.people import User
from plans.models.rights import sight
from plans.reach import Labels, Reach


def _carries(labels: Labels) -> Q:
    # By expression: as a lookup path a label's name could mean something to Django.
    pairs = (
        Q(Exact(KeyTextTransform(name, "labels"), models.Value(value, models.TextField())))
        for name, value in sorted(labels)
    )
    return reduce(and_, pairs)


class TenantQuerySet(models.QuerySet["Tenant"]):
    """Questions about tenants."""

    def within(self, reach: Reach) -> "TenantQuerySet":
        """Return the tenants that the reach covers."""
        if reach.everything:
            return self
        if reach.nothing:
            return self.none()
        return self.filter(reduce(or_, map(_carries, reach.selectors)))

    def visible_to(self, user: User) -> "TenantQuerySet":
        """Return the tenants that the person may know of; others do not exist for them."""
        return self.within(sight(user))


class Tenant(models.Model):
    """A customer of the platform."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=200, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    owner_name = models.CharField(max_length=120, blank=True)
    owner_email = models.EmailField(blank=True)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class Installation(models.Model):
    """A plugin at a tenant: what was last observed there, and the fence of its next call."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="installations")
    plugin = models.ForeignKey(
        "plans.Plugin", on_delete=models.PROTECT, related_name="installations"
    )
    version = models.CharField(max_length=64, blank=True)
    digest = models.CharField(
        max_length=200, blank=True, help_text="As observed; empty where the platform tells none."
    )
    observed_at = models.DateTimeField(null=True, blank=True)
    config = models.JSONField(null=True, blank=True)
    last_stable_version = models.CharField(max_length=64, blank=True)
    fence = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "plugin"], name="one_installation_per_tenant_and_plugin"
            ),
        )

    def __str__(self) -> str:
        return f"{self.plugin_id} at {self.tenant_id}"

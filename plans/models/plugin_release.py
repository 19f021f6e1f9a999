"""Plugins, their signed releases, and the keys that we trust."""

import uuid

from django.db import models


class Plugin(models.Model):
    """A plugin of the platform."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class TrustKey(models.Model):
    """A public key whose signatures are accepted, for a time and for some plugins."""

    key_id = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=120, blank=True)
    public_key = models.TextField(help_text="Ed25519 public key, PEM.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    plugins = models.JSONField(
        default=list, blank=True, help_text="Plugins it may sign; empty = all."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("key_id",)

    def __str__(self) -> str:
        return f"{self.name or 'key'} {self.key_id}"


class Release(models.Model):
    """A plugin's version with the digest of its artifact and the signature over both."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plugin = models.ForeignKey(Plugin, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=64)
    digest = models.CharField(max_length=71, help_text="sha256 of the artifact, hex.")
    envelope = models.TextField(help_text="The DSSE envelope as it was handed in.")
    signed_by = models.ForeignKey(TrustKey, on_delete=models.PROTECT, related_name="releases")
    verified_at = models.DateTimeField()
    irreversible = models.BooleanField(default=False)
    registered_by = models.ForeignKey(
        "plans.User", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("plugin__key", "-created_at")
        constraints = (
            models.UniqueConstraint(
                fields=["plugin", "version"], name="one_release_per_plugin_and_version"
            ),
        )

    def __str__(self) -> str:
        return f"{self.plugin_id}@{self.version}"

"""Plugins, their signed releases, and the keys that we trust."""

import uuid

from django.conf import settings
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
    public_key = models.TextField(help_text="Ed25519 or ECDSA P-256 public key, PEM.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    revoked_why = models.CharField(max_length=300, blank=True)
    plugins = models.JSONField(
        default=list, blank=True, help_text="Plugins it may sign; empty = all."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("key_id",)

    def __str__(self) -> str:
        return f"{self.name or 'key'} {self.key_id}"


class Release(models.Model):
    """A plugin's version with the digest of its artifact and the signature over both.

    `envelope` and `signed_by` are the signature that counts; all that were ever handed in are its
    `signatures`. Only a release whose state is trusted is installed.
    """

    TRUSTED = "trusted"
    DISTRUSTED = "distrusted"
    QUARANTINED = "quarantined"
    STATES = (
        (TRUSTED, "Trusted"),
        (DISTRUSTED, "Not trusted any more"),
        (QUARANTINED, "In quarantine"),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plugin = models.ForeignKey(Plugin, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=64)
    digest = models.CharField(max_length=71, help_text="sha256 of the artifact, hex.")
    envelope = models.TextField(help_text="The signature that counts, as it was handed in.")
    signed_by = models.ForeignKey(TrustKey, on_delete=models.PROTECT, related_name="releases")
    verified_at = models.DateTimeField()
    irreversible = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=STATES, default=TRUSTED, db_index=True)
    state_why = models.CharField(max_length=400, blank=True)
    state_at = models.DateTimeField(null=True, blank=True)
    state_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
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

    @property
    def standing(self) -> str:
        """Return why nothing of the release may be installed, empty while it is trusted."""
        if self.state == self.TRUSTED:
            return ""
        words = "is in quarantine" if self.state == self.QUARANTINED else "is not trusted any more"
        return f"release {self.version} {words}: {self.state_why}"


class ReleaseSignature(models.Model):
    """A signature over a release, as it was handed in; a release keeps all it ever had."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="signatures")
    key = models.ForeignKey(TrustKey, on_delete=models.PROTECT, related_name="signatures")
    form = models.CharField(max_length=8)
    envelope = models.TextField()
    verified_at = models.DateTimeField()
    handed_in_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    via = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ("release", "-verified_at", "-pk")

    def __str__(self) -> str:
        return f"Signature of {self.release_id} by {self.key_id}"

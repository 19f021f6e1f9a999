"""How far a release or a key reaches: who runs it, which plans are about it, what it signed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from plans.models import Installation, Release, ReleaseSignature, Tenant, TrustKey, User

TONES = {
    Release.TRUSTED: "approved",
    Release.DISTRUSTED: "rejected",
    Release.QUARANTINED: "quarantined",
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key of the trust store with its state at a moment and what it signed."""

    key: TrustKey
    tone: str
    word: str
    signed: int
    counting: int
    """Of how many releases its signature is the one that counts."""


def key_state(key: TrustKey, at: datetime) -> tuple[str, str]:
    """Return a key's state at a moment, as tone and word."""
    if key.revoked_at is not None and key.revoked_at <= at:
        return "rejected", "revoked"
    if key.not_after < at:
        return "expired", "expired"
    if key.not_before > at:
        return "pending", "not valid yet"
    return "approved", "trusted"


def release_state(release: Release, at: datetime) -> tuple[str, str]:
    """Return a release's state at a moment, as tone and words."""
    if release.state != Release.TRUSTED:
        return TONES[release.state], str(release.get_state_display()).lower()
    tone, word = key_state(release.signed_by, at)
    return (tone, "trusted") if tone == "approved" else (tone, f"key {word}")


def tenants_running(release: Release, *, seen_by: User | None = None) -> QuerySet[Installation]:
    """Return where the release was last seen, by its version; of tenants that the person knows."""
    found = _installations(seen_by).filter(plugin_id=release.plugin_id, version=release.version)
    return found.select_related("tenant").order_by("tenant__key")


def _installations(seen_by: User | None) -> QuerySet[Installation]:
    if seen_by is None:
        return Installation.objects.all()
    return Installation.objects.filter(tenant__in=Tenant.objects.visible_to(seen_by))


def runs_another_artifact(installation: Installation, release: Release) -> bool:
    """Tell whether the tenant shows another digest than was signed, where it shows one at all."""
    seen = installation.digest.removeprefix("sha256:")
    return bool(seen) and seen != release.digest.removeprefix("sha256:")


def key_rows(at: datetime) -> list[KeyRow]:
    """Return the trust store, the keys that count now first."""
    keys = TrustKey.objects.annotate(
        signed=Count("signatures__release", distinct=True),
        counting=Count("releases", distinct=True),
    )
    rows = [KeyRow(key, *key_state(key, at), key.signed, key.counting) for key in keys]
    order = ("approved", "pending", "expired", "rejected")
    return sorted(rows, key=lambda row: (order.index(row.tone), row.key.name, row.key.key_id))


def releases_signed_by(key: TrustKey) -> QuerySet[Release]:
    """Return every release that the key ever signed, with how many tenants run each."""
    signed = ReleaseSignature.objects.filter(key=key).values("release")
    releases = Release.objects.filter(pk__in=signed).select_related("plugin", "signed_by")
    return releases.order_by("plugin__key", "-created_at")


def tenants_by_version(releases: Any, *, seen_by: User) -> dict[tuple[Any, str], int]:
    """Return how many tenants run each of the releases, by plugin and version; one query.

    Of tenants that the person knows.
    """
    wanted = {(release.plugin_id, release.version) for release in releases}
    if not wanted:
        return {}
    rows = (
        _installations(seen_by)
        .filter(
            plugin_id__in={plugin for plugin, _version in wanted},
            version__in={version for _plugin, version in wanted},
        )
        .order_by()
        .values_list("plugin_id", "version")
        .annotate(n=Count("pk"))
    )
    return {(plugin, version): n for plugin, version, n in rows if (plugin, version) in wanted}

from typing import Any

from django.db import migrations


def keep_first_signatures(apps: Any, schema_editor: Any) -> None:
    """Keep the signature that each known release has as the first of its history."""
    releases = apps.get_model("plans", "Release")
    signatures = apps.get_model("plans", "ReleaseSignature")
    for release in releases.objects.filter(signatures=None).iterator():
        signatures.objects.create(
            release=release,
            key_id=release.signed_by_id,
            form="dsse",
            envelope=release.envelope,
            verified_at=release.verified_at,
            handed_in_by_id=release.registered_by_id,
        )


def forget_nothing(apps: Any, schema_editor: Any) -> None:
    """Leave the releases as they are: each keeps the signature that counts."""


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0012_signatures_and_standing_of_releases"),
    ]

    operations = [migrations.RunPython(keep_first_signatures, forget_nothing)]

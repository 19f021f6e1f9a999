"""Whoever administered by the superuser bit holds the role; whoever is inactive holds none.

From here on the bit gives nothing: every right comes from a binding, which has a giver, a time and
an end that a review can show.
"""

from typing import Any

from django.db import migrations
from django.utils import timezone


def move_rights(apps: Any, schema_editor: Any) -> None:
    """Give superusers their binding, and end the roles and tokens of inactive people."""
    user_model = apps.get_model("plans", "User")
    binding = apps.get_model("plans", "RoleBinding")
    token = apps.get_model("plans", "ApiToken")
    now = timezone.now()
    held = {"kind": "console", "role": "administrator", "selector": {}}
    for user in user_model.objects.filter(is_superuser=True, is_active=True):
        lasting = binding.objects.filter(user=user, ended_at=None, expires_at=None, **held)
        if not lasting.exists():
            open_ones = binding.objects.filter(user=user, ended_at=None, **held)
            open_ones.update(ended_at=now, ended_why="replaced by one without an end")
            binding.objects.create(user=user, why="was a superuser", **held)
    binding.objects.filter(user__is_active=False, ended_at=None).update(
        ended_at=now, ended_why="the person was inactive"
    )
    token.objects.filter(user__is_active=False, revoked_at=None).update(revoked_at=now)


class Migration(migrations.Migration):
    dependencies = [("plans", "0008_roles_are_kept_and_tokens_narrowed")]

    operations = [migrations.RunPython(move_rights, migrations.RunPython.noop)]

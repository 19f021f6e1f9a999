"""Requests for roles say who asked, grants keep what a key answered, streams whose act goes on."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def fill_who_asked(apps: Any, schema_editor: Any) -> None:
    """Until now whoever was to hold the role had asked for it."""
    requests = apps.get_model("plans", "RoleRequest")
    requests.objects.filter(asked_by=None).update(asked_by=models.F("user"))
    if schema_editor.connection.vendor == "postgresql":
        # A table whose foreign keys wait to be checked cannot be altered.
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        schema_editor.execute("SET CONSTRAINTS ALL DEFERRED")


class Migration(migrations.Migration):
    dependencies = [("plans", "0013_first_signature_of_each_release")]

    operations = [
        migrations.AddField(
            model_name="stream",
            name="mandate",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="stream",
            name="mandate_trace",
            field=models.CharField(blank=True, default="", max_length=32),
        ),
        migrations.AddField(
            model_name="grant",
            name="answer",
            field=models.JSONField(
                blank=True, help_text="What the approver's security key answered.", null=True
            ),
        ),
        migrations.RemoveConstraint(
            model_name="rolerequest", name="one_open_request_per_person_role_and_tenants"
        ),
        migrations.AddField(
            model_name="rolerequest",
            name="kind",
            field=models.CharField(
                choices=[("console", "Console role"), ("approval", "Approval role")],
                default="approval",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="rolerequest",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.RunPython(fill_who_asked, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="rolerequest",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="rolerequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "")),
                fields=("user", "kind", "role", "selector"),
                name="one_open_request_per_person_role_and_tenants",
            ),
        ),
    ]

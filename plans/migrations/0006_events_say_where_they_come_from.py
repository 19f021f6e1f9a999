"""Where an act came from, beside what was done; and the address, apart and erasable."""

from importlib import import_module
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

APPEND_ONLY = import_module("plans.migrations.0002_trail_is_append_only")


def keep_append_only(apps: Any, schema_editor: Any) -> None:
    # SQLite adds a column by making the table anew, and its triggers stay with the old one.
    if schema_editor.connection.vendor != "sqlite":
        return
    schema_editor.execute("DROP TRIGGER IF EXISTS plans_event_no_update")
    schema_editor.execute("DROP TRIGGER IF EXISTS plans_event_no_delete")
    APPEND_ONLY.create_triggers(apps, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("plans", "0005_adjustments")]

    operations = [
        # Run backwards, the columns go first and the triggers come back last.
        migrations.RunPython(migrations.RunPython.noop, keep_append_only),
        migrations.AddField(
            model_name="event",
            name="v",
            field=models.PositiveSmallIntegerField(default=1, help_text="Of what is hashed."),
        ),
        migrations.AlterField(
            model_name="event",
            name="v",
            field=models.PositiveSmallIntegerField(default=2, help_text="Of what is hashed."),
        ),
        migrations.AddField(
            model_name="event",
            name="on_behalf",
            field=models.CharField(blank=True, max_length=200, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="event",
            name="token",
            field=models.CharField(
                blank=True, default="", help_text="The API token that was used.", max_length=160
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="event",
            name="ip",
            field=models.CharField(
                blank=True, default="", help_text="Salted digest of the address.", max_length=64
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="event",
            name="trace_id",
            field=models.CharField(blank=True, default="", max_length=32),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="event",
            name="reason",
            field=models.TextField(blank=True, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="event",
            name="grant",
            field=models.CharField(
                blank=True, default="", help_text="The approval grant it used up.", max_length=64
            ),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="EventAddress",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="address",
                        serialize=False,
                        to="plans.event",
                    ),
                ),
                ("address", models.CharField(max_length=45)),
                ("salt", models.CharField(max_length=32)),
            ],
        ),
        migrations.RunPython(keep_append_only, migrations.RunPython.noop),
    ]

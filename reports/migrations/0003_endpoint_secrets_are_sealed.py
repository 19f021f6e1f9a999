"""The secrets that sign deliveries are sealed by a key that is not in the database."""

from django.db import migrations, models

from plans.sealed_secrets import open_sealed, seal


def seal_all(apps, schema_editor):
    endpoints = apps.get_model("reports", "Endpoint")
    if schema_editor.connection.vendor == "sqlite":
        # What is dropped below is overwritten, not only forgotten.
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = ON")
    for endpoint in endpoints.objects.exclude(secret=""):
        endpoint.sealed_secret = seal(endpoint.secret)
        endpoint.save(update_fields=["sealed_secret"])


def open_all(apps, schema_editor):
    endpoints = apps.get_model("reports", "Endpoint")
    for endpoint in endpoints.objects.exclude(sealed_secret=""):
        endpoint.secret = open_sealed(endpoint.sealed_secret)
        endpoint.save(update_fields=["secret"])


class Migration(migrations.Migration):

    dependencies = [
        ("reports", "0002_checkpoints_are_announced"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="sealed_secret",
            field=models.TextField(
                blank=True,
                default="",
                editable=False,
                help_text="What signs each delivery, sealed by a key that is not in the database.",
            ),
        ),
        migrations.RunPython(seal_all, open_all),
        migrations.RemoveField(model_name="endpoint", name="secret"),
    ]

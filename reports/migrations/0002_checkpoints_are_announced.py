"""A checkpoint of the trail is announced as an alert is, with none behind it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0001_initial"), ("reports", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="announcement",
            name="alert",
            field=models.ForeignKey(
                blank=True,
                help_text="Nothing for a checkpoint of the trail.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="announcements",
                to="batches.alert",
            ),
        ),
        migrations.AlterField(
            model_name="announcement",
            name="status",
            field=models.CharField(
                choices=[("firing", "Firing"), ("resolved", "Resolved"), ("signed", "Checkpoint")],
                max_length=8,
            ),
        ),
    ]

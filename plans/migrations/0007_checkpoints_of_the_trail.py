"""Signed checkpoints over the trail, and what its checks have found."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("plans", "0006_events_say_where_they_come_from")]

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveBigIntegerField(unique=True)),
                ("log", models.CharField(help_text="Which trail: the same as long as it goes on.", max_length=32)),
                ("at", models.DateTimeField()),
                ("why", models.CharField(max_length=32)),
                ("text", models.TextField(help_text="The signed checkpoint, word for word.")),
                ("kid", models.CharField(max_length=16)),
                ("size", models.PositiveBigIntegerField(help_text="Events of all streams.")),
                ("whole", models.BooleanField(help_text="Whether `heads` holds all heads, or what has changed.")),
                ("heads", models.JSONField(help_text="Stream -> [number, hash] of its last event.")),
                ("last_event", models.PositiveBigIntegerField(help_text="The newest event's key at that moment.")),
            ],
            options={"ordering": ("number",)},
        ),
        migrations.CreateModel(
            name="TrailCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("outcome", models.PositiveSmallIntegerField(help_text="The exit code of audit_verify.")),
                ("sentence", models.TextField()),
                ("problems", models.JSONField(default=list)),
                ("events", models.PositiveBigIntegerField()),
                ("checkpoints", models.PositiveBigIntegerField()),
                ("seconds", models.FloatField()),
            ],
            options={"ordering": ("-at",)},
        ),
    ]

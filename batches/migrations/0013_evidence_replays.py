"""What a replay of the evidence test needs beside the looks."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("batches", "0012_history"),
    ]

    operations = [
        migrations.AddField(
            model_name="judgedlook",
            name="control",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Tenants that waited untouched; empty in old rows.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="judgedlook",
            name="evidence_anew",
            field=models.BooleanField(
                default=False,
                help_text="What the evidence test had tested was over: it began anew.",
            ),
        ),
        migrations.AddField(
            model_name="evidencebaseline",
            name="bound",
            field=models.FloatField(
                blank=True,
                help_text="Of a histogram: slower than that counted as an error.",
                null=True,
            ),
        ),
    ]

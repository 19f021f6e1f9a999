from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("batches", "0014_kept_courses"),
        ("plans", "0012_signatures_and_standing_of_releases"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantupgrade",
            name="digest_before",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="tenantupgrade",
            name="digest_observed",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="rollback",
            name="unverified",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Versions that it brings back without a signature that holds: version,"
                " tenants, problem.",
            ),
        ),
    ]

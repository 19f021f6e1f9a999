import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def _person() -> models.ForeignKey:
    return models.ForeignKey(
        blank=True,
        null=True,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=settings.AUTH_USER_MODEL,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0011_approval_grants"),
    ]

    operations = [
        migrations.AddField(
            model_name="trustkey",
            name="revoked_by",
            field=_person(),
        ),
        migrations.AddField(
            model_name="trustkey",
            name="revoked_why",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AlterField(
            model_name="trustkey",
            name="public_key",
            field=models.TextField(help_text="Ed25519 or ECDSA P-256 public key, PEM."),
        ),
        migrations.AlterField(
            model_name="release",
            name="envelope",
            field=models.TextField(
                help_text="The signature that counts, as it was handed in."
            ),
        ),
        migrations.AddField(
            model_name="release",
            name="state",
            field=models.CharField(
                choices=[
                    ("trusted", "Trusted"),
                    ("distrusted", "Not trusted any more"),
                    ("quarantined", "In quarantine"),
                ],
                db_index=True,
                default="trusted",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="release",
            name="state_why",
            field=models.CharField(blank=True, max_length=400),
        ),
        migrations.AddField(
            model_name="release",
            name="state_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="release",
            name="state_by",
            field=_person(),
        ),
        migrations.AddField(
            model_name="installation",
            name="digest",
            field=models.CharField(
                blank=True,
                help_text="As observed; empty where the platform tells none.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="old_versions",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="What a rollback would bring back without a signature that holds, as it"
                " was looked up at submission and start: version, tenants, problem.",
            ),
        ),
        migrations.CreateModel(
            name="ReleaseSignature",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("form", models.CharField(max_length=8)),
                ("envelope", models.TextField()),
                ("verified_at", models.DateTimeField()),
                ("via", models.CharField(blank=True, max_length=16)),
                ("handed_in_by", _person()),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="signatures",
                        to="plans.trustkey",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="signatures",
                        to="plans.release",
                    ),
                ),
            ],
            options={
                "ordering": ("release", "-verified_at", "-pk"),
            },
        ),
    ]

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("plans", "0009_administrators_hold_the_role")]

    operations = [
        migrations.CreateModel(
            name="FailedLogIn",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("subject", models.CharField(blank=True, max_length=36)),
                ("address", models.CharField(blank=True, max_length=45)),
                ("step", models.CharField(max_length=16)),
                ("count", models.PositiveIntegerField(default=0)),
            ],
            options={"verbose_name": "failed log-in"},
        ),
        migrations.AddConstraint(
            model_name="failedlogin",
            constraint=models.UniqueConstraint(
                fields=("hour", "subject", "address", "step"),
                name="one_count_per_hour_person_address_and_step",
            ),
        ),
        migrations.CreateModel(
            name="MappedRole",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "value",
                    models.CharField(
                        help_text="The claim's value that gave the role.", max_length=200
                    ),
                ),
                (
                    "binding",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mapped_by",
                        to="plans.rolebinding",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mapped_roles",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]

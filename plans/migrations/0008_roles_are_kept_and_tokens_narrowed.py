"""Roles keep who gave and who ended them, tokens their tenants, maker and where they were used."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

PERSON = {
    "blank": True,
    "null": True,
    "on_delete": django.db.models.deletion.PROTECT,
    "related_name": "+",
    "to": settings.AUTH_USER_MODEL,
}


class Migration(migrations.Migration):
    dependencies = [("plans", "0007_checkpoints_of_the_trail")]

    operations = [
        migrations.AlterField(
            model_name="rolebinding",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="role_bindings",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="why",
            field=models.CharField(blank=True, default="", max_length=300),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="given_by",
            field=models.ForeignKey(**PERSON),
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="confirmed_by",
            field=models.ForeignKey(**PERSON),
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="ended_by",
            field=models.ForeignKey(**PERSON),
        ),
        migrations.AddField(
            model_name="rolebinding",
            name="ended_why",
            field=models.CharField(blank=True, default="", max_length=300),
            preserve_default=False,
        ),
        migrations.RemoveConstraint(
            model_name="rolebinding", name="one_binding_per_person_and_role"
        ),
        migrations.AddConstraint(
            model_name="rolebinding",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)),
                fields=("user", "kind", "role", "selector"),
                name="one_open_binding_per_person_role_and_tenants",
            ),
        ),
        migrations.CreateModel(
            name="RoleRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("role", models.CharField(max_length=64)),
                ("selector", models.JSONField(blank=True, default=dict)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("why", models.CharField(blank=True, max_length=300)),
                ("asked_at", models.DateTimeField()),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        max_length=16,
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decided_why", models.CharField(blank=True, max_length=300)),
                ("decided_by", models.ForeignKey(**PERSON)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="role_requests",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ("-asked_at",)},
        ),
        migrations.AddConstraint(
            model_name="rolerequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "")),
                fields=("user", "role", "selector"),
                name="one_open_request_per_person_role_and_tenants",
            ),
        ),
        migrations.AlterField(
            model_name="apitoken",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="api_tokens",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="selector",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Tenant labels that it is narrowed to; empty = none.",
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="revoked_by",
            field=models.ForeignKey(**PERSON),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="last_used_from",
            field=models.GenericIPAddressField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="made_by",
            field=models.ForeignKey(
                help_text="Empty: by a command on the machine itself.", **PERSON
            ),
        ),
    ]

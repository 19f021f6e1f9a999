"""The tables that the first three migrations made, one by one, made at once."""

import django.db.models.deletion
import uuid
from django.db import migrations, models

from plans.migrations._tables_at_once import CreateTogether


class Migration(migrations.Migration):
    initial = True
    replaces = [
        ("reports", "0001_initial"),
        ("reports", "0002_checkpoints_are_announced"),
        ("reports", "0003_endpoint_secrets_are_sealed"),
    ]
    dependencies = [("batches", "0001_initial"), ("plans", "0001_initial")]

    operations = [
        CreateTogether(
            [
                migrations.CreateModel(
                    name="Endpoint",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=uuid.uuid4,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("name", models.CharField(max_length=120)),
                        (
                            "url",
                            models.URLField(
                                help_text="http or https; gets CloudEvents 1.0 JSON.",
                                max_length=500,
                            ),
                        ),
                        (
                            "kinds",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text='Kinds of alerts, e.g. ["breach"]; empty = all.',
                            ),
                        ),
                        ("active", models.BooleanField(default=True)),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        (
                            "sealed_secret",
                            models.TextField(
                                blank=True,
                                default="",
                                editable=False,
                                help_text="What signs each delivery, sealed by a key that is not in the database.",
                            ),
                        ),
                    ],
                    options={"ordering": ("name",)},
                ),
                migrations.CreateModel(
                    name="Announcement",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=uuid.uuid4,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        (
                            "status",
                            models.CharField(
                                choices=[
                                    ("firing", "Firing"),
                                    ("resolved", "Resolved"),
                                    ("signed", "Checkpoint"),
                                ],
                                max_length=8,
                            ),
                        ),
                        ("event", models.JSONField(help_text="The CloudEvent as it is sent.")),
                        ("made_at", models.DateTimeField()),
                        (
                            "alert",
                            models.ForeignKey(
                                blank=True,
                                help_text="Nothing for a checkpoint of the trail.",
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="announcements",
                                to="batches.alert",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-made_at",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("alert", "status"),
                                name="one_announcement_per_alert_and_status",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Delivery",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        (
                            "channel",
                            models.CharField(
                                choices=[("webhook", "Webhook"), ("mail", "E-mail")], max_length=8
                            ),
                        ),
                        (
                            "target",
                            models.CharField(
                                help_text="An URL or an e-mail address.", max_length=500
                            ),
                        ),
                        (
                            "tenants",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="For an owner: the tenants of theirs.",
                            ),
                        ),
                        ("attempts", models.PositiveIntegerField(default=0)),
                        ("next_at", models.DateTimeField()),
                        ("delivered_at", models.DateTimeField(blank=True, null=True)),
                        ("given_up_at", models.DateTimeField(blank=True, null=True)),
                        ("last_error", models.CharField(blank=True, max_length=500)),
                        (
                            "announcement",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="deliveries",
                                to="reports.announcement",
                            ),
                        ),
                        (
                            "endpoint",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="deliveries",
                                to="reports.endpoint",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name_plural": "deliveries",
                        "ordering": ("-pk",),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("delivered_at", None), ("given_up_at", None)),
                                fields=["next_at"],
                                name="delivery_not_done_yet",
                            )
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("announcement", "channel", "target"),
                                name="one_delivery_per_announcement_and_target",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="UpgradeReport",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=uuid.uuid4,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        (
                            "kind",
                            models.CharField(
                                choices=[("compliance", "Compliance report")],
                                default="compliance",
                                max_length=16,
                            ),
                        ),
                        (
                            "ending",
                            models.DateTimeField(
                                help_text="The plan's ending that the report tells of."
                            ),
                        ),
                        (
                            "state",
                            models.CharField(
                                help_text="The plan's state in the report.", max_length=24
                            ),
                        ),
                        (
                            "sha256",
                            models.CharField(
                                blank=True, help_text="Of the PDF's bytes.", max_length=64
                            ),
                        ),
                        (
                            "data_digest",
                            models.CharField(
                                blank=True, help_text="SHA-256 of report.json.", max_length=64
                            ),
                        ),
                        (
                            "file",
                            models.CharField(
                                blank=True,
                                help_text="Relative to the reports folder.",
                                max_length=300,
                            ),
                        ),
                        ("size", models.PositiveBigIntegerField(default=0)),
                        ("issued_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "seconds",
                            models.FloatField(default=0, help_text="How long it took to make."),
                        ),
                        ("error", models.CharField(blank=True, max_length=700)),
                        ("attempts", models.PositiveIntegerField(default=0)),
                        ("next_at", models.DateTimeField(help_text="When it is tried (again).")),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="reports",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-ending",),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("issued_at", None)),
                                fields=["next_at"],
                                name="report_not_issued_yet",
                            )
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kind", "ending"),
                                name="one_report_per_plan_kind_and_ending",
                            )
                        ],
                    },
                ),
            ]
        )
    ]

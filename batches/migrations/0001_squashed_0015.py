"""The tables that the first fifteen migrations made, one by one, made at once."""

import django.db.models.deletion
import django_fsm
import plans.models.driven
import uuid
from django.conf import settings
from django.db import migrations, models

from plans.migrations._tables_at_once import CreateTogether


class Migration(migrations.Migration):
    initial = True
    replaces = [
        ("batches", "0001_initial"),
        ("batches", "0002_quarantine"),
        ("batches", "0003_waits_for_openings"),
        ("batches", "0004_rulings_name_their_revision"),
        ("batches", "0005_aftermath"),
        ("batches", "0006_drills"),
        ("batches", "0007_quote_at_gate_and_trigger"),
        ("batches", "0008_rulings_say_why"),
        ("batches", "0009_fit"),
        ("batches", "0010_evidence"),
        ("batches", "0011_pushed_metrics"),
        ("batches", "0012_history"),
        ("batches", "0013_evidence_replays"),
        ("batches", "0014_kept_courses"),
        ("batches", "0015_digests_seen"),
    ]
    dependencies = [
        ("plans", "0012_signatures_and_standing_of_releases"),
        # Not needed, but theirs come first: each of them would render all of ours anew.
        ("mfa", "0003_authenticator_type_uniq"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
        ("usersessions", "0001_initial"),
    ]

    operations = [
        CreateTogether(
            [
                migrations.CreateModel(
                    name="Heartbeat",
                    fields=[
                        (
                            "name",
                            models.CharField(max_length=80, primary_key=True, serialize=False),
                        ),
                        ("kind", models.CharField(max_length=16)),
                        ("at", models.DateTimeField()),
                        ("tick_ms", models.FloatField(default=0)),
                        ("detail", models.JSONField(default=dict)),
                    ],
                ),
                migrations.CreateModel(
                    name="Lease",
                    fields=[
                        (
                            "name",
                            models.CharField(max_length=80, primary_key=True, serialize=False),
                        ),
                        ("holder", models.CharField(max_length=120)),
                        ("kind", models.CharField(blank=True, max_length=16)),
                        ("token", models.PositiveBigIntegerField(default=1)),
                        ("expires_at", models.DateTimeField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Batch",
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
                        ("number", models.PositiveIntegerField()),
                        ("name", models.CharField(max_length=120)),
                        ("size", models.PositiveIntegerField(default=0)),
                        ("metrics", models.JSONField(default=list)),
                        ("advance", models.CharField(default="automatic", max_length=16)),
                        ("hold_back", models.BooleanField(default=False)),
                        (
                            "state",
                            django_fsm.FSMField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("deploying", "Deploying"),
                                    ("soaking", "Soaking"),
                                    ("passed", "Passed"),
                                    ("held", "Held"),
                                    ("rolling_back", "Rolling back"),
                                    ("rolled_back", "Rolled back"),
                                    ("needs_hand", "Needs a hand"),
                                    ("skipped", "Skipped"),
                                    ("stopped", "Stopped"),
                                ],
                                db_index=True,
                                default="pending",
                                max_length=24,
                                protected=True,
                            ),
                        ),
                        ("held_from", models.CharField(blank=True, max_length=24)),
                        ("held_at", models.DateTimeField(blank=True, null=True)),
                        ("held_kind", models.CharField(blank=True, max_length=32)),
                        ("held_reason", models.CharField(blank=True, max_length=400)),
                        (
                            "acknowledged",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text="What a person let pass: condition to its value.",
                            ),
                        ),
                        ("promoted_at", models.DateTimeField(blank=True, null=True)),
                        ("opened_at", models.DateTimeField(blank=True, null=True)),
                        ("handed_out_at", models.DateTimeField(blank=True, null=True)),
                        ("calling_since", models.DateTimeField(blank=True, null=True)),
                        ("calls_done_at", models.DateTimeField(blank=True, null=True)),
                        ("soak_seconds", models.FloatField(default=0)),
                        ("soak_left", models.FloatField(default=0)),
                        ("soak_counted_at", models.DateTimeField(blank=True, null=True)),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        ("owner", models.CharField(blank=True, max_length=200)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="batches",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "promoted_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "waited_seconds",
                            models.FloatField(
                                default=0,
                                help_text="How long it waited for openings while it was being called.",
                            ),
                        ),
                        (
                            "waits_since",
                            models.DateTimeField(
                                blank=True,
                                help_text="Since when a closed window or a freeze keeps it waiting.",
                                null=True,
                            ),
                        ),
                        (
                            "quote",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text="The rollback quote at the gate, when it began.",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name_plural": "batches",
                        "ordering": ("plan", "number"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "number"), name="one_batch_per_plan_and_number"
                            ),
                            models.UniqueConstraint(
                                condition=models.Q(("state__in", ("deploying", "soaking", "held"))),
                                fields=("plan",),
                                name="one_live_batch_per_plan",
                            ),
                        ],
                    },
                    bases=(plans.models.driven.Driven, models.Model),
                ),
                migrations.CreateModel(
                    name="Alert",
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
                        ("kind", models.CharField(max_length=32)),
                        ("key", models.CharField(max_length=200)),
                        ("sentence", models.TextField()),
                        ("payload", models.JSONField(default=dict)),
                        ("opened_at", models.DateTimeField()),
                        ("resolved_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "plan",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="alerts",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "batch",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="batches.batch",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-opened_at",),
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("resolved_at", None)),
                                fields=("key",),
                                name="one_open_alert_per_key",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="DeployerMeasurement",
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
                        ("deployer", models.CharField(max_length=63)),
                        ("direction", models.CharField(max_length=8)),
                        ("count", models.PositiveBigIntegerField(default=0)),
                        (
                            "durations",
                            models.JSONField(
                                default=list, help_text="Seconds of the newest calls."
                            ),
                        ),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("deployer", "direction"),
                                name="one_measurement_per_deployer_direction",
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="GuardrailState",
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
                        ("key", models.CharField(max_length=160)),
                        ("kpi", models.CharField(max_length=120)),
                        ("verdict", models.CharField(default="undecided", max_length=16)),
                        ("sentence", models.TextField(blank=True)),
                        ("value", models.FloatField(blank=True, null=True)),
                        ("state", models.JSONField(default=dict)),
                        ("updated_at", models.DateTimeField()),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="guardrails",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "recent",
                            models.JSONField(
                                default=list,
                                help_text="The newest measured values: [unix seconds, value, limit].",
                            ),
                        ),
                        (
                            "told",
                            models.JSONField(
                                default=dict,
                                help_text="What the sentence stands on: counts, limit, cause, what is next.",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "key"), name="one_state_per_plan_and_guardrail"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="KpiCursor",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("source", models.CharField(max_length=63)),
                        ("at", models.DateTimeField()),
                        ("cursor", models.JSONField(default=dict)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="kpi_cursors",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kpi"), name="one_cursor_per_plan_and_kpi"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="KpiSample",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("at", models.DateTimeField()),
                        ("source", models.CharField(max_length=63)),
                        ("ok", models.BooleanField(default=True)),
                        ("cause", models.CharField(blank=True, max_length=300)),
                        ("look", models.JSONField(default=dict)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="samples",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "asked",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text="What was read: the metric or the query of each part.",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("plan", "kpi", "at"),
                        "indexes": [
                            models.Index(fields=["plan", "kpi", "at"], name="sample_plan_kpi_at")
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Ruling",
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
                        ("guardrail", models.CharField(max_length=160)),
                        ("kpi", models.CharField(max_length=120)),
                        ("verdict", models.CharField(max_length=16)),
                        ("action", models.CharField(blank=True, max_length=16)),
                        ("sentence", models.TextField()),
                        ("value", models.FloatField(blank=True, null=True)),
                        ("threshold", models.FloatField(blank=True, null=True)),
                        ("unit", models.CharField(blank=True, max_length=16)),
                        ("n", models.PositiveBigIntegerField(default=0)),
                        ("window_seconds", models.FloatField(default=0)),
                        ("tenants", models.PositiveIntegerField(default=0)),
                        ("worst_tenant", models.CharField(blank=True, max_length=63)),
                        ("worst_value", models.FloatField(blank=True, null=True)),
                        ("inputs_digest", models.CharField(max_length=64)),
                        ("at", models.DateTimeField()),
                        (
                            "batch",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="rulings",
                                to="batches.batch",
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="rulings",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "revision",
                            models.PositiveIntegerField(
                                default=0,
                                help_text="The plan's revision whose policy ruled; 0 = before it was kept.",
                            ),
                        ),
                        (
                            "baseline",
                            models.FloatField(
                                blank=True,
                                help_text="What the value was compared with, if with anything.",
                                null=True,
                            ),
                        ),
                        (
                            "cause",
                            models.CharField(
                                blank=True,
                                default="",
                                help_text="Why there was nothing to judge.",
                                max_length=40,
                            ),
                        ),
                        (
                            "evidence",
                            models.JSONField(
                                default=dict,
                                help_text="Counts, worst tenant, newest values, what would be next.",
                            ),
                        ),
                        (
                            "query",
                            models.TextField(
                                blank=True, default="", help_text="What the source was asked."
                            ),
                        ),
                        (
                            "since",
                            models.DateTimeField(
                                blank=True,
                                help_text="Since when there had been nothing to judge.",
                                null=True,
                            ),
                        ),
                    ],
                    options={"ordering": ("plan", "at", "pk")},
                ),
                migrations.CreateModel(
                    name="Rollback",
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
                            "scope",
                            models.CharField(
                                choices=[
                                    ("plan", "Plan"),
                                    ("batch", "Batch"),
                                    ("tenants", "Tenants"),
                                ],
                                max_length=8,
                            ),
                        ),
                        ("tenants", models.JSONField(blank=True, default=list)),
                        ("trigger", models.CharField(max_length=24)),
                        ("reason", models.TextField()),
                        ("sentence", models.TextField(blank=True)),
                        ("via", models.CharField(max_length=16)),
                        ("triggered_at", models.DateTimeField()),
                        (
                            "clock_from",
                            models.DateTimeField(
                                help_text="Where the 180 s begin: for a pause, the pause."
                            ),
                        ),
                        ("deadline", models.DateTimeField()),
                        ("quote_seconds", models.FloatField(blank=True, null=True)),
                        ("touched", models.PositiveIntegerField(default=0)),
                        ("restored", models.PositiveIntegerField(default=0)),
                        ("needs_hand", models.PositiveIntegerField(default=0)),
                        ("superseded", models.JSONField(blank=True, default=list)),
                        ("first_call_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "checked_at",
                            models.DateTimeField(
                                blank=True,
                                help_text="When all of them had been read back once more.",
                                null=True,
                            ),
                        ),
                        ("verified_at", models.DateTimeField(blank=True, null=True)),
                        ("finished_at", models.DateTimeField(blank=True, null=True)),
                        ("escalated_at", models.DateTimeField(blank=True, null=True)),
                        ("missed_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "batch",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="batches.batch",
                            ),
                        ),
                        (
                            "by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="rollbacks",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "ruling",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="batches.ruling",
                            ),
                        ),
                        (
                            "aftermath",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("watching", "Being watched"),
                                    ("in_band", "Back in band"),
                                    ("still_bad", "Still bad"),
                                    ("no_data", "No data since"),
                                    ("not_watched", "Not watched"),
                                ],
                                help_text="What the Kpis of the restored tenants showed afterwards; empty before the end.",
                                max_length=16,
                            ),
                        ),
                        ("aftermath_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "aftermath_kpis",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="Each guardrail with what was measured last.",
                            ),
                        ),
                        ("aftermath_sentence", models.TextField(blank=True)),
                        (
                            "aftermath_until",
                            models.DateTimeField(
                                blank=True,
                                help_text="How long the restored tenants are watched at most.",
                                null=True,
                            ),
                        ),
                        (
                            "expected_seconds",
                            models.FloatField(
                                blank=True,
                                help_text="What was expected at the trigger, without bad luck.",
                                null=True,
                            ),
                        ),
                        (
                            "quote_terms",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="The terms of the quote: label and seconds each.",
                            ),
                        ),
                        (
                            "unverified",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="Versions that it brings back without a signature that holds: version, tenants, problem.",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("plan", "triggered_at"),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("aftermath", "watching")),
                                fields=["plan"],
                                name="rollback_watched_afterwards",
                            )
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("finished_at", None)),
                                fields=("plan",),
                                name="one_open_rollback_per_plan",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="TenantUpgrade",
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
                        ("tenant_key", models.CharField(max_length=63)),
                        ("position", models.PositiveIntegerField(default=0)),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("upgrading", "Upgrading"),
                                    ("upgraded", "Upgraded"),
                                    ("failed", "Failed"),
                                    ("unknown", "Unknown"),
                                    ("restoring", "Restoring"),
                                    ("rolled_back", "Rolled back"),
                                    ("needs_hand", "Needs a hand"),
                                    ("excluded", "Excluded"),
                                ],
                                default="pending",
                                max_length=16,
                            ),
                        ),
                        ("generation", models.PositiveIntegerField(default=0)),
                        ("fence", models.BigIntegerField(default=0)),
                        ("attempts", models.PositiveIntegerField(default=0)),
                        ("version_before", models.CharField(blank=True, max_length=64)),
                        ("config_before", models.JSONField(blank=True, null=True)),
                        ("version_observed", models.CharField(blank=True, max_length=64)),
                        ("observed_at", models.DateTimeField(blank=True, null=True)),
                        ("started_at", models.DateTimeField(blank=True, null=True)),
                        ("touched_at", models.DateTimeField(blank=True, null=True)),
                        ("upgraded_at", models.DateTimeField(blank=True, null=True)),
                        ("restored_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "exhausted_at",
                            models.DateTimeField(
                                blank=True,
                                help_text="Its attempts are used up; only a person tries again.",
                                null=True,
                            ),
                        ),
                        ("last_error", models.CharField(blank=True, max_length=500)),
                        (
                            "batch",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="tenant_upgrades",
                                to="batches.batch",
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="tenant_upgrades",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "tenant",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.tenant",
                            ),
                        ),
                        (
                            "set_aside",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("quarantined", "Quarantined"),
                                    ("excluded", "Left out"),
                                    ("skipped", "Skipped"),
                                ],
                                help_text="Why the plan goes on without it; empty = it does not.",
                                max_length=16,
                            ),
                        ),
                        ("set_aside_at", models.DateTimeField(blank=True, null=True)),
                        ("set_aside_why", models.CharField(blank=True, max_length=500)),
                        ("digest_before", models.CharField(blank=True, max_length=200)),
                        ("digest_observed", models.CharField(blank=True, max_length=200)),
                    ],
                    options={
                        "ordering": ("batch", "position"),
                        "indexes": [
                            models.Index(fields=["batch", "state"], name="upgrade_batch_state"),
                            models.Index(fields=["plan", "state"], name="upgrade_plan_state"),
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("batch", "tenant"), name="one_upgrade_per_batch_and_tenant"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="DeployerCall",
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
                            "direction",
                            models.CharField(
                                choices=[("install", "Install"), ("restore", "Restore")],
                                max_length=8,
                            ),
                        ),
                        ("generation", models.PositiveIntegerField()),
                        ("attempt", models.PositiveIntegerField()),
                        ("key", models.CharField(max_length=200)),
                        ("fence", models.BigIntegerField()),
                        ("version", models.CharField(max_length=64)),
                        ("executor", models.CharField(max_length=16)),
                        ("reason", models.CharField(blank=True, max_length=200)),
                        ("started_at", models.DateTimeField()),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        ("outcome", models.CharField(blank=True, max_length=16)),
                        ("status", models.PositiveIntegerField(blank=True, null=True)),
                        ("answer", models.CharField(blank=True, max_length=500)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="calls",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "upgrade",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="calls",
                                to="batches.tenantupgrade",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("pk",),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("ended_at", None)),
                                fields=["plan"],
                                name="calls_open_by_plan",
                            ),
                            models.Index(fields=["plan", "ended_at"], name="calls_by_plan_and_end"),
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("key", "attempt"), name="one_row_per_key_and_attempt"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="AftermathCursor",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("source", models.CharField(max_length=63)),
                        ("cursors", models.JSONField(default=dict)),
                        (
                            "rollback",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="cursors",
                                to="batches.rollback",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("rollback", "kpi"), name="one_cursor_per_rollback_and_kpi"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="AftermathSample",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("at", models.DateTimeField()),
                        ("source", models.CharField(max_length=63)),
                        ("ok", models.BooleanField(default=True)),
                        ("look", models.JSONField(default=dict)),
                        (
                            "rollback",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="samples",
                                to="batches.rollback",
                            ),
                        ),
                        (
                            "asked",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text="What was read: the metric or the query of each part.",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("rollback", "kpi", "at"),
                        "indexes": [
                            models.Index(
                                fields=["rollback", "kpi", "at"], name="aftermath_rollback_kpi_at"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="DrillSchedule",
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
                        ("name", models.CharField(max_length=60, unique=True)),
                        ("deployer", models.CharField(max_length=63)),
                        ("tenant_choice", models.JSONField(default=dict)),
                        (
                            "injects",
                            models.JSONField(
                                default=list, help_text="Taken in turn, one each time."
                            ),
                        ),
                        ("days", models.JSONField(default=list, help_text="mon to sun.")),
                        ("at", models.TimeField()),
                        ("timezone", models.CharField(max_length=63)),
                        ("enabled", models.BooleanField(default=True)),
                        (
                            "roles",
                            models.JSONField(
                                default=list, help_text="The approval roles that must agree."
                            ),
                        ),
                        ("created_at", models.DateTimeField()),
                        ("next_at", models.DateTimeField(help_text="When it runs next.")),
                        (
                            "problem",
                            models.CharField(
                                blank=True, help_text="Why it did not run last.", max_length=400
                            ),
                        ),
                        (
                            "by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "release",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.release",
                            ),
                        ),
                    ],
                    options={"ordering": ("name",)},
                ),
                migrations.CreateModel(
                    name="DrillApproval",
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
                        ("role", models.CharField(max_length=64)),
                        ("comment", models.TextField(blank=True)),
                        ("at", models.DateTimeField()),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "schedule",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="approvals",
                                to="batches.drillschedule",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("at",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("schedule", "user"),
                                name="one_standing_yes_per_schedule_and_person",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="RollbackDrill",
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
                                choices=[("plan", "Within a plan"), ("rehearsal", "Rehearsal")],
                                max_length=16,
                            ),
                        ),
                        ("deployer", models.CharField(max_length=63)),
                        ("tenants", models.JSONField(default=list)),
                        (
                            "inject",
                            models.CharField(
                                choices=[
                                    ("none", "Nothing: taken back as soon as the batch soaks"),
                                    ("breach", "A breach: a limit that no value can keep"),
                                    ("missing_metric", "Missing data: looks that bring nothing"),
                                    ("hung_hook", "A hung hook: the first restore gets no answer"),
                                    (
                                        "killed_worker",
                                        "A killed worker: the process that calls dies",
                                    ),
                                ],
                                default="none",
                                max_length=16,
                            ),
                        ),
                        (
                            "phase",
                            models.CharField(
                                choices=[
                                    ("back", "Taking back"),
                                    ("forward", "Going forward again"),
                                    ("undo", "Taking back what did not go forward"),
                                    ("plan", "The plan of the rehearsal runs"),
                                    ("ended", "Ended"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("epoch", models.PositiveIntegerField(default=0)),
                        ("started_at", models.DateTimeField()),
                        (
                            "clock_from",
                            models.DateTimeField(
                                help_text="Where its seconds begin: anew after a pause."
                            ),
                        ),
                        ("injected_at", models.DateTimeField(blank=True, null=True)),
                        ("restored_at", models.DateTimeField(blank=True, null=True)),
                        ("forward_at", models.DateTimeField(blank=True, null=True)),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "seconds",
                            models.FloatField(
                                blank=True,
                                help_text="Until the last tenant was read back.",
                                null=True,
                            ),
                        ),
                        ("quote_seconds", models.FloatField(blank=True, null=True)),
                        ("limit_seconds", models.FloatField()),
                        (
                            "outcome",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("passed", "Passed"),
                                    ("failed", "Failed"),
                                    ("cut_short", "Cut short"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("sentence", models.TextField(blank=True)),
                        (
                            "by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="drills",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "schedule",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="drills",
                                to="batches.drillschedule",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-started_at",),
                        "indexes": [
                            models.Index(
                                fields=["deployer", "ended_at"], name="drill_by_deployer_and_end"
                            )
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("ended_at", None)),
                                fields=("plan",),
                                name="one_open_drill_per_plan",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="KpiBaseline",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("means", models.JSONField(default=dict)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="kpi_baselines",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kpi"), name="one_baseline_per_plan_and_kpi"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="KpiFit",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("source", models.CharField(max_length=63)),
                        ("digest", models.CharField(max_length=64)),
                        ("probed_at", models.DateTimeField()),
                        ("took_ms", models.PositiveIntegerField(default=0)),
                        ("level", models.CharField(max_length=8)),
                        ("findings", models.JSONField(blank=True, default=list)),
                        (
                            "tenants",
                            models.PositiveIntegerField(
                                default=0, help_text="How many were asked about."
                            ),
                        ),
                        (
                            "without",
                            models.JSONField(
                                blank=True, default=list, help_text="Tenants without data."
                            ),
                        ),
                        ("facts", models.JSONField(blank=True, default=dict)),
                    ],
                    options={
                        "ordering": ("kpi", "source"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("kpi", "source"), name="one_fit_per_kpi_and_source"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="EvidenceState",
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
                        ("state", models.JSONField(default=dict)),
                        ("percent", models.FloatField(default=0.0)),
                        ("verdict", models.CharField(default="undecided", max_length=16)),
                        ("action", models.CharField(blank=True, max_length=16)),
                        ("cause", models.CharField(blank=True, max_length=32)),
                        ("kpi", models.CharField(blank=True, max_length=120)),
                        ("sentence", models.TextField(blank=True)),
                        ("may_pass", models.BooleanField(default=False)),
                        ("estimated", models.BooleanField(default=False)),
                        ("began_at", models.DateTimeField()),
                        ("reached_at", models.DateTimeField(blank=True, null=True)),
                        ("updated_at", models.DateTimeField()),
                        (
                            "plan",
                            models.OneToOneField(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="evidence",
                                to="plans.plan",
                            ),
                        ),
                    ],
                ),
                migrations.CreateModel(
                    name="EvidenceLook",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("at", models.DateTimeField()),
                        (
                            "log_e",
                            models.FloatField(
                                help_text="Logarithm of the evidence of this Kpi alone."
                            ),
                        ),
                        ("percent", models.FloatField(help_text="Of this Kpi alone.")),
                        ("together", models.FloatField(help_text="Percent of all Kpis together.")),
                        (
                            "together_log_e",
                            models.FloatField(
                                help_text="Logarithm of the evidence of all together."
                            ),
                        ),
                        ("canary_errors", models.FloatField()),
                        ("canary_requests", models.FloatField()),
                        ("control_errors", models.FloatField()),
                        ("control_requests", models.FloatField()),
                        (
                            "ratio",
                            models.FloatField(
                                blank=True,
                                help_text="The canary's rate by the control's, within the batch.",
                                null=True,
                            ),
                        ),
                        ("ratio_lower", models.FloatField(blank=True, null=True)),
                        ("ratio_upper", models.FloatField(blank=True, null=True)),
                        ("ratio_tolerated", models.FloatField(blank=True, null=True)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="evidence_looks",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("plan", "at", "pk"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kpi", "at"),
                                name="one_evidence_look_per_kpi_and_moment",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="EvidenceBaseline",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("rates", models.JSONField(default=dict)),
                        ("phi", models.FloatField(default=1.0)),
                        ("short", models.CharField(blank=True, max_length=300)),
                        ("taken_at", models.DateTimeField()),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="evidence_baselines",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "bound",
                            models.FloatField(
                                blank=True,
                                help_text="Of a histogram: slower than that counted as an error.",
                                null=True,
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kpi"),
                                name="one_evidence_baseline_per_plan_and_kpi",
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="PushedSource",
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
                        ("name", models.CharField(max_length=63, unique=True)),
                        ("bucket_left", models.FloatField(blank=True, null=True)),
                        ("bucket_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "series",
                            models.PositiveIntegerField(default=0, help_text="How many are kept."),
                        ),
                        ("accepted", models.PositiveBigIntegerField(default=0)),
                        ("refused", models.PositiveBigIntegerField(default=0)),
                        ("last_refusal", models.CharField(blank=True, max_length=300)),
                        ("last_refused_at", models.DateTimeField(blank=True, null=True)),
                        ("last_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "last_by",
                            models.CharField(
                                blank=True, help_text="Whose token sent last.", max_length=120
                            ),
                        ),
                    ],
                    options={"ordering": ("name",)},
                ),
                migrations.CreateModel(
                    name="SourceState",
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
                        ("name", models.CharField(max_length=63, unique=True)),
                        (
                            "state",
                            models.CharField(
                                default="closed", help_text="Of the circuit breaker.", max_length=16
                            ),
                        ),
                        (
                            "failures",
                            models.PositiveIntegerField(
                                default=0, help_text="Reads that failed, running."
                            ),
                        ),
                        ("cause", models.CharField(blank=True, max_length=32)),
                        ("sentence", models.CharField(blank=True, max_length=300)),
                        ("since", models.DateTimeField(help_text="Since when it has been so.")),
                        ("read_at", models.DateTimeField()),
                        ("answered_at", models.DateTimeField(blank=True, null=True)),
                    ],
                    options={"ordering": ("name",)},
                ),
                migrations.CreateModel(
                    name="PipelineEvent",
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
                            "origin",
                            models.CharField(help_text="The CloudEvents source.", max_length=300),
                        ),
                        ("event_id", models.CharField(max_length=200)),
                        (
                            "kind",
                            models.CharField(help_text="Subject and predicate.", max_length=120),
                        ),
                        ("sentence", models.CharField(max_length=500)),
                        ("outcome", models.CharField(blank=True, max_length=32)),
                        ("subject_id", models.CharField(blank=True, max_length=300)),
                        ("tenant", models.CharField(blank=True, max_length=63)),
                        ("plugin", models.CharField(blank=True, max_length=63)),
                        ("version", models.CharField(blank=True, max_length=64)),
                        ("at", models.DateTimeField()),
                        ("received_at", models.DateTimeField(db_index=True)),
                        (
                            "plans",
                            models.JSONField(
                                default=list, help_text="The plans whose timeline tells of it."
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-received_at",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("origin", "event_id"), name="one_row_per_pipeline_event"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="PipelineRun",
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
                        ("origin", models.CharField(max_length=300)),
                        (
                            "kind",
                            models.CharField(
                                help_text="pipelinerun, taskrun, testsuiterun ...", max_length=60
                            ),
                        ),
                        ("run_id", models.CharField(max_length=300)),
                        ("started_at", models.DateTimeField(blank=True, null=True)),
                        ("passed", models.PositiveIntegerField(default=0)),
                        ("failed", models.PositiveIntegerField(default=0)),
                        ("seen_at", models.DateTimeField(db_index=True)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("origin", "kind", "run_id"), name="one_row_per_pipeline_run"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="PushedSeries",
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
                        ("source", models.CharField(max_length=63)),
                        ("metric", models.CharField(max_length=200)),
                        (
                            "identity",
                            models.CharField(
                                help_text="SHA-256 of metric and labels.", max_length=64
                            ),
                        ),
                        ("labels", models.JSONField(default=dict)),
                        ("kind", models.CharField(max_length=16)),
                        ("delta", models.BooleanField(default=False)),
                        ("at", models.DateTimeField()),
                        ("start", models.DateTimeField(blank=True, null=True)),
                        ("raw", models.JSONField(default=list)),
                        ("base", models.JSONField(default=list)),
                        ("bounds", models.JSONField(blank=True, null=True)),
                    ],
                    options={
                        "indexes": [
                            models.Index(
                                fields=["source", "metric", "at"], name="pushed_source_metric_at"
                            ),
                            models.Index(fields=["at"], name="pushed_at"),
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("source", "identity"), name="one_row_per_series"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="PushReceipt",
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
                        ("source", models.CharField(max_length=63)),
                        ("key", models.CharField(max_length=200)),
                        ("digest", models.CharField(max_length=64)),
                        ("answer", models.JSONField(default=dict)),
                        ("at", models.DateTimeField(db_index=True)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("source", "key"), name="one_receipt_per_key"
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="KpiHistoryCursor",
                    fields=[
                        (
                            "kpi",
                            models.CharField(max_length=120, primary_key=True, serialize=False),
                        ),
                        ("source", models.CharField(max_length=63)),
                        ("at", models.DateTimeField()),
                        ("cursor", models.JSONField(default=dict)),
                        (
                            "trouble",
                            models.CharField(
                                blank=True,
                                help_text="Why the last reading brought nothing.",
                                max_length=300,
                            ),
                        ),
                    ],
                ),
                migrations.CreateModel(
                    name="JudgedLook",
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
                        ("at", models.DateTimeField()),
                        ("revision", models.PositiveIntegerField()),
                        ("canary", models.PositiveIntegerField(help_text="Upgraded tenants.")),
                        ("soak_started", models.DateTimeField(blank=True, null=True)),
                        ("since", models.DateTimeField(blank=True, null=True)),
                        (
                            "batch",
                            models.PositiveBigIntegerField(
                                blank=True, help_text="The present one.", null=True
                            ),
                        ),
                        ("looks", models.JSONField(default=dict)),
                        ("states", models.JSONField(blank=True, null=True)),
                        ("upgraded", models.JSONField(blank=True, null=True)),
                        ("baselines", models.JSONField(blank=True, null=True)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="judged_looks",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "control",
                            models.PositiveIntegerField(
                                blank=True,
                                help_text="Tenants that waited untouched; empty in old rows.",
                                null=True,
                            ),
                        ),
                        (
                            "evidence_anew",
                            models.BooleanField(
                                default=False,
                                help_text="What the evidence test had tested was over: it began anew.",
                            ),
                        ),
                    ],
                    options={"ordering": ("plan", "pk")},
                ),
                migrations.CreateModel(
                    name="KpiRollup",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("step", models.PositiveIntegerField(help_text="Seconds of the span.")),
                        ("at", models.DateTimeField(help_text="Where the span begins.")),
                        ("tenants", models.PositiveIntegerField(default=0)),
                        ("body", models.BinaryField()),
                    ],
                    options={
                        "ordering": ("kpi", "step", "at"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("kpi", "step", "at"),
                                name="one_rollup_per_kpi_step_and_span",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="PlaceboRun",
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
                        ("at", models.DateTimeField()),
                        ("seed", models.CharField(max_length=64)),
                        ("rollouts", models.PositiveIntegerField()),
                        ("rolled_back", models.PositiveIntegerField()),
                        ("sentence", models.TextField()),
                        ("result", models.JSONField(default=dict)),
                        (
                            "by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "policy",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="placebos",
                                to="plans.policy",
                            ),
                        ),
                    ],
                    options={"ordering": ("policy", "-at")},
                ),
                migrations.CreateModel(
                    name="SoakOutlook",
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
                        ("revision", models.PositiveIntegerField()),
                        ("at", models.DateTimeField()),
                        ("outlook", models.JSONField(default=list)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="soak_outlooks",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={"ordering": ("plan", "-pk")},
                ),
                migrations.CreateModel(
                    name="KpiCourse",
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
                        ("kpi", models.CharField(max_length=120)),
                        ("source", models.CharField(max_length=63)),
                        ("looks", models.PositiveIntegerField(default=0)),
                        ("blind", models.PositiveIntegerField(default=0)),
                        ("points", models.JSONField(default=list)),
                        ("up_to", models.PositiveBigIntegerField(default=0)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="kpi_courses",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "kpi"), name="one_course_per_plan_and_kpi"
                            )
                        ]
                    },
                ),
            ]
        )
    ]

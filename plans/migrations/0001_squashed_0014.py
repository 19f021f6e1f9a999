"""The tables that the first fourteen migrations made, one by one, made at once."""

from importlib import import_module

import django.db.models.deletion
import django.utils.timezone
import django_fsm
import plans.models.driven
import uuid
from django.conf import settings
from django.db import migrations, models

from plans.migrations._tables_at_once import CreateTogether


APPEND_ONLY = import_module("plans.migrations.0002_trail_is_append_only")


class Migration(migrations.Migration):
    initial = True
    replaces = [
        ("plans", "0001_initial"),
        ("plans", "0002_trail_is_append_only"),
        ("plans", "0004_freezes"),
        ("plans", "0005_adjustments"),
        ("plans", "0006_events_say_where_they_come_from"),
        ("plans", "0007_checkpoints_of_the_trail"),
        ("plans", "0008_roles_are_kept_and_tokens_narrowed"),
        ("plans", "0009_administrators_hold_the_role"),
        ("plans", "0010_log_ins"),
        ("plans", "0011_approval_grants"),
        ("plans", "0012_signatures_and_standing_of_releases"),
        ("plans", "0013_first_signature_of_each_release"),
        ("plans", "0014_two_people_and_bound_proofs"),
    ]
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        CreateTogether(
            [
                migrations.CreateModel(
                    name="Plugin",
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
                        ("key", models.CharField(max_length=63, unique=True)),
                        ("name", models.CharField(blank=True, max_length=200)),
                    ],
                    options={"ordering": ("key",)},
                ),
                migrations.CreateModel(
                    name="Stream",
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
                        ("key", models.CharField(max_length=64, unique=True)),
                        ("head_seq", models.PositiveBigIntegerField(default=0)),
                        (
                            "head_hash",
                            models.CharField(
                                default="0000000000000000000000000000000000000000000000000000000000000000",
                                max_length=64,
                            ),
                        ),
                        ("mandate", models.CharField(blank=True, default="", max_length=200)),
                        ("mandate_trace", models.CharField(blank=True, default="", max_length=32)),
                    ],
                ),
                migrations.CreateModel(
                    name="Tenant",
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
                        ("key", models.CharField(max_length=63, unique=True)),
                        ("name", models.CharField(blank=True, max_length=200)),
                        ("labels", models.JSONField(blank=True, default=dict)),
                        ("owner_name", models.CharField(blank=True, max_length=120)),
                        ("owner_email", models.EmailField(blank=True, max_length=254)),
                        ("notes", models.TextField(blank=True)),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                    ],
                    options={"ordering": ("key",)},
                ),
                migrations.CreateModel(
                    name="User",
                    fields=[
                        ("password", models.CharField(max_length=128, verbose_name="password")),
                        (
                            "last_login",
                            models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                        ),
                        (
                            "is_superuser",
                            models.BooleanField(
                                default=False,
                                help_text="Designates that this user has all permissions without explicitly assigning them.",
                                verbose_name="superuser status",
                            ),
                        ),
                        (
                            "is_staff",
                            models.BooleanField(
                                default=False,
                                help_text="Designates whether the user can log into this admin site.",
                                verbose_name="staff status",
                            ),
                        ),
                        (
                            "is_active",
                            models.BooleanField(
                                default=True,
                                help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                                verbose_name="active",
                            ),
                        ),
                        (
                            "date_joined",
                            models.DateTimeField(
                                default=django.utils.timezone.now, verbose_name="date joined"
                            ),
                        ),
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
                            "email",
                            models.EmailField(max_length=254, unique=True, verbose_name="e-mail"),
                        ),
                        ("name", models.CharField(max_length=120)),
                        (
                            "groups",
                            models.ManyToManyField(
                                blank=True,
                                help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                                related_name="user_set",
                                related_query_name="user",
                                to="auth.group",
                                verbose_name="groups",
                            ),
                        ),
                        (
                            "user_permissions",
                            models.ManyToManyField(
                                blank=True,
                                help_text="Specific permissions for this user.",
                                related_name="user_set",
                                related_query_name="user",
                                to="auth.permission",
                                verbose_name="user permissions",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "user",
                        "verbose_name_plural": "users",
                        "abstract": False,
                    },
                ),
                migrations.CreateModel(
                    name="TrustKey",
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
                        ("key_id", models.CharField(max_length=64, unique=True)),
                        ("name", models.CharField(blank=True, max_length=120)),
                        (
                            "public_key",
                            models.TextField(help_text="Ed25519 or ECDSA P-256 public key, PEM."),
                        ),
                        ("not_before", models.DateTimeField()),
                        ("not_after", models.DateTimeField()),
                        ("revoked_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "plugins",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="Plugins it may sign; empty = all.",
                            ),
                        ),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        (
                            "revoked_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        ("revoked_why", models.CharField(blank=True, max_length=300)),
                    ],
                    options={"ordering": ("key_id",)},
                ),
                migrations.CreateModel(
                    name="ApiToken",
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
                        ("prefix", models.CharField(max_length=12)),
                        ("token_hash", models.CharField(max_length=64, unique=True)),
                        ("scopes", models.JSONField(blank=True, default=list)),
                        ("expires_at", models.DateTimeField(blank=True, null=True)),
                        ("revoked_at", models.DateTimeField(blank=True, null=True)),
                        ("last_used_at", models.DateTimeField(blank=True, null=True)),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="api_tokens",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "selector",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text="Tenant labels that it is narrowed to; empty = none.",
                            ),
                        ),
                        (
                            "revoked_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        ("last_used_from", models.GenericIPAddressField(blank=True, null=True)),
                        (
                            "made_by",
                            models.ForeignKey(
                                blank=True,
                                help_text="Empty: by a command on the machine itself.",
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                ),
                migrations.CreateModel(
                    name="Flag",
                    fields=[
                        (
                            "name",
                            models.CharField(max_length=63, primary_key=True, serialize=False),
                        ),
                        ("enabled", models.BooleanField(default=True)),
                        ("reason", models.CharField(blank=True, max_length=300)),
                        ("changed_at", models.DateTimeField(auto_now=True)),
                        (
                            "changed_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                ),
                migrations.CreateModel(
                    name="Policy",
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
                        ("name", models.CharField(max_length=120)),
                        ("digest", models.CharField(max_length=64)),
                        ("text", models.TextField(help_text="The whole file, approvals included.")),
                        ("source", models.CharField(blank=True, max_length=300)),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                        (
                            "in_force_since",
                            models.DateTimeField(
                                default=django.utils.timezone.now,
                                help_text="When this text was handed in last; the newest is what new plans take.",
                            ),
                        ),
                        (
                            "created_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "verbose_name_plural": "policies",
                        "ordering": ("name", "-in_force_since", "-pk"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("name", "digest"), name="one_row_per_policy_text"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Release",
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
                        ("version", models.CharField(max_length=64)),
                        (
                            "digest",
                            models.CharField(
                                help_text="sha256 of the artifact, hex.", max_length=71
                            ),
                        ),
                        (
                            "envelope",
                            models.TextField(
                                help_text="The signature that counts, as it was handed in."
                            ),
                        ),
                        ("verified_at", models.DateTimeField()),
                        ("irreversible", models.BooleanField(default=False)),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        (
                            "plugin",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="releases",
                                to="plans.plugin",
                            ),
                        ),
                        (
                            "registered_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "signed_by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="releases",
                                to="plans.trustkey",
                            ),
                        ),
                        (
                            "state",
                            models.CharField(
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
                        ("state_why", models.CharField(blank=True, max_length=400)),
                        ("state_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "state_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("plugin__key", "-created_at"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plugin", "version"),
                                name="one_release_per_plugin_and_version",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Plan",
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
                        ("external_id", models.CharField(max_length=120, unique=True)),
                        ("deployer", models.CharField(max_length=63)),
                        ("owner_name", models.CharField(blank=True, max_length=120)),
                        ("owner_email", models.EmailField(blank=True, max_length=254)),
                        ("note", models.TextField(blank=True)),
                        (
                            "state",
                            django_fsm.FSMField(
                                choices=[
                                    ("draft", "Draft"),
                                    ("awaiting_approval", "Awaiting approval"),
                                    ("approved", "Approved"),
                                    ("running", "Running"),
                                    ("paused", "Paused"),
                                    ("completed", "Completed"),
                                    ("stopped", "Stopped"),
                                    ("rolling_back", "Rolling back"),
                                    ("rolled_back", "Rolled back"),
                                    ("needs_hand", "Needs a hand"),
                                    ("rejected", "Rejected"),
                                    ("expired", "Expired"),
                                    ("cancelled", "Cancelled"),
                                    ("archived", "Archived"),
                                ],
                                db_index=True,
                                default="draft",
                                max_length=24,
                                protected=True,
                            ),
                        ),
                        ("epoch", models.PositiveIntegerField(default=0)),
                        ("revision", models.PositiveIntegerField(default=0)),
                        ("not_before", models.DateTimeField(blank=True, null=True)),
                        ("metric_bindings", models.JSONField(blank=True, default=dict)),
                        ("created_at", models.DateTimeField()),
                        ("submitted_at", models.DateTimeField(blank=True, null=True)),
                        ("approved_at", models.DateTimeField(blank=True, null=True)),
                        ("started_at", models.DateTimeField(blank=True, null=True)),
                        ("paused_at", models.DateTimeField(blank=True, null=True)),
                        ("resume_by", models.DateTimeField(blank=True, null=True)),
                        ("pause_deadline", models.DateTimeField(blank=True, null=True)),
                        ("waiting_for", models.CharField(blank=True, max_length=300)),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                        (
                            "author",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="plans",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "started_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plugin",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="plans",
                                to="plans.plugin",
                            ),
                        ),
                        (
                            "release",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="plans",
                                to="plans.release",
                            ),
                        ),
                        (
                            "stopped_at",
                            models.DateTimeField(
                                blank=True,
                                help_text="When a person ended it where it stood.",
                                null=True,
                            ),
                        ),
                        (
                            "old_versions",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="What a rollback would bring back without a signature that holds, as it was looked up at submission and start: version, tenants, problem.",
                            ),
                        ),
                    ],
                    options={"ordering": ("-created_at",)},
                    bases=(plans.models.driven.Driven, models.Model),
                ),
                migrations.CreateModel(
                    name="PlanRevision",
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
                        ("deployer", models.CharField(max_length=63)),
                        ("not_before", models.DateTimeField(blank=True, null=True)),
                        ("policy_name", models.CharField(max_length=120)),
                        ("policy_text", models.TextField()),
                        ("policy_digest", models.CharField(max_length=64)),
                        ("approvals", models.CharField(max_length=120)),
                        ("tenant_choice", models.JSONField(default=dict)),
                        ("tenants_digest", models.CharField(max_length=64)),
                        ("seed", models.CharField(max_length=64)),
                        ("plan_digest", models.CharField(max_length=64)),
                        ("why", models.CharField(blank=True, max_length=300)),
                        ("created_at", models.DateTimeField()),
                        (
                            "author",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="revisions",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "policy",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.policy",
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
                    options={
                        "ordering": ("plan", "number"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "number"), name="one_row_per_plan_revision"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="ApprovalRequest",
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
                        ("action", models.CharField(default="start", max_length=32)),
                        ("plan_digest", models.CharField(max_length=64)),
                        ("roles", models.JSONField(default=list)),
                        ("deadline", models.DateTimeField()),
                        ("opened_at", models.DateTimeField()),
                        ("closed_at", models.DateTimeField(blank=True, null=True)),
                        ("outcome", models.CharField(blank=True, max_length=16)),
                        (
                            "opened_by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="approval_requests",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "revision",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.planrevision",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-opened_at",),
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("closed_at", None)),
                                fields=("plan", "action"),
                                name="one_open_request_per_plan_and_action",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="RoleBinding",
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
                                choices=[
                                    ("console", "Console role"),
                                    ("approval", "Approval role"),
                                ],
                                max_length=16,
                            ),
                        ),
                        (
                            "role",
                            models.CharField(
                                help_text="For an approval role: the policy's label.", max_length=64
                            ),
                        ),
                        (
                            "selector",
                            models.JSONField(
                                blank=True,
                                default=dict,
                                help_text='Tenant labels, e.g. {"region": "eu"}; empty = all.',
                            ),
                        ),
                        ("expires_at", models.DateTimeField(blank=True, null=True)),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="role_bindings",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        ("why", models.CharField(blank=True, max_length=300)),
                        (
                            "given_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "confirmed_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "ended_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        ("ended_why", models.CharField(blank=True, max_length=300)),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("ended_at", None)),
                                fields=("user", "kind", "role", "selector"),
                                name="one_open_binding_per_person_role_and_tenants",
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="Event",
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
                        ("seq", models.PositiveBigIntegerField()),
                        ("kind", models.CharField(max_length=64)),
                        ("at", models.DateTimeField()),
                        ("actor_name", models.CharField(max_length=200)),
                        ("via", models.CharField(max_length=16)),
                        ("sentence", models.TextField()),
                        ("payload", models.JSONField(default=dict)),
                        ("prev_hash", models.CharField(max_length=64)),
                        ("hash", models.CharField(max_length=64)),
                        (
                            "actor",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "stream",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="events",
                                to="plans.stream",
                            ),
                        ),
                        (
                            "v",
                            models.PositiveSmallIntegerField(
                                default=2, help_text="Of what is hashed."
                            ),
                        ),
                        ("on_behalf", models.CharField(blank=True, max_length=200)),
                        (
                            "token",
                            models.CharField(
                                blank=True, help_text="The API token that was used.", max_length=160
                            ),
                        ),
                        (
                            "ip",
                            models.CharField(
                                blank=True, help_text="Salted digest of the address.", max_length=64
                            ),
                        ),
                        ("trace_id", models.CharField(blank=True, max_length=32)),
                        ("reason", models.TextField(blank=True)),
                        (
                            "grant",
                            models.CharField(
                                blank=True,
                                help_text="The approval grant it used up.",
                                max_length=64,
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("stream", "seq"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("stream", "seq"), name="one_event_per_stream_and_seq"
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="PlanTenant",
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
                        ("batch_number", models.PositiveIntegerField(default=0)),
                        ("position", models.PositiveIntegerField(default=0)),
                        ("reserved", models.BooleanField(default=False)),
                        ("excluded", models.BooleanField(default=False)),
                        ("excluded_why", models.CharField(blank=True, max_length=200)),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="plan_tenants",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "plugin",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.plugin",
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
                    ],
                    options={
                        "ordering": ("plan", "batch_number", "position"),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("plan", "tenant"), name="one_place_per_plan_and_tenant"
                            ),
                            models.UniqueConstraint(
                                condition=models.Q(("reserved", True)),
                                fields=("plugin", "tenant"),
                                name="one_live_plan_per_tenant_and_plugin",
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Installation",
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
                        ("version", models.CharField(blank=True, max_length=64)),
                        ("observed_at", models.DateTimeField(blank=True, null=True)),
                        ("config", models.JSONField(blank=True, null=True)),
                        ("last_stable_version", models.CharField(blank=True, max_length=64)),
                        ("fence", models.BigIntegerField(default=0)),
                        (
                            "plugin",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="installations",
                                to="plans.plugin",
                            ),
                        ),
                        (
                            "tenant",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="installations",
                                to="plans.tenant",
                            ),
                        ),
                        (
                            "digest",
                            models.CharField(
                                blank=True,
                                help_text="As observed; empty where the platform tells none.",
                                max_length=200,
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("tenant", "plugin"),
                                name="one_installation_per_tenant_and_plugin",
                            )
                        ]
                    },
                ),
                migrations.CreateModel(
                    name="Approval",
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
                            "verdict",
                            models.CharField(
                                choices=[("approved", "Approved"), ("rejected", "Rejected")],
                                max_length=16,
                            ),
                        ),
                        ("role", models.CharField(blank=True, max_length=64)),
                        ("comment", models.TextField(blank=True)),
                        ("method", models.CharField(blank=True, max_length=32)),
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
                            "request",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="approvals",
                                to="plans.approvalrequest",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("at",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("request", "user"),
                                name="one_verdict_per_person_and_request",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Freeze",
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
                        ("reason", models.CharField(max_length=300)),
                        ("tenants", models.JSONField(blank=True, default=list)),
                        ("labels", models.JSONField(blank=True, default=dict)),
                        (
                            "overriders",
                            models.JSONField(
                                blank=True,
                                default=list,
                                help_text="Console or approval roles that may let a plan through.",
                            ),
                        ),
                        ("begins_at", models.DateTimeField()),
                        (
                            "ends_at",
                            models.DateTimeField(
                                blank=True, help_text="Empty = until it is lifted.", null=True
                            ),
                        ),
                        ("declared_at", models.DateTimeField()),
                        ("lifted_at", models.DateTimeField(blank=True, null=True)),
                        ("lifted_why", models.CharField(blank=True, max_length=300)),
                        (
                            "declared_by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "lifted_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plugin",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="freezes",
                                to="plans.plugin",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-begins_at", "pk"),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("lifted_at", None)),
                                fields=["begins_at"],
                                name="freezes_not_lifted",
                            )
                        ],
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(
                                    ("ends_at", None),
                                    ("ends_at__gt", models.F("begins_at")),
                                    _connector="OR",
                                ),
                                name="freeze_ends_after_it_begins",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="FreezeOverride",
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
                        ("reason", models.CharField(max_length=300)),
                        ("role", models.CharField(max_length=64)),
                        ("at", models.DateTimeField()),
                        (
                            "expires_at",
                            models.DateTimeField(
                                blank=True,
                                help_text="Empty = as long as the plan lives.",
                                null=True,
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
                            "freeze",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="overrides",
                                to="plans.freeze",
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="overrides",
                                to="plans.plan",
                            ),
                        ),
                    ],
                    options={"ordering": ("at", "pk")},
                ),
                migrations.CreateModel(
                    name="Adjustment",
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
                        ("direction", models.CharField(max_length=8)),
                        ("changes", models.JSONField(default=list)),
                        ("reason", models.CharField(max_length=300)),
                        ("via", models.CharField(max_length=16)),
                        ("asked_at", models.DateTimeField()),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("waiting", "Waits for approval"),
                                    ("applied", "In force"),
                                    ("rejected", "Rejected"),
                                    ("expired", "Expired"),
                                    ("superseded", "Superseded"),
                                    ("dropped", "Dropped"),
                                ],
                                max_length=12,
                            ),
                        ),
                        ("applied_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "ended_at",
                            models.DateTimeField(
                                blank=True,
                                help_text="When it was dropped, or what it loosened was put back.",
                                null=True,
                            ),
                        ),
                        (
                            "expires_after_seconds",
                            models.FloatField(
                                blank=True,
                                help_text="How long a loosening holds once it is in force.",
                                null=True,
                            ),
                        ),
                        ("expires_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "before",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.planrevision",
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
                                related_name="adjustments",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "request",
                            models.OneToOneField(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="adjustment",
                                to="plans.approvalrequest",
                            ),
                        ),
                        (
                            "restores",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="restored_by",
                                to="plans.adjustment",
                            ),
                        ),
                        (
                            "revision",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="plans.planrevision",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("plan", "asked_at", "revision__number"),
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("state", "waiting")),
                                fields=("plan",),
                                name="one_waiting_adjustment_per_plan",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="EventAddress",
                    fields=[
                        (
                            "event",
                            models.OneToOneField(
                                on_delete=django.db.models.deletion.PROTECT,
                                primary_key=True,
                                related_name="address",
                                serialize=False,
                                to="plans.event",
                            ),
                        ),
                        ("address", models.CharField(max_length=45)),
                        ("salt", models.CharField(max_length=32)),
                    ],
                ),
                migrations.CreateModel(
                    name="Checkpoint",
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
                        ("number", models.PositiveBigIntegerField(unique=True)),
                        (
                            "log",
                            models.CharField(
                                help_text="Which trail: the same as long as it goes on.",
                                max_length=32,
                            ),
                        ),
                        ("at", models.DateTimeField()),
                        ("why", models.CharField(max_length=32)),
                        (
                            "text",
                            models.TextField(help_text="The signed checkpoint, word for word."),
                        ),
                        ("kid", models.CharField(max_length=16)),
                        (
                            "size",
                            models.PositiveBigIntegerField(help_text="Events of all streams."),
                        ),
                        (
                            "whole",
                            models.BooleanField(
                                help_text="Whether `heads` holds all heads, or what has changed."
                            ),
                        ),
                        (
                            "heads",
                            models.JSONField(
                                help_text="Stream -> [number, hash] of its last event."
                            ),
                        ),
                        (
                            "last_event",
                            models.PositiveBigIntegerField(
                                help_text="The newest event's key at that moment."
                            ),
                        ),
                    ],
                    options={"ordering": ("number",)},
                ),
                migrations.CreateModel(
                    name="TrailCheck",
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
                        (
                            "outcome",
                            models.PositiveSmallIntegerField(
                                help_text="The exit code of audit_verify."
                            ),
                        ),
                        ("sentence", models.TextField()),
                        ("problems", models.JSONField(default=list)),
                        ("events", models.PositiveBigIntegerField()),
                        ("checkpoints", models.PositiveBigIntegerField()),
                        ("seconds", models.FloatField()),
                    ],
                    options={"ordering": ("-at",)},
                ),
                migrations.CreateModel(
                    name="RoleRequest",
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
                        (
                            "decided_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="role_requests",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "kind",
                            models.CharField(
                                choices=[
                                    ("console", "Console role"),
                                    ("approval", "Approval role"),
                                ],
                                default="approval",
                                max_length=16,
                            ),
                        ),
                        (
                            "asked_by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-asked_at",),
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("outcome", "")),
                                fields=("user", "kind", "role", "selector"),
                                name="one_open_request_per_person_role_and_tenants",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="FailedLogIn",
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
                        ("hour", models.DateTimeField()),
                        ("subject", models.CharField(blank=True, max_length=36)),
                        ("address", models.CharField(blank=True, max_length=45)),
                        ("step", models.CharField(max_length=16)),
                        ("count", models.PositiveIntegerField(default=0)),
                    ],
                    options={
                        "verbose_name": "failed log-in",
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("hour", "subject", "address", "step"),
                                name="one_count_per_hour_person_address_and_step",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="MappedRole",
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
                migrations.CreateModel(
                    name="Grant",
                    fields=[
                        (
                            "jti",
                            models.UUIDField(
                                default=uuid.uuid4,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("action", models.CharField(max_length=32)),
                        ("role", models.CharField(blank=True, max_length=64)),
                        (
                            "methods",
                            models.JSONField(
                                default=list, help_text="How the approver stepped up."
                            ),
                        ),
                        (
                            "payload",
                            models.TextField(
                                help_text="Base64 of the canonical JSON that is signed."
                            ),
                        ),
                        (
                            "sig",
                            models.CharField(
                                help_text="Base64 of the Ed25519 signature.", max_length=128
                            ),
                        ),
                        ("kid", models.CharField(max_length=64)),
                        ("issued_at", models.DateTimeField()),
                        ("expires_at", models.DateTimeField()),
                        ("consumed_at", models.DateTimeField(blank=True, null=True)),
                        ("op", models.CharField(blank=True, max_length=160)),
                        ("voided_at", models.DateTimeField(blank=True, null=True)),
                        ("voided_why", models.CharField(blank=True, max_length=200)),
                        (
                            "approval",
                            models.OneToOneField(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="grant",
                                to="plans.approval",
                            ),
                        ),
                        (
                            "approver",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="grants",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "request",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="grants",
                                to="plans.approvalrequest",
                            ),
                        ),
                        (
                            "answer",
                            models.JSONField(
                                blank=True,
                                help_text="What the approver's security key answered.",
                                null=True,
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("issued_at", "jti"),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("consumed_at", None), ("voided_at", None)),
                                fields=["expires_at"],
                                name="grants_not_used_yet",
                            )
                        ],
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(
                                    ("consumed_at", None), ("voided_at", None), _connector="OR"
                                ),
                                name="a_used_grant_is_not_void",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="BreakGlass",
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
                        ("act", models.CharField(max_length=16)),
                        ("batch", models.PositiveIntegerField(blank=True, null=True)),
                        (
                            "roles",
                            models.JSONField(
                                default=list, help_text="The roles that were passed over."
                            ),
                        ),
                        (
                            "told",
                            models.JSONField(
                                default=list, help_text="The ids of those who could have agreed."
                            ),
                        ),
                        ("reason", models.TextField()),
                        ("at", models.DateTimeField()),
                        ("via", models.CharField(max_length=16)),
                        ("review_due", models.DateTimeField()),
                        ("reviewed_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "verdict",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("justified", "Justified"),
                                    ("not_justified", "Not justified"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("review", models.TextField(blank=True)),
                        (
                            "by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "grant",
                            models.OneToOneField(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="broken_glass",
                                to="plans.grant",
                            ),
                        ),
                        (
                            "plan",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="broken_glass",
                                to="plans.plan",
                            ),
                        ),
                        (
                            "reviewed_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "ordering": ("-at", "pk"),
                        "indexes": [
                            models.Index(
                                condition=models.Q(("reviewed_at", None)),
                                fields=["review_due"],
                                name="break_glass_not_reviewed",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="ReleaseSignature",
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
                        ("form", models.CharField(max_length=8)),
                        ("envelope", models.TextField()),
                        ("verified_at", models.DateTimeField()),
                        ("via", models.CharField(blank=True, max_length=16)),
                        (
                            "handed_in_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
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
                    options={"ordering": ("release", "-verified_at", "-pk")},
                ),
            ]
        ),
        migrations.RunPython(APPEND_ONLY.create_triggers, APPEND_ONLY.drop_triggers),
    ]

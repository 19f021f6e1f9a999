"""Text that would do harm where it is taken for markup, script, a link, a template or a formula.

The columns are read from the models: one that is new is filled, unless KEPT says why nobody can
write such text there.
"""

import uuid
from collections.abc import Iterator
from datetime import date, time
from typing import Any

from django.apps import apps
from django.db import DatabaseError, models, transaction

from batches.models import Batch, TenantUpgrade
from plans import flags
from plans.models import Plan, RoleBinding, User
from plans.policies.keeping import save_policy_text
from plans.trail import events
from plans.trail.trace import acting_from
from tests.web.access_scene import APPROVES, CONSOLE, OWN
from tests.web.api_scene import now

ELSEWHERE = "evil.example"
"""The host that a browser would ask if any of this came alive."""
SHORT = "'\"><xss onload=x>"
PIECES = (
    # First, so that an address made of the text would be this one.
    f"javascript:hit=1//{SHORT}",
    "<script>hit=1</script>",
    "</script></textarea></title></style>",
    f'"><img src=//{ELSEWHERE}/i onerror=hit=1>',
    "<svg onload=hit=1>",
    f"<a href=//{ELSEWHERE}/a>a</a>",
    "{{7*191}}{% debug %}${hit=1}",
    f"<style>@import '//{ELSEWHERE}/s'</style>",
    f"<iframe srcdoc='<script src=//{ELSEWHERE}/f></script>'></iframe>",
    "<details open ontoggle=hit=1>\u202edesrever\u202c",
    f"[b](javascript:hit=1) url(//{ELSEWHERE}/u) %{{x}}<b>bold</b>",
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
OF_THE_CODE = "a word of a list in the code"
PATTERN = "letters, digits and a few signs, wherever it is written; a name that is looked up"
COMPUTED = "made by the console: a digest, a signature, a key, a number of its own"
KEPT: dict[str, str] = {
    **dict.fromkeys(
        (
            *("RoleBinding.role", "RoleRequest.role", "Tenant.key", "Plan.external_id"),
            *("Plan.deployer", "PlanRevision.deployer", "PlanRevision.policy_name"),
            *("PlanRevision.approvals", "Plugin.key", "Release.version", "Policy.name"),
            *("TenantUpgrade.tenant_key", "DeployerCall.version", "RollbackDrill.deployer"),
            *("DrillSchedule.deployer", "EvidenceState.kpi", "EvidenceLook.kpi", "KpiFit.kpi"),
            *("EvidenceBaseline.kpi", "KpiFit.source", "KpiRollup.kpi", "KpiHistoryCursor.kpi"),
            *("KpiHistoryCursor.source", "KpiSample.kpi", "KpiSample.source", "KpiCourse.kpi"),
            *("KpiCourse.source", "KpiCursor.kpi", "KpiCursor.source", "GuardrailState.key"),
            *("GuardrailState.kpi", "Ruling.guardrail", "Ruling.kpi", "KpiBaseline.kpi"),
            *("SourceState.name", "PushedSource.name", "PushedSeries.source"),
            *("PushReceipt.source", "AftermathSample.kpi", "AftermathSample.source"),
            *("AftermathCursor.kpi", "AftermathCursor.source", "Ruling.worst_tenant"),
            *("DeployerMeasurement.deployer", "Ruling.unit", "Flag.name", "User.email"),
            "DrillSchedule.timezone",
        ),
        PATTERN,
    ),
    **dict.fromkeys(
        (
            *("ApprovalRequest.action", "ApprovalRequest.outcome", "Approval.method"),
            *("Adjustment.direction", "Adjustment.via", "Event.kind", "Event.via", "Grant.action"),
            *("BreakGlass.act", "BreakGlass.via", "FailedLogIn.step", "Batch.advance"),
            *("Checkpoint.log", "Checkpoint.why", "Batch.held_from", "Batch.held_kind"),
            *("ReleaseSignature.form", "ReleaseSignature.via", "DeployerCall.executor"),
            *("DeployerCall.outcome", "EvidenceState.verdict", "EvidenceState.action"),
            *("EvidenceState.cause", "KpiFit.level", "GuardrailState.verdict", "Ruling.verdict"),
            *("Ruling.action", "Ruling.cause", "SourceState.state", "SourceState.cause"),
            *("PushedSeries.kind", "PipelineEvent.outcome", "Rollback.trigger", "Rollback.via"),
            *("Lease.name", "Lease.holder", "Lease.kind", "Heartbeat.name", "Heartbeat.kind"),
            *("Alert.kind", "Alert.key", "UpgradeReport.state", "DeployerMeasurement.direction"),
        ),
        OF_THE_CODE,
    ),
    **dict.fromkeys(
        (
            *("User.password", "ApiToken.prefix", "ApiToken.token_hash", "Stream.key"),
            *("PlanRevision.policy_digest", "PlanRevision.tenants_digest", "PlanRevision.seed"),
            *("PlanRevision.plan_digest", "ApprovalRequest.plan_digest", "Stream.head_hash"),
            *("Checkpoint.text", "Checkpoint.kid", "Event.ip", "Event.trace_id", "Event.grant"),
            *("Event.prev_hash", "Event.hash", "EventAddress.address", "EventAddress.salt"),
            *("Grant.payload", "Grant.sig", "Grant.kid", "Grant.op", "FailedLogIn.address"),
            *("TrustKey.key_id", "TrustKey.public_key", "Release.digest", "Release.envelope"),
            *("ReleaseSignature.envelope", "Policy.digest", "DeployerCall.key", "KpiFit.digest"),
            *("PlaceboRun.seed", "PlaceboRun.sentence", "PushedSeries.identity"),
            "PushReceipt.digest",
            *("Ruling.inputs_digest", "UpgradeReport.sha256", "UpgradeReport.data_digest"),
            *("UpgradeReport.file", "Endpoint.sealed_secret", "FailedLogIn.subject"),
        ),
        COMPUTED,
    ),
    # Read by the policy's own reader, which refuses what is no policy; its free words are filled.
    **dict.fromkeys(("PlanRevision.policy_text", "Policy.text"), "a policy: see POLICY"),
    "Endpoint.url": "an address, https or http alone, which is never a link",
    "DrillSchedule.name": "unique: filled by `rows_of_their_own`, once",
}
POLICY = f"""
policies:
  hostile:
    description: "{" ".join(PIECES[:7]).replace('"', chr(92) + '"')}"
    batches:
      - {{name: all, percentage: 100, soak_minutes: 1}}
    rollback_thresholds: {{error_rate: 5}}
approvals:
  default: {{required_roles: [system_admin, role_admin], max_pending_minutes: 60}}
"""
JSON: dict[str, Any] = {
    "Installation.config": {PIECES[0]: PIECES[3]},
    "TenantUpgrade.config_before": {PIECES[0]: PIECES[3]},
    "TrailCheck.problems": [PIECES[0] + PIECES[1]],
    "PushedSeries.labels": {"tenant": PIECES[0]},
    "Freeze.labels": {"region": PIECES[0]},
}
"""What people and machines write inside of JSON."""
JSON_KEPT = frozenset(
    (
        *("Adjustment.changes", "AftermathCursor.cursors", "AftermathSample.asked"),
        *("AftermathSample.look", "Alert.payload", "Announcement.event", "ApiToken.scopes"),
        *("ApiToken.selector", "ApprovalRequest.roles", "Batch.acknowledged", "Batch.metrics"),
        *("Batch.quote", "BreakGlass.roles", "BreakGlass.told", "Checkpoint.heads"),
        *("Delivery.tenants", "DeployerMeasurement.durations", "DrillSchedule.days"),
        *("DrillSchedule.injects", "DrillSchedule.roles", "DrillSchedule.tenant_choice"),
        *("Endpoint.kinds", "EvidenceBaseline.rates", "EvidenceState.state"),
        *("Freeze.overriders", "Freeze.tenants", "Grant.answer", "Grant.methods"),
        "GuardrailState.recent",
        *("GuardrailState.state", "GuardrailState.told", "Heartbeat.detail"),
        *("JudgedLook.baselines", "JudgedLook.looks", "JudgedLook.states"),
        *("JudgedLook.upgraded", "KpiBaseline.means", "KpiCourse.points", "KpiCursor.cursor"),
        *("KpiFit.facts", "KpiFit.findings", "KpiFit.without", "KpiHistoryCursor.cursor"),
        *("KpiSample.asked", "KpiSample.look", "PipelineEvent.plans", "PlaceboRun.result"),
        *("Plan.metric_bindings", "Plan.old_versions", "PlanRevision.tenant_choice"),
        *("PushReceipt.answer", "PushedSeries.base", "PushedSeries.bounds", "PushedSeries.raw"),
        *("RoleBinding.selector", "RoleRequest.selector", "Rollback.aftermath_kpis"),
        *("Rollback.quote_terms", "Rollback.superseded", "Rollback.tenants"),
        *("Rollback.unverified", "RollbackDrill.tenants", "Ruling.evidence"),
        *("SoakOutlook.outlook", "Tenant.labels", "TrustKey.plugins"),
    )
)
"""Numbers and checked names that the console reads back; `Event.payload` is filled by `say`."""


READ_BACK = {"Flag.name": flags.ROLLBACK, "BreakGlass.act": "start"}
"""What the pages look up of rows that are made up."""


def hostile(longest: int | None) -> str:
    """Return as many of the pieces as fit, the first one first wherever there is room for it."""
    if longest is not None and longest < len(PIECES[0]):
        return SHORT
    text = ""
    for piece in PIECES:
        if longest is None or len(text) + len(piece) <= longest:
            text += piece
    return text


def our_models() -> Iterator[type[models.Model]]:
    for label in ("plans", "batches", "reports"):
        yield from apps.get_app_config(label).get_models()


def text_columns() -> list[tuple[type[models.Model], Any]]:
    """Return every column of ours that holds text and no choice of the code."""
    return [
        (model, field)
        for model in our_models()
        for field in model._meta.fields
        if isinstance(field, models.CharField | models.TextField) and not field.choices
    ]


def json_columns() -> set[str]:
    return {
        f"{model.__name__}.{field.name}"
        for model in our_models()
        for field in model._meta.fields
        if isinstance(field, models.JSONField)
    }


def filled_columns() -> list[tuple[type[models.Model], Any]]:
    return [(m, field) for m, field in text_columns() if f"{m.__name__}.{field.name}" not in KEPT]


def _values(model: type[models.Model], text: str) -> dict[str, Any]:
    found = {
        field.name: text or hostile(field.max_length)
        for known, field in filled_columns()
        if known is model and (field.max_length or 1000) >= len(text or SHORT)
    }
    json = {} if text else JSON
    return found | {
        name.partition(".")[2]: value
        for name, value in json.items()
        if name.partition(".")[0] == model.__name__
    }


def fill(scene: Any, *, text: str = "") -> list[str]:
    """Write the text past all forms, as if each of them had let it through; return what stays.

    A table without a row, or whose rows cannot change, gets one. What is returned are the models
    none of whose columns could be filled.
    """
    left = []
    for model in our_models():
        values = _values(model, text)
        if values and not (_updated(model, values) or _added(model, values, scene)):
            left.append(model.__name__)
    for plan in (*scene.plans.values(), None):
        say(plan, text)
    # What only `say` can write: the chain of the trail is not to be broken.
    return [name for name in left if name != "Event"]


def say(plan: Plan | None, text: str = "") -> None:
    """Let the plan's trail, or the system's, hold the text wherever an event has room."""
    come = acting_from(on_behalf=text or hostile(200), token=text or hostile(160))
    words = text or hostile(None)
    with transaction.atomic(), come:
        events.record(
            stream=plan, kind="remark", sentence=words, actor=None, via="page", now=now(),
            reason=words, payload={"note": words, words[:60]: [words]},
            actor_name=text or hostile(200),
        )  # fmt: skip


def save_policy(scene: Any) -> None:
    """Have a policy whose free words are hostile."""
    save_policy_text(text=POLICY, source="test", by=scene.ada, now=now(), via="page")


def be_everything(person: User) -> None:
    """Give somebody every role that there is."""
    for kind, role in [*((RoleBinding.CONSOLE, role) for role in CONSOLE),
                       (RoleBinding.APPROVAL, APPROVES)]:  # fmt: skip
        RoleBinding.objects.get_or_create(user=person, kind=kind, role=role)


def _updated(model: type[models.Model], values: dict[str, Any]) -> bool:
    try:
        with transaction.atomic():
            return bool(model._base_manager.update(**values))
    except DatabaseError:
        return False  # what the database itself keeps as it is


def _added(model: type[models.Model], values: dict[str, Any], scene: Any) -> bool:
    if model is User:
        return False
    try:
        with transaction.atomic():
            model._base_manager.bulk_create([model(**_bare(model, scene) | values)])
    except DatabaseError:
        return False  # there is one already, which was filled
    return True


def _bare(model: type[models.Model], scene: Any) -> dict[str, Any]:
    """Return the least that a row of the model needs, about the plan on the own side."""
    plan = scene.plans[OWN]
    known: dict[type[models.Model], Any] = {
        Plan: plan,
        User: scene.ada,
        Batch: Batch.objects.filter(plan=plan).first(),
        TenantUpgrade: TenantUpgrade.objects.filter(plan=plan).first(),
    }
    needed = {}
    for field in model._meta.fields:
        made = isinstance(field, models.AutoField) or field.has_default()
        if made or (field.null and not field.is_relation):
            continue
        if isinstance(field, models.ForeignKey):
            kind: Any = field.related_model
            row = known.get(kind) or kind._base_manager.first()
            if row is None and not field.null:
                row = kind._base_manager.create(**_bare(kind, scene))
            if row is not None or not field.null:
                needed[field.name] = row
        else:
            needed[field.name] = _value(field)
    return needed


def _value(field: Any) -> Any:
    if (known := READ_BACK.get(f"{field.model.__name__}.{field.name}")) is not None:
        return known
    if field.choices:
        return field.choices[0][0]
    samples: list[tuple[Any, Any]] = [
        (models.DateTimeField, now()), (models.DateField, date(2026, 1, 1)),
        (models.TimeField, time(3)), (models.BooleanField, False), (models.JSONField, {}),
        (models.FloatField, 1.0), (models.IntegerField, 1), (models.UUIDField, uuid.uuid4()),
        (models.BinaryField, b""),
    ]  # fmt: skip
    for kind, value in samples:
        if isinstance(field, kind):
            return value
    return uuid.uuid4().hex[: field.max_length or 32]

"""Read the field-level log of one plan: which field of which row, from what to what, by whom."""

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from batches.models import Batch
from plans.models import Approval, Plan, PlanRevision
from reports.document.facts import FieldChange

MOST_ENTRIES = 500
LONGEST_VALUE = 60
# Written by every save; what it says is in the entry's own time.
NOT_TOLD = {"updated_at"}


def field_changes(plan: Plan) -> tuple[FieldChange, ...]:
    """Return the newest entries about the plan, its revisions, approvals and batches."""
    types = ContentType.objects.get_for_models(Plan, PlanRevision, Approval, Batch)
    about = Q(content_type=types[Plan], object_pk=str(plan.pk))
    for model, rows in (
        (PlanRevision, PlanRevision.objects.filter(plan=plan)),
        (Approval, Approval.objects.filter(request__plan=plan)),
        (Batch, Batch.objects.filter(plan=plan)),
    ):
        ids = [str(pk) for pk in rows.order_by().values_list("pk", flat=True)]
        about |= Q(content_type=types[model], object_pk__in=ids)
    entries = (
        LogEntry.objects.filter(about)
        .select_related("actor", "content_type")
        .order_by("-timestamp", "-pk")[:MOST_ENTRIES]
    )
    return tuple(_change(entry, plan) for entry in reversed(entries))


def _change(entry: LogEntry, plan: Plan) -> FieldChange:
    # The report is about one plan; its number on each line would only fill the paper.
    is_plan = entry.object_pk == str(plan.pk)
    actor = entry.actor.get_full_name() if entry.actor is not None else entry.actor_email or ""
    return FieldChange(
        at=entry.timestamp,
        actor=actor or "the console",
        what="plan" if is_plan else f"{entry.content_type.name} {entry.object_pk}",
        action=entry.get_action_display(),
        changes=_told(entry),
    )


def _told(entry: LogEntry) -> tuple[str, ...]:
    changes = entry.changes
    # A created row's first values are all new; the report shows them where they belong.
    if entry.action == LogEntry.Action.CREATE or not isinstance(changes, dict):
        return ()
    return tuple(
        f"{name}: {_clip(pair[0])} → {_clip(pair[1])}"
        for name, pair in sorted(changes.items())
        if name not in NOT_TOLD and isinstance(pair, list) and len(pair) == 2
    )


def _clip(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"

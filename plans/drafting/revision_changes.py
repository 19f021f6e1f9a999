"""What became different since the approvers last had the plan before them."""

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from auditlog.models import LogEntry
from django.db.models import F

from plans.drafting.drafting import TenantChoice, chosen_tenants, current_revision, written_policy
from plans.drafting.waves import Arrangement, Candidate, arrange, batch_specs
from plans.models import ApprovalRequest, Plan, PlanRevision, PlanTenant, Release
from plans.policies.policy_words import when_words
from plans.policies.policy_yaml import parse_policy_file

_FIELDS = {
    "release": "release",
    "deployer": "deployer",
    "not_before": "not before",
    "owner_name": "owner",
    "owner_email": "owner's e-mail",
    "note": "note",
}


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a unified diff; `kind` is added, removed, place or same."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A fact of the plan that reads differently now."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RevisionChanges:
    """All that differs between the revision that was handed in then and the one of now."""

    since: int
    now: int
    outcome: str
    at: datetime
    fields: tuple[FieldChange, ...]
    policy: tuple[DiffLine, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Tell whether anything differs."""
        return bool(self.fields or self.policy or self.added or self.removed)


def changes_since_last_request(plan: Plan) -> RevisionChanges | None:
    """Return what changed since the last earlier revision that was approved, else handed in.

    None when the plan was never before the approvers with another content.
    """
    earlier = ApprovalRequest.objects.filter(
        plan=plan, revision__number__lt=plan.revision
    ).select_related("revision")
    # Voided after all roles had agreed, a request still says approved: that is the best base.
    approved = earlier.filter(outcome="approved").order_by("-revision__number").first()
    request = approved or earlier.order_by("-revision__number", "-opened_at").first()
    if request is None:
        return None
    before, after = request.revision, current_revision(plan)
    arranged = _arrangement_of(before)
    then = {key for wave in arranged.waves for key in wave.tenants}
    today = _tenants_now(plan)
    return RevisionChanges(
        since=before.number,
        now=after.number,
        outcome=request.outcome,
        at=request.opened_at,
        fields=(
            *_revision_fields(before, after),
            *_shape_fields(plan, before, after, arranged),
            *_plan_fields(plan, request.opened_at),
        ),
        policy=tuple(unified(before.policy_text, after.policy_text)),
        added=tuple(sorted(today - then)),
        removed=tuple(sorted(then - today)),
    )


def unified(before: str, after: str) -> Iterable[DiffLine]:
    """Return the unified diff of two texts, without its file header."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    for number, line in enumerate(lines):
        if number < 2:
            continue
        kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")
        yield DiffLine(kind, line)


def _tenants_now(plan: Plan) -> set[str]:
    rows = PlanTenant.objects.filter(plan=plan, excluded=False)
    return set(rows.values_list("tenant__key", flat=True))


def _arrangement_of(revision: PlanRevision) -> Arrangement:
    """Return the batches into which the revision's choice and policy put the tenants.

    Places are kept for the newest revision alone; an earlier list is found again by its choice,
    so labels that changed meanwhile are seen as they are today.
    """
    policy = parse_policy_file(revision.policy_text).policies[revision.policy_name]
    tenants, _unknown = chosen_tenants(TenantChoice.from_json(revision.tenant_choice))
    candidates = [Candidate(tenant.key, dict(tenant.labels)) for tenant in tenants]
    return arrange(candidates, policy, seed=revision.seed)


def _shape_fields(
    plan: Plan, before: PlanRevision, after: PlanRevision, arranged: Arrangement
) -> Iterable[FieldChange]:
    """Say how the batches and the times at which calls may start read differently."""
    sizes = Counter(
        PlanTenant.objects.filter(plan=plan, excluded=False).values_list("batch_number", flat=True)
    )
    specs = batch_specs(written_policy(after), len(sizes))
    were = ", ".join(f"{wave.name} {len(wave.tenants)}" for wave in arranged.waves)
    are = ", ".join(
        f"{spec.name} {sizes[number]}" for spec, number in zip(specs, sorted(sizes), strict=False)
    )
    if were != are:
        yield FieldChange("batches", were or "none", are or "none")
    then, now = (" ".join(when_words(written_policy(one))) for one in (before, after))
    if then != now:
        yield FieldChange("windows", then, now)


def _revision_fields(before: PlanRevision, after: PlanRevision) -> Iterable[FieldChange]:
    for name, was, reads in (
        ("policy", before.policy_name, after.policy_name),
        ("approvals", before.approvals, after.approvals),
    ):
        if was != reads:
            yield FieldChange(name, was, reads)


def _plan_fields(plan: Plan, since: datetime) -> Iterable[FieldChange]:
    """Read from the field-level diff what the plan's own fields said when it was handed in."""
    entries = LogEntry.objects.get_for_object(plan).filter(
        timestamp__gt=since, action=LogEntry.Action.UPDATE
    )
    was: dict[str, str] = {}
    for entry in entries.order_by("timestamp", "pk"):
        for name, pair in (entry.changes_dict or {}).items():
            if name in _FIELDS:
                was.setdefault(name, str(pair[0]))
    for name, title in _FIELDS.items():
        if name not in was:
            continue
        before, after = _read(plan, name, was[name])
        if before != after:
            yield FieldChange(title, before or "nothing", after or "nothing")


def _read(plan: Plan, name: str, was: str) -> tuple[str, str]:
    if name == "release":
        released = Release.objects.filter(pk=was).annotate(key=F("plugin__key")).first()
        before = f"{released.key} {released.version}" if released else was
        return before, f"{plan.plugin.key} {plan.release.version}"
    value = getattr(plan, name)
    return ("" if was == "None" else was), ("" if value is None else str(value))

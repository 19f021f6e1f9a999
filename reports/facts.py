"""Read from the database what a compliance report says, in a constant number of queries."""

import uuid
from collections import defaultdict
from datetime import datetime
from typing import Any

import rfc8785
from django.conf import settings
from django.db.models import Min

from batches.models import Alert, Batch, DeployerCall, Rollback, Ruling, TenantUpgrade
from plans.chain import event_body
from plans.drafting import policy_of
from plans.events import check_chain
from plans.models import (
    ApprovalRequest,
    Event,
    Plan,
    PlanRevision,
    PlanTenant,
    Release,
    User,
)
from reports.field_changes import field_changes
from reports.kpi_courses import kpi_courses
from reports.report_facts import (
    AlertFact,
    BatchFact,
    EventFact,
    LimitsFact,
    Person,
    QuoteFact,
    ReleaseFact,
    ReportFacts,
    RequestFact,
    RevisionFact,
    RollbackFact,
    RulingFact,
    TenantFact,
    TrailFact,
    VerdictFact,
)

ROWS_AT_ONCE = 2000
TENANT_FIELDS = (
    "batch_id",
    "tenant_key",
    "tenant__owner_email",
    "tenant__owner_name",
    "state",
    "version_before",
    "version_observed",
    "observed_at",
    "touched_at",
    "upgraded_at",
    "restored_at",
    "attempts",
    "last_error",
)


def plan_facts(plan_id: uuid.UUID, *, cut_off: datetime) -> ReportFacts:
    """Return everything the report of a plan is made of, as it stands at `cut_off`."""
    # The trail first: what is read after it may be newer, nothing the trail tells is missing.
    trail = _trail(plan_id)
    plan = Plan.objects.select_related(
        "plugin", "release__plugin", "release__signed_by", "author", "started_by"
    ).get(pk=plan_id)
    revisions = list(PlanRevision.objects.filter(plan=plan).select_related("author"))
    current = next(row for row in revisions if row.number == plan.revision)
    policy = policy_of(current)
    batches = _batches(plan)
    before = {t.version_before for batch in batches for t in batch.tenants if t.version_before}
    places = list(
        PlanTenant.objects.filter(plan=plan).values_list("tenant__key", "excluded", "excluded_why")
    )
    limits = policy.limits
    return ReportFacts(
        plan_id=str(plan.pk),
        external_id=plan.external_id,
        note=plan.note,
        state=str(plan.state),
        deployer=plan.deployer,
        owner=Person(plan.owner_name, plan.owner_email)
        if plan.owner_name or plan.owner_email
        else _person(plan.author),
        author=_person(plan.author),
        from_versions=tuple(sorted(before)),
        release=_release(plan.release),
        created_at=plan.created_at,
        submitted_at=plan.submitted_at,
        approved_at=plan.approved_at,
        started_at=plan.started_at,
        started_by=_person(plan.started_by) if plan.started_by is not None else None,
        ended_at=plan.ended_at,
        soak_scale=settings.SOAK_SCALE,
        limits=LimitsFact(
            success_rate=limits.success_rate,
            failure_rate=limits.failure_rate,
            rollback_seconds=limits.rollback_seconds,
            batch_minutes=limits.batch_minutes,
            missing_metrics_minutes=limits.missing_metrics_minutes,
        ),
        policy_name=current.policy_name,
        policy_digest=current.policy_digest,
        policy_text=current.policy_text,
        revisions=tuple(_revision(row) for row in revisions),
        requests=_requests(plan),
        planned_tenants=sum(1 for _key, excluded, _why in places if not excluded),
        left_out=tuple(sorted((key, why) for key, excluded, why in places if excluded)),
        batches=batches,
        kpis=kpi_courses(plan, policy, tenants=len(places)),
        rulings=_rulings(plan),
        rollbacks=_rollbacks(plan),
        alerts=tuple(
            AlertFact(row.kind, row.sentence, row.opened_at, row.resolved_at)
            for row in Alert.objects.filter(plan=plan).order_by("opened_at", "pk")
        ),
        trail=trail,
        field_changes=field_changes(plan),
        cut_off=cut_off,
        generator=f"Upgrade Console {settings.VERSION}",
        instance=settings.INSTANCE_NAME,
        url=f"{settings.CONSOLE_URL}/plans/{plan.pk}/",
    )


def trail_lines(facts: ReportFacts) -> str:
    """Return the trail up to the report's last event, one canonical JSON body per line."""
    last = facts.trail.events[-1].seq if facts.trail.events else 0
    rows = Event.objects.filter(stream__key=facts.trail.stream, seq__lte=last).order_by("seq")
    lines = (
        rfc8785.dumps(
            event_body(
                stream=facts.trail.stream,
                seq=row.seq,
                kind=row.kind,
                at=row.at,
                actor=str(row.actor_id) if row.actor_id else None,
                actor_name=row.actor_name,
                via=row.via,
                sentence=row.sentence,
                payload=row.payload,
            )
        ).decode()
        for row in rows.iterator(chunk_size=ROWS_AT_ONCE)
    )
    return "\n".join(lines) + "\n"


def _person(user: User) -> Person:
    return Person(user.get_full_name(), user.email)


def _release(release: Release) -> ReleaseFact:
    key = release.signed_by
    return ReleaseFact(
        plugin=release.plugin.key,
        version=release.version,
        digest=release.digest.removeprefix("sha256:"),
        signed_by=f"{key.name} ({key.key_id})" if key.name else key.key_id,
        verified_at=release.verified_at,
        irreversible=release.irreversible,
    )


def _revision(row: PlanRevision) -> RevisionFact:
    return RevisionFact(
        number=row.number,
        at=row.created_at,
        author=_person(row.author),
        why=row.why,
        policy_name=row.policy_name,
        policy_digest=row.policy_digest,
        tenants_digest=row.tenants_digest,
        plan_digest=row.plan_digest,
        approvals=row.approvals,
    )


def _requests(plan: Plan) -> tuple[RequestFact, ...]:
    rows = (
        ApprovalRequest.objects.filter(plan=plan)
        .select_related("revision", "opened_by")
        .prefetch_related("approvals__user")
        .order_by("opened_at")
    )
    return tuple(
        RequestFact(
            action=row.action,
            revision=row.revision.number,
            plan_digest=row.plan_digest,
            roles=tuple(row.roles),
            opened_by=_person(row.opened_by),
            opened_at=row.opened_at,
            deadline=row.deadline,
            closed_at=row.closed_at,
            outcome=row.outcome,
            verdicts=tuple(
                VerdictFact(
                    _person(answer.user),
                    answer.role,
                    answer.verdict,
                    answer.at,
                    answer.method,
                    answer.comment,
                )
                for answer in row.approvals.all()
            ),
        )
        for row in rows
    )


def _tenants(plan: Plan) -> dict[int, list[TenantFact]]:
    found: dict[int, list[TenantFact]] = defaultdict(list)
    rows = TenantUpgrade.objects.filter(plan=plan).order_by("batch__number", "position")
    # Plain values, in chunks: 10,000 model objects would cost seconds.
    for row in rows.values_list(*TENANT_FIELDS).iterator(chunk_size=ROWS_AT_ONCE):
        batch, key, email, name, *facts = row
        found[batch].append(TenantFact(key, email or name, *facts))
    return found


def _batches(plan: Plan) -> tuple[BatchFact, ...]:
    tenants = _tenants(plan)
    executors: dict[int, set[str]] = defaultdict(set)
    first_calls: dict[int, datetime] = {}
    calls = DeployerCall.objects.filter(plan=plan).order_by().values("upgrade__batch", "executor")
    for batch, executor, first in calls.annotate(first=Min("started_at")).values_list(
        "upgrade__batch", "executor", "first"
    ):
        executors[batch].add(executor)
        first_calls[batch] = min(first, first_calls.get(batch, first))
    rows = Batch.objects.filter(plan=plan).select_related("promoted_by").order_by("number")
    return tuple(
        BatchFact(
            number=row.number,
            name=row.name,
            state=str(row.state),
            owner=row.owner,
            advance=row.advance,
            hold_back=row.hold_back,
            metrics=tuple(row.metrics),
            executors=tuple(sorted(executors[row.pk])),
            opened_at=row.opened_at,
            # Handed out is not called: the report says what reached the platform.
            calling_since=first_calls.get(row.pk, row.calling_since),
            calls_done_at=row.calls_done_at,
            soak_seconds=row.soak_seconds,
            ended_at=row.ended_at,
            promoted_by=_person(row.promoted_by) if row.promoted_by is not None else None,
            held_at=row.held_at,
            held_reason=row.held_reason,
            tenants=tuple(tenants[row.pk]),
            quote=_quote(row.quote),
        )
        for row in rows
    )


def _terms(rows: list[dict[str, Any]]) -> tuple[tuple[str, float], ...]:
    return tuple((row["label"], row["seconds"]) for row in rows)


def _quote(kept: dict[str, Any]) -> QuoteFact | None:
    """Return the quote that a batch's gate was taken by; batches of older versions kept none."""
    if not kept:
        return None
    return QuoteFact(
        seconds=kept["seconds"],
        expected_seconds=kept["expected_seconds"],
        limit=kept["limit"],
        touched=kept["touched"],
        terms=_terms(kept["terms"]),
    )


def _rulings(plan: Plan) -> tuple[RulingFact, ...]:
    rows = Ruling.objects.filter(plan=plan).select_related("batch").order_by("at", "pk")
    return tuple(
        RulingFact(
            at=row.at,
            batch=row.batch.name if row.batch is not None else "",
            guardrail=row.guardrail,
            kpi=row.kpi,
            verdict=row.verdict,
            action=row.action,
            sentence=row.sentence,
            value=row.value,
            threshold=row.threshold,
            unit=row.unit,
            n=row.n,
            window_seconds=row.window_seconds,
            inputs_digest=row.inputs_digest,
        )
        for row in rows
    )


def _rollbacks(plan: Plan) -> tuple[RollbackFact, ...]:
    rows = Rollback.objects.filter(plan=plan).select_related("by").order_by("triggered_at")
    return tuple(
        RollbackFact(
            id=str(row.pk),
            scope=row.scope,
            trigger=row.trigger,
            reason=row.reason,
            sentence=row.sentence,
            by=str(_person(row.by)) if row.by is not None else f"the console ({row.via})",
            via=row.via,
            triggered_at=row.triggered_at,
            clock_from=row.clock_from,
            deadline=row.deadline,
            quote_seconds=row.quote_seconds,
            touched=row.touched,
            restored=row.restored,
            needs_hand=row.needs_hand,
            superseded=tuple(map(str, row.superseded)),
            first_call_at=row.first_call_at,
            verified_at=row.verified_at,
            finished_at=row.finished_at,
            missed_at=row.missed_at,
            expected_seconds=row.expected_seconds,
            quote_terms=_terms(row.quote_terms),
        )
        for row in rows
    )


def _trail(plan_id: uuid.UUID) -> TrailFact:
    key = f"plan:{plan_id}"
    check = check_chain(key)
    rows = Event.objects.filter(stream__key=key).order_by("seq")
    if check.intact:
        rows = rows.filter(seq__lte=check.events)
    fields: Any = ("seq", "at", "kind", "actor_name", "actor_id", "via", "sentence", "hash")
    events = tuple(
        EventFact(seq, at, kind, name, actor is not None, via, sentence, digest)
        for seq, at, kind, name, actor, via, sentence, digest in rows.values_list(*fields).iterator(
            chunk_size=ROWS_AT_ONCE
        )
    )
    finding = check.reason
    if not check.intact:
        finding += f" at event {check.broken_at}"
    return TrailFact(key, events, check.head_hash, check.intact, finding)

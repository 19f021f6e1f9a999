"""Read from the database what a compliance report says, in a constant number of queries."""

import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import rfc8785
from django.conf import settings
from django.db.models import Min, Q

from batches.models import (
    Alert,
    Batch,
    DeployerCall,
    Rollback,
    RollbackDrill,
    Ruling,
    TenantUpgrade,
)
from batches.soak_outlook import kept_outlook
from plans.chain import event_body
from plans.drafting import policy_of
from plans.events import check_chain
from plans.freezes import covered, places_of
from plans.models import (
    Adjustment,
    Approval,
    ApprovalRequest,
    Event,
    Freeze,
    FreezeOverride,
    Plan,
    PlanRevision,
    PlanTenant,
    Release,
    User,
)
from plans.policy_words import when_words
from reports.field_changes import field_changes
from reports.kpi_courses import kpi_courses
from reports.report_facts import (
    AdjustmentFact,
    AftermathKpi,
    AlertFact,
    BatchFact,
    ChangeFact,
    DrillFact,
    EventFact,
    FreezeFact,
    LimitsFact,
    OverrideFact,
    Person,
    QuoteFact,
    ReleaseFact,
    ReportFacts,
    RequestFact,
    RevisionFact,
    RollbackFact,
    RulingFact,
    SoakFact,
    TenantFact,
    TrailFact,
    VerdictFact,
)

ROWS_AT_ONCE = 2000
AFTERMATH_FIELDS = tuple(AftermathKpi.__dataclass_fields__)
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
    "set_aside",
    "set_aside_at",
    "set_aside_why",
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
        adjustments=_adjustments(plan),
        planned_tenants=sum(1 for _key, excluded, _why in places if not excluded),
        left_out=tuple(sorted((key, why) for key, excluded, why in places if excluded)),
        batches=batches,
        kpis=kpi_courses(plan, tenants=len(places)),
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
        drills=tuple(map(_drill, RollbackDrill.objects.filter(plan=plan).select_related("plan"))),
        drilled_before=_drilled_before(plan),
        windows=when_words(policy),
        freezes=_freezes(plan, cut_off),
        soaks=_soaks(plan),
        overrides=_overrides(plan),
        stopped_at=plan.stopped_at,
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


def _adjustments(plan: Plan) -> tuple[AdjustmentFact, ...]:
    rows = (
        Adjustment.objects.filter(plan=plan)
        .select_related("before", "revision", "by", "request", "restores__revision")
        .prefetch_related("request__approvals__user")
        .order_by("asked_at", "revision__number")
    )
    return tuple(_adjustment(row) for row in rows)


def _adjustment(row: Adjustment) -> AdjustmentFact:
    given = row.request.approvals.all() if row.request is not None else ()
    return AdjustmentFact(
        revision=row.revision.number,
        before=row.before.number,
        direction=row.direction,
        changes=tuple(
            ChangeFact(str(change["direction"]), str(change["sentence"])) for change in row.changes
        ),
        reason=row.reason,
        by=str(_person(row.by)) if row.by is not None else f"the console ({row.via})",
        via=row.via,
        asked_at=row.asked_at,
        state=row.state,
        applied_at=row.applied_at,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
        approved_by=tuple(
            f"{_person(one.user)} as {one.role}"
            for one in given
            if one.verdict == Approval.APPROVED
        ),
        restores=row.restores.revision.number if row.restores is not None else None,
        policy_digest=row.revision.policy_digest,
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
            waited_seconds=row.waited_seconds,
            quote=_quote(row.quote),
        )
        for row in rows
    )


def _terms(rows: list[dict[str, Any]]) -> tuple[tuple[str, float], ...]:
    return tuple((row["label"], row["seconds"]) for row in rows)


def _quote(kept: dict[str, Any]) -> QuoteFact | None:
    """Return the quote that a batch's gate was taken by; None where none was kept.

    Batches of older versions kept none, and a release without a way back has no quote.
    """
    if not kept or kept.get("seconds") is None:
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
            revision=row.revision,
            cause=row.cause,
            since=row.since,
            baseline=row.baseline,
            tenants=row.tenants,
            worst=(row.worst_tenant, row.worst_value) if row.worst_value is not None else None,
            query=row.query,
            next=str(row.evidence.get("next", "")),
            recent=tuple(
                (datetime.fromtimestamp(at, UTC), value, limit)
                for at, value, limit in row.evidence.get("recent", ())
            ),
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
            aftermath=row.aftermath,
            aftermath_sentence=row.aftermath_sentence,
            aftermath_until=row.aftermath_until,
            aftermath_at=row.aftermath_at,
            aftermath_kpis=tuple(
                AftermathKpi(**{name: kpi[name] for name in AFTERMATH_FIELDS})
                for kpi in row.aftermath_kpis
            ),
            expected_seconds=row.expected_seconds,
            quote_terms=_terms(row.quote_terms),
        )
        for row in rows
    )


def _drill(row: RollbackDrill) -> DrillFact:
    return DrillFact(
        kind=row.kind,
        external_id=row.plan.external_id,
        deployer=row.deployer,
        inject=row.inject,
        tenants=len(row.tenants),
        started_at=row.started_at,
        seconds=row.seconds,
        quote_seconds=row.quote_seconds,
        outcome=row.outcome,
        sentence=row.sentence,
    )


def _drilled_before(plan: Plan) -> DrillFact | None:
    """Return the last drill of the plan's deployer that had ended when the plan started."""
    if plan.started_at is None:
        return None
    before = RollbackDrill.objects.filter(
        deployer=plan.deployer, ended_at__lte=plan.started_at, outcome__in=("passed", "failed")
    ).exclude(plan=plan)
    row = before.select_related("plan").order_by("-ended_at").first()
    return _drill(row) if row is not None else None


def _soaks(plan: Plan) -> tuple[SoakFact, ...]:
    """Return what was forecast; a Kpi without a forecast says why, for all batches."""
    found: list[SoakFact] = []
    for outlook in kept_outlook(plan):
        if outlook["too_little"]:
            why = f"no forecast: {outlook['too_little']}"
            found.append(SoakFact("all", outlook["kpi"], why, enough=False))
        found += [
            SoakFact(
                batch["batch"],
                outlook["kpi"],
                batch["sentence"],
                batch["enough"],
                tuple(batch["advice"]),
            )
            for batch in outlook["batches"]
        ]
    return tuple(found)


def _freezes(plan: Plan, cut_off: datetime) -> tuple[FreezeFact, ...]:
    """Return the freezes over tenants of the plan that held at any time of its life."""
    rows = (
        Freeze.objects.over_plugin(plan.plugin_id)
        .filter(begins_at__lte=plan.ended_at or cut_off)
        .filter(Q(ends_at=None) | Q(ends_at__gt=plan.created_at))
        .filter(Q(lifted_at=None) | Q(lifted_at__gt=plan.created_at))
        .select_related("declared_by", "lifted_by")
        .order_by("begins_at", "pk")
    )
    return tuple(
        FreezeFact(
            name=row.name,
            reason=row.reason,
            begins_at=row.begins_at,
            ends_at=row.ends_at,
            declared_by=_person(row.declared_by),
            lifted_at=row.lifted_at,
            lifted_by=_person(row.lifted_by) if row.lifted_by is not None else None,
            lifted_why=row.lifted_why,
        )
        for row in rows
        if covered(row, places_of(plan)).exists()
    )


def _overrides(plan: Plan) -> tuple[OverrideFact, ...]:
    return tuple(
        OverrideFact(row.freeze.name, _person(row.by), row.role, row.reason, row.at, row.expires_at)
        for row in FreezeOverride.objects.filter(plan=plan).select_related("freeze", "by")
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

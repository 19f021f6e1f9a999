"""Read from the database what a compliance report says, in a constant number of queries."""

import json
import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Any

import rfc8785
from django.conf import settings

from batches.models import Alert
from plans.drafting.drafting import policy_of
from plans.models import Event, Plan, PlanRevision, PlanTenant
from plans.policies.policy_words import when_words
from plans.trail.checkpoints import newest, proof_of
from plans.trail.events import check_chain
from reports.document.facts import (
    CheckpointFact,
    EventFact,
    LimitsFact,
    ReportFacts,
    TrailFact,
)
from reports.document.facts_agreed import Person
from reports.document.facts_course import AlertFact
from reports.reading.agreed import (
    adjustments_of,
    freezes_over,
    overrides_of,
    person,
    release_fact,
    requests_of,
    revision_fact,
    soaks_of,
)
from reports.reading.course import (
    ROWS_AT_ONCE,
    batches_of,
    drilled_before,
    drills_of,
    rollbacks_of,
    rulings_of,
)
from reports.reading.evidence_course import evidence_course
from reports.reading.field_changes import field_changes
from reports.reading.grants import broken_glass_of, grants_of, keys_of
from reports.reading.kpi_courses import kpi_courses


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
    batches = batches_of(plan)
    before = {t.version_before for batch in batches for t in batch.tenants if t.version_before}
    places = list(
        PlanTenant.objects.filter(plan=plan).values_list("tenant__key", "excluded", "excluded_why")
    )
    limits = policy.limits
    signed = grants_of(plan)
    return ReportFacts(
        plan_id=str(plan.pk),
        external_id=plan.external_id,
        note=plan.note,
        state=str(plan.state),
        deployer=plan.deployer,
        owner=Person(plan.owner_name, plan.owner_email)
        if plan.owner_name or plan.owner_email
        else person(plan.author),
        author=person(plan.author),
        from_versions=tuple(sorted(before)),
        release=release_fact(plan.release),
        created_at=plan.created_at,
        submitted_at=plan.submitted_at,
        approved_at=plan.approved_at,
        started_at=plan.started_at,
        started_by=person(plan.started_by) if plan.started_by is not None else None,
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
        revisions=tuple(revision_fact(row) for row in revisions),
        requests=requests_of(plan),
        adjustments=adjustments_of(plan),
        planned_tenants=sum(1 for _key, excluded, _why in places if not excluded),
        left_out=tuple(sorted((key, why) for key, excluded, why in places if excluded)),
        batches=batches,
        kpis=kpi_courses(plan, tenants=len(places)),
        evidence=evidence_course(plan, policy),
        rulings=rulings_of(plan),
        rollbacks=rollbacks_of(plan),
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
        drills=drills_of(plan),
        drilled_before=drilled_before(plan),
        windows=when_words(policy),
        freezes=freezes_over(plan, cut_off),
        soaks=soaks_of(plan),
        overrides=overrides_of(plan),
        stopped_at=plan.stopped_at,
        grants=signed,
        grant_keys=keys_of(signed),
        broken_glass=broken_glass_of(plan),
    )


def trail_lines(facts: ReportFacts) -> str:
    """Return the trail up to the report's last event, one canonical JSON body per line."""
    last = facts.trail.events[-1].seq if facts.trail.events else 0
    rows = Event.objects.filter(stream__key=facts.trail.stream, seq__lte=last).order_by("seq")
    lines = (
        rfc8785.dumps(row.body(facts.trail.stream)).decode()
        for row in rows.iterator(chunk_size=ROWS_AT_ONCE)
    )
    return "\n".join(lines) + "\n"


def _trail(plan_id: uuid.UUID) -> TrailFact:
    key = f"plan:{plan_id}"
    # Before the trail, so that all that it was signed over is read below.
    checkpoint = _checkpoint(key)
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
    return TrailFact(key, events, check.head_hash, check.intact, finding, checkpoint)


def _checkpoint(stream: str) -> CheckpointFact | None:
    """Return the newest checkpoint that knows the stream, None where there is none."""
    last = newest()
    proof = proof_of(last, stream) if last is not None else None
    if last is None or proof is None:
        return None
    return CheckpointFact(last.number, last.at, last.kid, last.text, asdict(proof))


def checkpoint_line(facts: ReportFacts) -> str:
    """Return the checkpoint with its proof as the verifier takes it; '' where there is none."""
    known = facts.trail.checkpoint
    if known is None:
        return ""
    return json.dumps({"checkpoint": known.text, "proof": known.proof}, ensure_ascii=False) + "\n"

"""Read what was agreed on about a plan: release, revisions, requests, adjustments, freezes."""

from datetime import datetime

from django.db.models import Q

from batches.evidence.soak_outlook import kept_outlook
from plans.models import (
    Adjustment,
    Approval,
    ApprovalRequest,
    Freeze,
    FreezeOverride,
    Plan,
    PlanRevision,
    Release,
    User,
)
from plans.openings.freezes import covered, places_of
from reports.document.facts_agreed import (
    AdjustmentFact,
    ChangeFact,
    FreezeFact,
    OverrideFact,
    Person,
    ReleaseFact,
    RequestFact,
    RevisionFact,
    SoakFact,
    VerdictFact,
)


def person(user: User) -> Person:
    """Return somebody as the report names them."""
    return Person(user.get_full_name(), user.email)


def release_fact(release: Release) -> ReleaseFact:
    """Return what is installed."""
    key = release.signed_by
    return ReleaseFact(
        plugin=release.plugin.key,
        version=release.version,
        digest=release.digest.removeprefix("sha256:"),
        signed_by=f"{key.name} ({key.key_id})" if key.name else key.key_id,
        verified_at=release.verified_at,
        irreversible=release.irreversible,
        standing=release.standing,
        signatures=tuple(
            f"{one.form}, key {one.key.key_id}, verified {one.verified_at:%Y-%m-%d %H:%M} UTC"
            for one in release.signatures.select_related("key").order_by("verified_at", "pk")
        ),
    )


def revision_fact(row: PlanRevision) -> RevisionFact:
    """Return what the plan said from one time on."""
    return RevisionFact(
        number=row.number,
        at=row.created_at,
        author=person(row.author),
        why=row.why,
        policy_name=row.policy_name,
        policy_digest=row.policy_digest,
        tenants_digest=row.tenants_digest,
        plan_digest=row.plan_digest,
        approvals=row.approvals,
    )


def requests_of(plan: Plan) -> tuple[RequestFact, ...]:
    """Return the questions to the approvers with their answers, the oldest first."""
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
            opened_by=person(row.opened_by),
            opened_at=row.opened_at,
            deadline=row.deadline,
            closed_at=row.closed_at,
            outcome=row.outcome,
            verdicts=tuple(
                VerdictFact(
                    person(answer.user),
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


def adjustments_of(plan: Plan) -> tuple[AdjustmentFact, ...]:
    """Return the changes of the running plan, the oldest first."""
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
        by=str(person(row.by)) if row.by is not None else f"the console ({row.via})",
        via=row.via,
        asked_at=row.asked_at,
        state=row.state,
        applied_at=row.applied_at,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
        approved_by=tuple(
            f"{person(one.user)} as {one.role}" for one in given if one.verdict == Approval.APPROVED
        ),
        restores=row.restores.revision.number if row.restores is not None else None,
        policy_digest=row.revision.policy_digest,
    )


def freezes_over(plan: Plan, cut_off: datetime) -> tuple[FreezeFact, ...]:
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
            declared_by=person(row.declared_by),
            lifted_at=row.lifted_at,
            lifted_by=person(row.lifted_by) if row.lifted_by is not None else None,
            lifted_why=row.lifted_why,
        )
        for row in rows
        if covered(row, places_of(plan)).exists()
    )


def overrides_of(plan: Plan) -> tuple[OverrideFact, ...]:
    """Return the freezes that the plan was let through."""
    return tuple(
        OverrideFact(row.freeze.name, person(row.by), row.role, row.reason, row.at, row.expires_at)
        for row in FreezeOverride.objects.filter(plan=plan).select_related("freeze", "by")
    )


def soaks_of(plan: Plan) -> tuple[SoakFact, ...]:
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

"""Read the course of a plan: its batches with their tenants, rulings, rollbacks and drills."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from django.db.models import Min

from batches.models import Batch, DeployerCall, Rollback, RollbackDrill, Ruling, TenantUpgrade
from plans.models import Plan
from reports.document.facts_course import (
    AftermathKpi,
    BatchFact,
    DrillFact,
    QuoteFact,
    RollbackFact,
    RulingFact,
    TenantFact,
)
from reports.reading.agreed import person

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
    "digest_before",
    "digest_observed",
)


def _tenants(plan: Plan) -> dict[int, list[TenantFact]]:
    found: dict[int, list[TenantFact]] = defaultdict(list)
    rows = TenantUpgrade.objects.filter(plan=plan).order_by("batch__number", "position")
    # Plain values, in chunks: 10,000 model objects would cost seconds.
    for row in rows.values_list(*TENANT_FIELDS).iterator(chunk_size=ROWS_AT_ONCE):
        batch, key, email, name, *facts = row
        found[batch].append(TenantFact(key, email or name, *facts))
    return found


def batches_of(plan: Plan) -> tuple[BatchFact, ...]:
    """Return the batches in their order, each with its tenants."""
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
            promoted_by=person(row.promoted_by) if row.promoted_by is not None else None,
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


def rulings_of(plan: Plan) -> tuple[RulingFact, ...]:
    """Return every ruling, the oldest first."""
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


def rollbacks_of(plan: Plan) -> tuple[RollbackFact, ...]:
    """Return every rollback, the oldest first."""
    rows = Rollback.objects.filter(plan=plan).select_related("by").order_by("triggered_at")
    return tuple(
        RollbackFact(
            id=str(row.pk),
            scope=row.scope,
            trigger=row.trigger,
            reason=row.reason,
            sentence=row.sentence,
            by=str(person(row.by)) if row.by is not None else f"the console ({row.via})",
            via=row.via,
            triggered_at=row.triggered_at,
            clock_from=row.clock_from,
            deadline=row.deadline,
            quote_seconds=row.quote_seconds,
            touched=row.touched,
            restored=row.restored,
            needs_hand=row.needs_hand,
            superseded=tuple(map(str, row.superseded)),
            unverified=tuple(
                (str(one["version"]), int(one["tenants"]), str(one["problem"]))
                for one in row.unverified
            ),
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


def drills_of(plan: Plan) -> tuple[DrillFact, ...]:
    """Return the drill within the plan, or the one that the plan itself was."""
    return tuple(map(_drill, RollbackDrill.objects.filter(plan=plan).select_related("plan")))


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


def drilled_before(plan: Plan) -> DrillFact | None:
    """Return the last drill of the plan's deployer that had ended when the plan started."""
    if plan.started_at is None:
        return None
    before = RollbackDrill.objects.filter(
        deployer=plan.deployer, ended_at__lte=plan.started_at, outcome__in=("passed", "failed")
    ).exclude(plan=plan)
    row = before.select_related("plan").order_by("-ended_at").first()
    return _drill(row) if row is not None else None

"""The whole picture of one plan, as JSON values, in a constant number of queries.

Shown by the live page, sent over its socket and answered by REST. The sequence number is read
first: events after it may be in the picture already, none is ever missing from both.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from batches.adjusting import adjusting
from batches.back_in_band import ending_shown
from batches.guardrails_shown import guardrails_shown, stops_again
from batches.lifecycle import BATCH, TENANT_UPGRADE
from batches.live_messages import watch_age
from batches.models import Alert, Batch, Rollback, RollbackDrill, TenantUpgrade
from batches.opening_shown import opening_shown, overrides_shown
from batches.pacing import soak_left
from batches.quarantine import failed_of, quarantine_of
from batches.quote import rollback_quote
from batches.quote_advice import forecast
from batches.readiness import AT_STAKE, way_back
from plans.drafting import policy_of
from plans.models import Installation, Plan, PlanRevision, PlanTenant, Stream
from plans.policy import HOLD_BACK, UpgradePolicy
from plans.refusal import BadInput, NotFound

NEEDS_HAND_SHOWN = 200
WORST_FIRST = (
    "needs_hand",
    "failed",
    "unknown",
    "restoring",
    "upgrading",
    "rolled_back",
    "pending",
    "upgraded",
    "excluded",
)
"""The order in which tenants and counts are shown: what needs eyes comes first."""
UNENDED = ("draft", "awaiting_approval", "approved", "running", "paused")


def plan_snapshot(plan_id: uuid.UUID | str, *, now: datetime | None = None) -> dict[str, Any]:
    """Return the snapshot; raise NotFound when there is no such plan."""
    at = now or timezone.now()
    head = Stream.objects.filter(key=f"plan:{plan_id}").values_list("head_seq", flat=True).first()
    plan = (
        Plan.objects.filter(pk=plan_id)
        .select_related("plugin", "release", "author", "started_by")
        .first()
    )
    if plan is None:
        raise NotFound("There is no such plan.")
    revision = PlanRevision.objects.get(plan=plan, number=plan.revision)
    policy = policy_of(revision)
    batches = _batches(plan, policy, at)
    counts = _summed(batches)
    rollback = Rollback.objects.filter(plan=plan).select_related("by").last()
    quote = _quote(plan, policy, batches)
    guardrails = guardrails_shown(plan, policy, irreversible=plan.release.irreversible)
    return {
        "seq": head or 0,
        "server_time": at,
        "watch_age": watch_age(at),
        "plan": _plan(plan, revision, rollback),
        "batches": batches,
        "counts": counts,
        "tenants": sum(counts.values()),
        "touched": sum(batch["touched"] for batch in batches),
        "quote": quote,
        "opening": opening_shown(plan, policy, at) if str(plan.state) in UNENDED else None,
        "overrides": overrides_shown(plan),
        "promise": promise(plan, rollback, quote, at),
        "rollback": _rollback(rollback),
        "drill": _drill(plan),
        "guardrails": guardrails,
        "stops_again": stops_again(str(plan.state), _held_kind(batches), guardrails),
        "adjusting": adjusting(plan),
        "alerts": list(
            Alert.objects.filter(plan=plan, resolved_at=None).values(
                "kind", "sentence", "opened_at"
            )
        ),
        "quarantined": quarantine_of(plan),
        "needs_hand": list(
            TenantUpgrade.objects.filter(plan=plan, state="needs_hand")
            .order_by("tenant_key")
            .values("tenant_key", "version_before", "version_observed", "attempts", "last_error")[
                :NEEDS_HAND_SHOWN
            ]
        ),
    }


def _plan(plan: Plan, revision: PlanRevision, rollback: Rollback | None) -> dict[str, Any]:
    badge, label = ending_shown(str(plan.state), rollback.aftermath if rollback else "")
    return {
        "id": str(plan.pk),
        "external_id": plan.external_id,
        "plugin": plan.plugin.key,
        "to_version": plan.release.version,
        "irreversible": plan.release.irreversible,
        "from_versions": _from_versions(plan),
        "state": str(plan.state),
        "label": label,
        "badge": badge,
        "possible": list(plan.lifecycle.possible(str(plan.state))),
        "deployer": plan.deployer,
        "policy": revision.policy_name,
        "policy_digest": revision.policy_digest,
        "approvals": revision.approvals,
        "revision": plan.revision,
        "digest": revision.plan_digest,
        "owner": plan.owner_name or plan.author.get_full_name(),
        "owner_email": plan.owner_email,
        "author": plan.author.get_full_name(),
        "note": plan.note,
        "waiting_for": plan.waiting_for,
        "not_before": plan.not_before,
        "created_at": plan.created_at,
        "submitted_at": plan.submitted_at,
        "approved_at": plan.approved_at,
        "started_at": plan.started_at,
        "started_by": plan.started_by.get_full_name() if plan.started_by else "",
        "paused_at": plan.paused_at,
        "resume_by": plan.resume_by,
        "pause_deadline": plan.pause_deadline,
        "stopped_at": plan.stopped_at,
        "ended_at": plan.ended_at,
    }


def _held_kind(batches: Sequence[Mapping[str, Any]]) -> str:
    held = (batch["held_kind"] for batch in batches if batch["state"] == "held")
    return str(next(held, ""))


def _from_versions(plan: Plan) -> list[str]:
    """Return the versions that the tenants come from: as observed before their call, else known."""
    observed = (
        TenantUpgrade.objects.filter(plan=plan, touched_at__isnull=False)
        .exclude(version_before="")
        .values_list("version_before", flat=True)
        .distinct()
        .order_by("version_before")
    )
    if plan.started_at is not None and (found := list(observed[:4])):
        return found
    known = (
        Installation.objects.filter(
            plugin=plan.plugin, tenant__in=PlanTenant.objects.filter(plan=plan).values("tenant")
        )
        .exclude(version="")
        .values_list("version", flat=True)
        .distinct()
        .order_by("version")
    )
    return list(known[:4])


def _batches(plan: Plan, policy: UpgradePolicy, now: datetime) -> list[dict[str, Any]]:
    rows = list(Batch.objects.filter(plan=plan).order_by("number"))
    if not rows:
        return _planned_batches(plan, policy)
    counts: dict[int, dict[str, int]] = {}
    touched: dict[int, int] = {}
    to_retry: dict[int, int] = {}
    grouped = (
        TenantUpgrade.objects.filter(plan=plan)
        .order_by()
        .values("batch_id", "state")
        .annotate(
            n=Count("pk"),
            reached=Count("pk", filter=Q(touched_at__isnull=False)),
            quarantined=Count("pk", filter=Q(set_aside=TenantUpgrade.QUARANTINED)),
            exhausted=Count("pk", filter=Q(exhausted_at__isnull=False)),
        )
    )
    for group in grouped:
        again = failed_of(group["state"], group["quarantined"], group["exhausted"])
        to_retry[group["batch_id"]] = to_retry.get(group["batch_id"], 0) + again
        counts.setdefault(group["batch_id"], {})[group["state"]] = group["n"]
        if group["state"] in AT_STAKE:
            touched[group["batch_id"]] = touched.get(group["batch_id"], 0) + group["reached"]
    running = str(plan.state) == "running"
    return [
        {
            "number": row.number,
            "name": row.name,
            "state": str(row.state),
            "label": BATCH.states[str(row.state)],
            "size": row.size,
            "counts": counts.get(row.pk, {}),
            "touched": touched.get(row.pk, 0),
            "to_retry": to_retry.get(row.pk, 0),
            "metrics": row.metrics,
            "advance": row.advance,
            "hold_back": row.hold_back,
            "at_gate": row.advance == "manual" and row.promoted_at is None,
            "soak_seconds": row.soak_seconds,
            "soak_left": round(
                soak_left(
                    row.soak_left,
                    row.soak_counted_at,
                    now,
                    counting=running and str(row.state) == "soaking",
                ),
                1,
            ),
            "soak_counts": row.soak_counted_at is not None and str(row.state) == "soaking",
            "held_reason": row.held_reason,
            "held_kind": row.held_kind,
            "waits_since": row.waits_since if str(row.state) == "deploying" else None,
            "opened_at": row.opened_at,
            "calling_since": row.calling_since,
            "calls_done_at": row.calls_done_at,
            "ended_at": row.ended_at,
            "owner": row.owner,
        }
        for row in rows
    ]


def _planned_batches(plan: Plan, policy: UpgradePolicy) -> list[dict[str, Any]]:
    """Return the batches of a plan that has not started: who would come when."""
    sizes = (
        PlanTenant.objects.filter(plan=plan, excluded=False)
        .order_by("batch_number")
        .values("batch_number")
        .annotate(n=Count("pk"))
    )
    planned = []
    for place in sizes:
        number = place["batch_number"]
        spec = policy.batches[number - 1] if number <= len(policy.batches) else None
        advance = (spec.advance if spec else "") or policy.advance
        planned.append(
            {
                "number": number,
                "name": spec.name if spec else HOLD_BACK,
                "state": BATCH.initial,
                "label": "Planned",
                "size": place["n"],
                "counts": {TENANT_UPGRADE.initial: place["n"]},
                "touched": 0,
                "to_retry": 0,
                "metrics": list(spec.metrics) if spec else [],
                "advance": advance,
                "hold_back": spec is None,
                "at_gate": advance == "manual",
                "soak_seconds": spec.soak_seconds if spec else 0,
                "soak_left": spec.soak_seconds if spec else 0,
                "soak_counts": False,
                "held_reason": "",
                "held_kind": "",
                "waits_since": None,
                "opened_at": None,
                "calling_since": None,
                "calls_done_at": None,
                "ended_at": None,
                "owner": "",
            }
        )
    return planned


def _summed(batches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for batch in batches:
        for state, n in batch["counts"].items():
            total[state] = total.get(state, 0) + n
    return {state: total[state] for state in WORST_FIRST if state in total}


def _quote(
    plan: Plan, policy: UpgradePolicy, batches: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what taking everything back costs now, and after the next batch (the gate)."""
    at_stake = sum(
        # Whoever waits for a call in a batch under way counts as if the call had been sent.
        sum(batch["counts"].get(state, 0) for state in ("pending", *AT_STAKE))
        if batch["state"] == "deploying"
        else batch["touched"]
        for batch in batches
    )
    pending = [batch for batch in batches if batch["state"] == "pending"]
    if str(plan.state) not in UNENDED:
        pending = []
    try:
        way = way_back(deployer=plan.deployer, policy=policy, plan=plan)
    except BadInput as refused:
        return {
            "touched": at_stake,
            "seconds": None,
            "expected_seconds": None,
            "limit": None,
            "fits": None,
            "terms": [],
            "sentence": refused.sentence,
            "next": None,
            "whole": None,
        }
    coming = [batch["counts"].get("pending", 0) for batch in pending]
    told = forecast(way, coming, touched=at_stake)
    over = told.first_over
    return rollback_quote(way, touched=at_stake).to_json() | {
        "next": {"batch": pending[0]["number"], **told.quotes[0].to_json()} if pending else None,
        "whole": {
            **told.quotes[-1].to_json(),
            "first_over": pending[over]["number"] if over is not None else None,
            "advice": [one.to_json() for one in told.advice],
        }
        if pending
        else None,
    }


def promise(
    plan: Plan, rollback: Rollback | None, quote: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return what is promised right now: `kind`, a sentence, and the time it runs towards."""
    state = str(plan.state)
    if plan.release.irreversible:
        return _no_promise(state)
    if rollback is not None and rollback.finished_at is None:
        kind = "missed" if rollback.missed_at else "rolling_back"
        return {
            "kind": kind,
            "until": rollback.deadline,
            "from": rollback.clock_from,
            "sentence": "The promise was missed; work goes on"
            if rollback.missed_at
            else "All back by",
        }
    if state == "paused" and plan.resume_by is not None:
        return {
            "kind": "paused",
            "until": plan.resume_by,
            "from": plan.paused_at,
            "sentence": "Taken back unless resumed by",
        }
    if rollback is not None and rollback.verified_at and state in {"rolled_back", "archived"}:
        seconds = (rollback.verified_at - rollback.clock_from).total_seconds()
        word = "Kept" if rollback.verified_at <= rollback.deadline else "Missed"
        return {
            "kind": word.lower(),
            "until": None,
            "sentence": f"{word}: back in {seconds:.1f} s",
            "quoted": rollback.quote_seconds,
        }
    if state in {"running", "paused", "completed", "stopped"} and quote.get("touched"):
        sentence = f"Everything back within {quote['seconds']:.0f} s, whenever you ask"
        return {"kind": "standing", "until": None, "sentence": sentence}
    return {"kind": "none", "until": None, "sentence": ""}


def _no_promise(state: str) -> dict[str, Any]:
    """Say in the place of the promise clock that there is no way back."""
    sentence = "Cannot be taken back: when something goes wrong it stops, nothing is restored"
    if state == "paused":
        sentence = "Cannot be taken back: it stands still until a person decides"
    return {"kind": "no_way_back", "until": None, "sentence": sentence}


def _rollback(rollback: Rollback | None) -> dict[str, Any] | None:
    if rollback is None:
        return None
    return {
        "id": str(rollback.pk),
        "scope": rollback.scope,
        "trigger": rollback.trigger,
        "reason": rollback.reason,
        "sentence": rollback.sentence,
        "by": rollback.by.get_full_name() if rollback.by else "the console",
        "triggered_at": rollback.triggered_at,
        "deadline": rollback.deadline,
        "quote_seconds": rollback.quote_seconds,
        "expected_seconds": rollback.expected_seconds,
        "quote_terms": rollback.quote_terms,
        "touched": rollback.touched,
        "restored": rollback.restored,
        "superseded": rollback.superseded,
        "needs_hand": rollback.needs_hand,
        "first_call_at": rollback.first_call_at,
        "verified_at": rollback.verified_at,
        "finished_at": rollback.finished_at,
        "missed_at": rollback.missed_at,
        "seconds": rollback.seconds(),
        "aftermath": {
            "ending": rollback.aftermath,
            "sentence": rollback.aftermath_sentence,
            "until": rollback.aftermath_until,
            "at": rollback.aftermath_at,
            "kpis": rollback.aftermath_kpis,
        },
    }


def _drill(plan: Plan) -> dict[str, Any] | None:
    """Return the plan's drill: one of its tenants, or the whole plan as a rehearsal."""
    drill = RollbackDrill.objects.filter(plan=plan).first()
    if drill is None:
        return None
    return {
        "id": str(drill.pk),
        "kind": drill.kind,
        "inject": drill.inject,
        "fault": drill.fault_words(),
        "tenants": drill.tenants,
        "phase": drill.phase,
        "outcome": drill.outcome,
        "sentence": drill.sentence,
        "seconds": drill.seconds,
        "quote_seconds": drill.quote_seconds,
    }

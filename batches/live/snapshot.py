"""The whole picture of one plan, as JSON values, in a constant number of queries.

Shown by the live page, sent over its socket and answered by REST. The sequence number is read
first: events after it may be in the picture already, none is ever missing from both.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from batches.adjust.unsettled import adjusting
from batches.alerting.kinds import to_do
from batches.evidence.watching import evidence_shown
from batches.live.guardrails_shown import VERDICT_WORDS, guardrails_shown, stops_again
from batches.live.messages import watch_age
from batches.live.opening_shown import opening_shown, overrides_shown
from batches.live.promise import UNENDED, promise, quote_shown
from batches.live.quarantine import quarantine_of
from batches.live.snapshot_batches import batches_shown, summed
from batches.models import Alert, Rollback, RollbackDrill, TenantUpgrade
from batches.rollback.back_in_band import ending_shown
from batches.rollback.rollback import headline
from plans.drafting.drafting import policy_of
from plans.models import Installation, Plan, PlanRevision, PlanTenant, Stream
from plans.policies.policy import UpgradePolicy
from plans.refusal import NotFound

NEEDS_HAND_SHOWN = 200


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
    batches = batches_shown(plan, policy, at)
    counts = summed(batches)
    rollback = Rollback.objects.filter(plan=plan).select_related("by").last()
    quote = quote_shown(plan, policy, batches)
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
        "evidence": _evidence(plan, policy),
        "adjusting": adjusting(plan),
        "alerts": [
            {**alert, "to_do": to_do(alert["kind"])}
            for alert in Alert.objects.filter(plan=plan, resolved_at=None).values(
                "kind", "sentence", "opened_at"
            )
        ],
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
        "release": str(plan.release_id),
        "not_trusted": plan.release.standing,
        "old_versions": plan.old_versions,
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


def _rollback(rollback: Rollback | None) -> dict[str, Any] | None:
    if rollback is None:
        return None
    return {
        "id": str(rollback.pk),
        "scope": rollback.scope,
        "trigger": rollback.trigger,
        "reason": rollback.reason,
        "headline": headline(rollback),
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
        "unverified": rollback.unverified,
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


def _evidence(plan: Plan, policy: UpgradePolicy) -> dict[str, Any] | None:
    """Return what the evidence test says, None where the policy has none."""
    told = evidence_shown(plan, policy)
    if told is not None:
        told["label"] = VERDICT_WORDS.get(told["verdict"], told["verdict"])
    return told

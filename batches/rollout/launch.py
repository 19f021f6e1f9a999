"""Start a plan and open its batches."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django_q.tasks import async_task

from batches.alerting import alerts
from batches.fit.of_plans import probe_before_start, unfit_at_start
from batches.models import Batch, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.quotes.quote import Quote
from batches.rollout.readiness import gate_quote, quote_for
from batches.runtime import free_space
from plans import flags
from plans.approvals import grants
from plans.approvals.approved_acts import START
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, irreversible_problem, policy_of
from plans.drafting.old_versions import look_before, words_of
from plans.drafting.waves import batch_specs
from plans.lifecycle import PLAN
from plans.models import Approval, ApprovalRequest, Grant, Plan, PlanTenant, Plugin, User
from plans.openings.freezes import first_places, opening_for
from plans.people.permissions import require
from plans.policies.policy import HOLD_BACK, UpgradePolicy
from plans.refusal import Refused
from plans.releases.registering import verify_again
from plans.trail import events

GRANT_REFUSED = "grant_refused"
"""The alert of a plan whose approvals do not allow what was about to be done."""


class NotYet(Refused):
    """The plan may start later: `sentence` says what it waits for."""

    default_code = "not_yet"


class QuoteExceeded(Refused):
    """A batch may not begin: everything touched could not be taken back in time."""

    default_code = "quote_exceeds_limit"


class KpisUnfit(Refused):
    """A Kpi of the plan fitted when it was submitted, and cannot be read any more."""

    default_code = "kpis_do_not_fit"


class TenantsTaken(Refused):
    """A tenant of the plan is in another live plan of the same plugin."""

    default_code = "tenants_taken"


def check_start(plan: Plan, policy: UpgradePolicy, now: datetime) -> None:
    """Raise NotYet, saying what the plan waits for, unless it may start now."""
    if not flags.is_on(flags.ORCHESTRATOR):
        raise NotYet(f"Nothing new starts while {flags.ORCHESTRATOR} is off.")
    if plan.not_before is not None and plan.not_before > now:
        raise NotYet(f"The plan starts at {plan.not_before:%Y-%m-%d %H:%M} UTC, not before.")
    opening = opening_for(plan, policy, first_places(plan), now)
    if not opening.is_open:
        raise NotYet(opening.sentence, code="frozen" if opening.freezes else None)
    if problem := free_space.room().problem:
        raise NotYet(f"The plan cannot start: {problem}.", code=free_space.KIND)


Authority = Callable[[Plan, str], Sequence[Grant]]
"""Uses up, under the plan's lock, the grants that allow an operation; raises GrantNotGood."""


def start(*, plan_id: Any, by: User | None, now: datetime, via: str) -> Plan:
    """Reserve the tenants and begin; raise NotYet or TenantsTaken when it cannot be now.

    The grants of those who approved the plan are used up by it; GrantNotGood where they do not
    allow what the database says now. Where a person is told so, everybody else is, too. Raises
    KpisUnfit when its Kpis cannot be read; for a person old probes are made anew before.
    """
    if by is not None:
        require(by, "start", Plan.objects.get(pk=plan_id))
    try:
        return start_with(
            partial(_spend_approvals, now=now), plan_id=plan_id, by=by, now=now, via=via
        )
    except grants.GrantNotGood as refused:
        if by is not None:
            plan = Plan.objects.get(pk=plan_id)
            alerts.fire(plan=plan, kind=GRANT_REFUSED, sentence=refused.sentence, now=now)
        raise


def _spend_approvals(plan: Plan, op: str, *, now: datetime) -> Sequence[Grant]:
    asked = ApprovalRequest.objects.filter(
        plan=plan, action=START, outcome=Approval.APPROVED, revision__number=plan.revision
    )
    request = asked.order_by("-opened_at").first()
    if request is None:
        raise grants.GrantNotGood(
            "Nobody has approved what this plan says now; submit it for approval.",
        )
    return grants.spend_quorum(plan, request, op=op, now=now)


def start_with(
    authority: Authority, *, plan_id: Any, by: User | None, now: datetime, via: str
) -> Plan:
    """Begin a plan by some grants: those of its approvers, or of whoever passed them over."""
    plan = Plan.objects.select_related("release__plugin").get(pk=plan_id)
    policy = policy_of(current_revision(plan))
    if problem := irreversible_problem(plan.release, policy):
        raise Refused(f"The plan cannot start: {problem}.", code="irreversible")
    if PLAN.allows(str(plan.state), "start"):
        if by is not None:
            probe_before_start(plan, policy, now=now, via=via)
        if unfit := unfit_at_start(plan, policy, now):
            raise KpisUnfit(f"The plan cannot start: {'; '.join(unfit)}.")
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        plan.move("start")
        verify_again(release=plan.release, now=now)
        check_start(plan, policy, now)
        unsigned = look_before(plan, policy, now)
        first = _first_quote(plan, policy)
        if not first.fits:
            raise NotYet(f"The plan cannot start: {first.sentence}.", code="quote_exceeds_limit")
        used = authority(plan, f"plan:{plan.pk}:start:r{plan.revision}")
        _reserve(plan)
        batches = _make_batches(plan, policy)
        plan.started_at = now
        plan.started_by = by
        plan.waiting_for = ""
        plan.save()
        who = by.get_full_name() if by else "The console"
        events.record(
            stream=plan,
            kind="plan_started",
            sentence=f"{who} started the plan: {counted(sum(b.size for b in batches), 'tenant')} in"
            f" {counted(len(batches), 'batch', 'batches')}; {first.sentence}."
            + (f" Mind that {words_of(unsigned)}." if unsigned else ""),
            actor=by,
            via=via,
            now=now,
            payload={
                "batches": {b.name: b.size for b in batches},
                "quote": first.seconds,
                "grants": grants.told(used),
                "digest": plan.release.digest,
                "old_versions": plan.old_versions,
            },
        )
        alerts.resolve_all(plan=plan, now=now, kinds=(GRANT_REFUSED,), why="the plan has started")
    return plan


def _first_quote(plan: Plan, policy: UpgradePolicy) -> Quote:
    size = first_places(plan).count()
    return quote_for(deployer=plan.deployer, policy=policy, touched=size, plan=plan)


def why_not_yet(plan: Plan, now: datetime) -> str:
    """Return what an approved plan waits for, empty when it may start; writes nothing."""
    try:
        check_start(plan, policy_of(current_revision(plan)), now)
    except NotYet as refused:
        return refused.sentence
    return _taken(plan)


def _taken(plan: Plan) -> str:
    """Return who holds a tenant of the plan, empty when nobody does."""
    wanted = PlanTenant.objects.filter(plan=plan, excluded=False)
    taken = (
        PlanTenant.objects.filter(
            plugin_id=plan.plugin_id, reserved=True, tenant_id__in=wanted.values("tenant_id")
        )
        .exclude(plan=plan)
        .select_related("plan", "tenant")
        .first()
    )
    if taken is None:
        return ""
    return (
        f"Tenant {taken.tenant.key} is being upgraded by plan {taken.plan.external_id}"
        f" ({taken.plan.state}); this plan starts when that one has ended."
    )


def _reserve(plan: Plan) -> None:
    # One start of a plugin after the other: each would wait for tenants that the other one has.
    Plugin.objects.select_for_update(no_key=True).get(pk=plan.plugin_id)
    try:
        with transaction.atomic():
            PlanTenant.objects.filter(plan=plan, excluded=False).update(reserved=True)
    except IntegrityError as error:
        sentence = _taken(plan)
        if not sentence:
            raise
        raise TenantsTaken(sentence) from error


def reserve_again(plan: Plan, tenant_keys: Sequence[str]) -> None:
    """Reserve tenants that were let go; TenantsTaken when another plan has one by now."""
    places = PlanTenant.objects.filter(plan=plan, tenant__key__in=tenant_keys, reserved=False)
    try:
        with transaction.atomic():
            places.update(reserved=True)
    except IntegrityError as error:
        sentence = _taken(plan)
        if not sentence:
            raise
        raise TenantsTaken(sentence) from error


def reserve_for_rollback(plan: Plan, going_back: TenantUpgradeQuerySet) -> None:
    """Reserve what goes back of a plan that had let its tenants go; this never refuses.

    Tenants that another plan has by now stay reserved for that one: whoever has begun to work on
    one of them first goes on, and the ledger keeps the other away meanwhile.
    """
    mine = PlanTenant.objects.filter(
        plan=plan, reserved=False, tenant_id__in=going_back.values("tenant_id")
    )
    if not mine.exists():
        return
    # As at a start: who reserves at the same time waits, and is told afterwards whose they are.
    Plugin.objects.select_for_update(no_key=True).get(pk=plan.plugin_id)
    taken = PlanTenant.objects.filter(plugin_id=plan.plugin_id, reserved=True)
    mine.exclude(tenant_id__in=taken.values("tenant_id")).update(reserved=True)


def free_reservations(plan: Plan) -> None:
    """Let other plans have the tenants."""
    PlanTenant.objects.filter(plan=plan, reserved=True).update(reserved=False)


def _make_batches(plan: Plan, policy: UpgradePolicy) -> list[Batch]:
    places = list(
        PlanTenant.objects.filter(plan=plan, excluded=False)
        .select_related("tenant")
        .order_by("batch_number", "position")
    )
    sizes: dict[int, int] = {}
    for place in places:
        sizes[place.batch_number] = sizes.get(place.batch_number, 0) + 1
    batches = {
        number: Batch.objects.create(
            plan=plan,
            number=number,
            name=spec.name,
            size=sizes[number],
            metrics=list(spec.metrics),
            advance=spec.advance,
            hold_back=spec.name == HOLD_BACK,
            soak_seconds=spec.soak_seconds,
            soak_left=spec.soak_seconds,
            owner=plan.owner_name or plan.author.get_full_name(),
        )
        for number, spec in enumerate(batch_specs(policy, len(sizes)), start=1)
    }
    TenantUpgrade.objects.bulk_create(
        [
            TenantUpgrade(
                plan=plan,
                batch=batches[place.batch_number],
                tenant=place.tenant,
                tenant_key=place.tenant.key,
                position=place.position,
            )
            for place in places
        ],
        batch_size=500,
    )
    return [batches[number] for number in sorted(batches)]


def pass_gate(plan: Plan, batch: Batch, now: datetime) -> Quote:
    """Return the quote with which the batch may begin; raises QuoteExceeded when it may not.

    Asked under the plan's lock: measurements, tenants and limits may have changed since the
    decision. So may have what the release's signature is worth: raises ReleaseNotTrusted.
    """
    verify_again(release=plan.release, now=now)
    quote = gate_quote(plan, policy_of(current_revision(plan)))
    if not quote.fits:
        raise QuoteExceeded(f"Batch {batch.number} may not begin: {quote.sentence}.")
    return quote


@transaction.atomic
def open_batch(*, batch_id: int, now: datetime, revision: int | None = None) -> Batch:
    """Begin a batch: hand its calls out to the hands within this transaction.

    `revision` is the one by which it was decided: under a newer one it has to be decided anew.
    Raises QuoteExceeded when all could not be taken back in time.
    """
    batch, plan = Batch.objects.locked(batch_id)
    if str(plan.state) != "running":
        raise Refused("A batch opens only while its plan runs.")
    plan.require_revision(revision)
    quote = pass_gate(plan, batch, now)
    batch.move("open")
    batch.opened_at = now
    batch.calling_since = now
    batch.handed_out_at = now
    batch.quote = quote.to_json()
    batch.save()
    if plan.waiting_for:
        plan.waiting_for = ""
        plan.save()
    async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    events.record(
        stream=plan,
        kind="batch_opened",
        sentence=f"Batch {batch.number} ({batch.name}) began with"
        f" {counted(batch.size, 'tenant')}; {quote.sentence}.",
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number, "tenants": batch.size, "quote": quote.to_json()},
    )
    return batch

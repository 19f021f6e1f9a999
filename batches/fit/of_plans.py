"""What the probes of its Kpis say about a plan before it is submitted, starts, or is adjusted.

No source is asked while the database is locked: whoever acts within a transaction has probed before
it, or takes what the newest probes said.
"""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import connection

from batches.configured import dictionary
from batches.fit.gate import AT_ADJUST, AT_START, AT_SUBMIT, Occasion, Weighed, Whose
from batches.fit.kept import weighed
from batches.fit.probing import probe_when_old
from batches.models import RollbackDrill
from plans.models import Plan, PlanTenant
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput


def fits_of(
    plan: Plan,
    policy: UpgradePolicy,
    now: datetime,
    occasion: Occasion = AT_SUBMIT,
    only: Collection[str] | None = None,
) -> Weighed:
    """Return what the newest probes say about the plan; asks no source."""
    places = PlanTenant.objects.filter(plan=plan, excluded=False)
    batch_of = dict(places.values_list("tenant__key", "batch_number"))
    # Once a plan runs its first batch has had its turn.
    first = [key for key, number in batch_of.items() if number == 1 and occasion is not AT_ADJUST]
    whose = Whose(list(batch_of), first)
    return weighed(policy=policy, whose=whose, now=now, occasion=occasion, only=only)


# The start.


def is_probed_before_start(plan: Plan) -> bool:
    """Tell whether its Kpis have to fit before it starts: rehearsals find out by themselves."""
    if not settings.PROBE_BEFORE_START:
        return False
    return not RollbackDrill.objects.filter(
        plan=plan, kind=RollbackDrill.REHEARSAL, ended_at=None
    ).exists()


def probe_before_start(plan: Plan, policy: UpgradePolicy, *, now: datetime, via: str) -> None:
    """Probe what a person is about to start, where the newest probe is old or found something."""
    if not connection.in_atomic_block and is_probed_before_start(plan):
        probe_when_old(policy=policy, now=now, via=via)


def unfit_at_start(plan: Plan, policy: UpgradePolicy, now: datetime) -> tuple[str, ...]:
    """Return why the plan's Kpis cannot be read any more; what is too old says nothing."""
    if not is_probed_before_start(plan):
        return ()
    return fits_of(plan, policy, now, AT_START).errors


# Adjustments.


def added_kpis(old: UpgradePolicy, new: UpgradePolicy) -> frozenset[str]:
    """Return the Kpis, by the dictionary's names, that only the new policy watches."""
    try:
        known = dictionary()
    except BadInput:
        return frozenset()
    before = frozenset(map(known.name_of, old.watched_kpis))
    return frozenset(map(known.name_of, new.watched_kpis)) - before


def probe_added(
    old: UpgradePolicy, new: UpgradePolicy, *, now: datetime, via: str, again: bool = True
) -> None:
    """Probe the Kpis that an adjustment adds, where that was not done lately."""
    added = added_kpis(old, new)
    if added and not connection.in_atomic_block:
        probe_when_old(policy=new, now=now, via=via, only=added, again=again)


def added_fits(plan: Plan, old: UpgradePolicy, new: UpgradePolicy, now: datetime) -> Weighed:
    """Return what the probes say of the Kpis that an adjustment adds to a plan that runs."""
    added = added_kpis(old, new)
    return fits_of(plan, new, now, AT_ADJUST, only=added) if added else Weighed()

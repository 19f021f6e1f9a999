"""A change of a running plan before it is decided: what it changes, and why it may not be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from batches.adjust.batches import Recut, recut_of, standing_of
from batches.adjust.wanted import ChangeSet, Edited, edited, in_kpi_words, rewritten
from batches.fit.of_plans import added_fits, probe_added
from batches.models import Batch, DeployerCall, TenantUpgrade
from batches.quotes.quote import Quote
from batches.rollout.readiness import missing_names, quote_for
from plans.changes.adjustment import Comparison, compare, merged
from plans.changes.change import Change, Standing
from plans.drafting.drafting import current_revision, pinned_file, written_policy
from plans.models import Plan, PlanRevision
from plans.policies.policy import ApprovalRule, UpgradePolicy
from plans.refusal import BadInput, Refused

ADJUSTABLE = ("running", "paused")
LONGEST_LOOSENING = timedelta(days=7)
_MAY_EXPIRE = ("guardrails.", "limits.", "on.", "evidence")


class NotAdjustable(Refused):
    """The plan does not run: there is nothing to adjust."""

    default_code = "not_adjustable"


@dataclass(frozen=True, slots=True)
class Expiry:
    """How long a loosening holds: `after` it took effect, or until `at`."""

    after: timedelta | None = None
    at: datetime | None = None

    def of(self, start: datetime) -> datetime:
        """Return the moment at which it ends when it takes effect at `start`."""
        return self.at if self.at is not None else start + (self.after or timedelta(0))


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a change set makes of a plan. `recut` is None where the tenants stay where they are."""

    plan: Plan
    before: PlanRevision
    old: UpgradePolicy
    edited: Edited
    standing: Standing
    comparison: Comparison
    recut: Recut | None
    quotes: "Quotes"
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def new(self) -> UpgradePolicy:
        """Return the policy that would apply."""
        return self.edited.policy

    @property
    def rule(self) -> ApprovalRule:
        """Return who has to agree to what is looser."""
        return approval_rule(self.before)


@dataclass(frozen=True, slots=True)
class Quotes:
    """The rollback quotes before and after: for what is touched now, and with the next batch."""

    now: Quote
    now_before: Quote
    coming: Quote | None = None
    coming_before: Quote | None = None


def require_adjustable(plan: Plan) -> None:
    """Raise NotAdjustable unless the plan runs or is paused."""
    if str(plan.state) not in ADJUSTABLE:
        label = plan.lifecycle.states[str(plan.state)].lower()
        raise NotAdjustable(
            f"This plan is {label}; only a running or paused plan can be adjusted.",
            possible=plan.lifecycle.possible(str(plan.state)),
        )


def approval_rule(revision: PlanRevision) -> ApprovalRule:
    """Return who has to agree to a loosening: those who agreed to the plan."""
    return pinned_file(revision).approvals[revision.approvals]


def propose(
    plan: Plan, wanted: ChangeSet, *, now: datetime, expiry: Expiry | None = None
) -> Proposal:
    """Return what the change set makes of the plan, with all problems; writes nothing.

    Raises NotAdjustable, or BadInput for a change set that cannot be read.
    """
    require_adjustable(plan)
    before = current_revision(plan)
    proposal = proposal_for(plan, before, edited(before, wanted), now=now, expiry=expiry)
    # Only here: what ends by itself, or was agreed to, must not hang on a source that is down.
    fits = added_fits(plan, proposal.old, proposal.new, now)
    return replace(proposal, problems=(*proposal.problems, *fits.errors), warnings=fits.warnings)


def probe_what_is_added(
    plan: Plan, wanted: ChangeSet, *, now: datetime, via: str, again: bool = True
) -> None:
    """Probe the Kpis that a change set adds; one that cannot be read is refused later.

    Not within a transaction. `again`: also what was found wrong a moment ago.
    """
    before = current_revision(plan)
    try:
        new = edited(before, wanted).policy
    except BadInput:
        return
    probe_added(written_policy(before), new, now=now, via=via, again=again)


def proposal_for(
    plan: Plan, before: PlanRevision, wanted: Edited, *, now: datetime, expiry: Expiry | None = None
) -> Proposal:
    """Return what a policy text makes of the plan, with all problems; writes nothing."""
    old = written_policy(before)
    standing = standing_of(plan)
    comparison = compare(old, wanted.policy, standing, resolve=in_kpi_words)
    recut = None
    if any(change.path == "batches" for change in comparison.changes):
        recut = recut_of(plan, wanted.policy.at_scale(settings.SOAK_SCALE), standing)
    quotes = _quotes(plan, old, wanted.policy, recut)
    problems = [
        *comparison.refused,
        *_approvals_problems(before, wanted),
        *missing_names(plan.deployer, wanted.policy),
        *_quote_problems(quotes),
        *_timeout_problems(plan, old, wanted.policy, now),
        *_expiry_problems(comparison, expiry, now),
    ]
    if not comparison.changes and not problems:
        problems.append("nothing would change: the plan runs under these values already")
    return Proposal(plan, before, old, wanted, standing, comparison, recut, quotes, tuple(problems))


def part_of(proposal: Proposal, *, now: datetime) -> Proposal:
    """Return the part of a mixed proposal that is tighter or neutral: it can apply at once."""
    policy = merged(
        proposal.old, proposal.new, proposal.comparison.tighter_paths, proposal.standing
    )
    wanted = rewritten(proposal.before, policy)
    return proposal_for(proposal.plan, proposal.before, wanted, now=now)


def sentences(changes: Sequence[Change]) -> str:
    """Return changes as one line of the trail."""
    return "; ".join(change.sentence for change in changes)


def _approvals_problems(before: PlanRevision, wanted: Edited) -> list[str]:
    """Name a change of who must agree: it would change who agrees to this very change."""
    if wanted.approvals.get(before.approvals) == approval_rule(before):
        return []
    return [
        f"approvals.{before.approvals}: who must agree, and for how long, may not change while"
        " the plan runs; leave that entry as it is"
    ]


def _quotes(plan: Plan, old: UpgradePolicy, new: UpgradePolicy, recut: Recut | None) -> Quotes:
    at_stake = _at_stake(plan)
    upcoming = Batch.objects.filter(plan=plan, state="pending").order_by("number").first()
    size = upcoming.size if upcoming is not None else 0
    new_size = len(recut.waves[0].tenants) if recut is not None and recut.waves else size

    def quote(policy: UpgradePolicy, touched: int) -> Quote:
        return quote_for(deployer=plan.deployer, policy=policy, touched=touched, plan=plan)

    now, now_before = quote(new, at_stake), quote(old, at_stake)
    if upcoming is None:
        return Quotes(now, now_before)
    return Quotes(now, now_before, quote(new, at_stake + new_size), quote(old, at_stake + size))


def _at_stake(plan: Plan) -> int:
    """Return how many tenants a rollback would take back: touched, or about to be called."""
    upgrades = TenantUpgrade.objects.filter(plan=plan)
    about_to_be = Q(
        touched_at=None,
        state__in=("pending", "upgrading"),
        batch__state__in=("deploying", "held"),
    )
    return upgrades.to_restore().count() + upgrades.filter(about_to_be).count()


def _quote_problems(quotes: Quotes) -> list[str]:
    """Refuse what would break the promise for tenants that are touched already."""
    if quotes.now.fits or not quotes.now_before.fits:
        return []
    return [
        f"limits: {quotes.now.sentence}; these tenants are touched already, so this may not be:"
        " raise parallelism, lower call_timeout_seconds, or leave both"
    ]


def _timeout_problems(
    plan: Plan, old: UpgradePolicy, new: UpgradePolicy, now: datetime
) -> list[str]:
    """Refuse another time-out while calls under the old one may still be applied."""
    was, reads = old.limits.call_timeout_seconds, new.limits.call_timeout_seconds
    if was == reads:
        return []
    lately = now - timedelta(seconds=2 * was)
    forward = DeployerCall.objects.filter(plan=plan, direction=DeployerCall.INSTALL)
    calling = Batch.objects.filter(plan=plan, state="deploying").exists()
    if not calling and not forward.filter(Q(ended_at=None) | Q(started_at__gt=lately)).exists():
        return []
    return [
        "limits.call_timeout_seconds: calls are under way, and a rollback has to know how long"
        f" they may still be applied; change it {2 * was:g} s after the batch was called"
    ]


def _expiry_problems(comparison: Comparison, expiry: Expiry | None, now: datetime) -> list[str]:
    if expiry is None:
        return []
    problems = []
    ends = expiry.of(now)
    if not now < ends <= now + LONGEST_LOOSENING:
        problems.append("expires: write a time within the next 7 days")
    if comparison.direction != "looser":
        problems.append("expires: only a loosening ends by itself; leave it out")
    problems += [
        f"expires: {change.what} cannot be put back by itself; an end is possible for guardrails,"
        " limits and conditions. Ask for this change on its own"
        for change in comparison.changes
        if change.direction == "looser" and not change.path.startswith(_MAY_EXPIRE)
    ]
    return problems

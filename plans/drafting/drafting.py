"""Draft and revise a plan: what is to be upgraded, where, under which policy, in which order."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import transaction

from plans.counted_words import counted
from plans.drafting.old_versions import downgrade_problem
from plans.drafting.revision_writing import write_revision
from plans.drafting.waves import Arrangement, Candidate, arrange
from plans.models import (
    ApprovalRequest,
    Grant,
    Plan,
    PlanRevision,
    Plugin,
    Policy,
    Release,
    Tenant,
    User,
)
from plans.people.permissions import reach_of, require
from plans.policies.newest import newest_policies
from plans.policies.policy import PolicyFile, UpgradePolicy
from plans.policies.policy_yaml import parse_policy_file
from plans.reach import EVERYTHING
from plans.refusal import BadInput, Refused
from plans.trail import events


@dataclass(frozen=True, slots=True)
class TenantChoice:
    """Which tenants: all of them, those with all of the labels, or those named."""

    all: bool = False
    keys: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the choice as it is stored on the revision."""
        return {"all": self.all, "keys": list(self.keys), "labels": dict(self.labels)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "TenantChoice":
        """Return the choice of a stored revision."""
        return cls(
            all=bool(stored.get("all")),
            keys=tuple(stored.get("keys", ())),
            labels=dict(stored.get("labels", {})),
        )


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """What a release manager hands in, from the form or over REST."""

    plugin: str
    to_version: str
    policy: str
    deployer: str
    tenants: TenantChoice
    external_id: str = ""
    approvals: str | None = None
    not_before: datetime | None = None
    owner_name: str = ""
    owner_email: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A draft whose names were all found: what the plan will be made of."""

    draft: PlanDraft
    release: Release
    policy_row: Policy
    policy_file: PolicyFile
    policy: UpgradePolicy
    approvals: str
    roles: tuple[str, ...]
    tenants: Mapping[str, Tenant]
    arrangement: Arrangement


def latest_policy(name: str) -> Policy | None:
    """Return the newest policy of that name."""
    return newest_policies().filter(name=name).first()


def chosen_tenants(
    choice: TenantChoice, *, by: User | None = None
) -> tuple[list[Tenant], list[str]]:
    """Return the tenants of a choice and what is wrong with it.

    For a person, of those that they may draft plans for: to them there are no others, so `all`
    means all of theirs.
    """
    reach = EVERYTHING if by is None else reach_of(by, "draft")
    everyone = Tenant.objects.within(reach).order_by("key")
    if choice.keys:
        found = {tenant.key: tenant for tenant in everyone.filter(key__in=choice.keys)}
        unknown = [key for key in choice.keys if key not in found]
        problems = [f"tenants: there is no tenant {key!r}; import it first" for key in unknown[:20]]
        if len(unknown) > 20:
            problems.append(
                f"tenants: {counted(len(unknown) - 20, 'more tenant is', 'more tenants are')}"
                " unknown"
            )
        return [found[key] for key in dict.fromkeys(choice.keys) if key in found], problems
    if choice.labels:
        chosen = [
            tenant
            for tenant in everyone
            if all(str(tenant.labels.get(k)) == v for k, v in choice.labels.items())
        ]
        words = ", ".join(f"{k}={v}" for k, v in choice.labels.items())
        return chosen, [] if chosen else [f"tenants: no tenant carries the labels {words}"]
    if choice.all:
        chosen = list(everyone)
        return chosen, [] if chosen else ["tenants: there are no tenants yet; import some first"]
    return [], ["tenants: say which: all, labels, or a list of keys"]


def irreversible_problem(release: Release, policy: UpgradePolicy) -> str:
    """Return why the policy does not let the release in, empty when it does."""
    if not release.irreversible or policy.rollback.irreversible == "freeze":
        return ""
    return (
        f"{release.version} cannot be taken back (irreversible) and the policy refuses such"
        " releases; under rollback, it would have to say irreversible: freeze"
    )


def resolve(
    draft: PlanDraft, *, seed: str, past_failures: Mapping[str, int], by: User | None = None
) -> tuple[Resolved | None, list[str]]:
    """Look everything up and arrange the batches; None and all problems when one is wrong."""
    problems: list[str] = []
    plugin = Plugin.objects.filter(key=draft.plugin).first()
    release = None
    if plugin is None:
        problems.append(f"plugin: there is no plugin {draft.plugin!r}; register a release of it")
    else:
        release = Release.objects.filter(plugin=plugin, version=draft.to_version).first()
        if release is None:
            problems.append(
                f"to_version: {draft.plugin} has no registered release {draft.to_version!r};"
                " register its signed release first"
            )
    row = latest_policy(draft.policy)
    policy_file = parse_policy_file(row.text) if row is not None else None
    approvals = ""
    roles: tuple[str, ...] = ()
    if row is None or policy_file is None:
        problems.append(f"policy: there is no policy {draft.policy!r}")
    else:
        policy = policy_file.policies[row.name]
        approvals = draft.approvals or policy.approvals
        rule = policy_file.approvals.get(approvals)
        if rule is None:
            known = ", ".join(sorted(policy_file.approvals)) or "none"
            problems.append(
                f"approvals: the policy file has no entry {approvals!r}; it has {known}"
            )
        else:
            roles = rule.required_roles
    tenants, tenant_problems = chosen_tenants(draft.tenants, by=by)
    problems += tenant_problems
    if problems or row is None or policy_file is None or release is None:
        return None, problems
    policy = policy_file.policies[row.name]
    if sentence := irreversible_problem(release, policy):
        return None, [f"to_version: {sentence}"]
    if sentence := release.standing:
        return None, [f"to_version: {sentence}"]
    arrangement = arrange(
        [Candidate(t.key, dict(t.labels), past_failures.get(t.key, 0)) for t in tenants],
        policy,
        seed=seed,
    )
    if not arrangement.waves:
        return None, ["tenants: the policy's selection leaves no tenant over"]
    by_key = {tenant.key: tenant for tenant in tenants}
    called = [by_key[key].pk for wave in arrangement.waves for key in wave.tenants]
    if sentence := downgrade_problem(release, called):
        return None, [f"to_version: {sentence}"]
    return (
        Resolved(draft, release, row, policy_file, policy, approvals, roles, by_key, arrangement),
        [],
    )


def _apply(plan: Plan, resolved: Resolved) -> None:
    draft = resolved.draft
    plan.plugin = resolved.release.plugin
    plan.release = resolved.release
    plan.deployer = draft.deployer
    plan.owner_name = draft.owner_name
    plan.owner_email = draft.owner_email
    plan.note = draft.note
    plan.not_before = draft.not_before


def _next_revision(
    plan: Plan, resolved: Resolved, *, seed: str, author: User, why: str, now: datetime
) -> PlanRevision:
    return write_revision(
        plan=plan,
        policy=resolved.policy_row,
        approvals=resolved.approvals,
        tenant_choice=resolved.draft.tenants.to_json(),
        arrangement=resolved.arrangement,
        tenants=resolved.tenants,
        seed=seed,
        author=author,
        why=why,
        now=now,
    )


def _wave_words(arrangement: Arrangement) -> str:
    return ", ".join(f"{wave.name} {len(wave.tenants)}" for wave in arrangement.waves)


def _required(
    draft: PlanDraft,
    seed: str,
    past_failures: Mapping[str, int],
    readiness: Sequence[str],
    by: User,
) -> Resolved:
    resolved, problems = resolve(draft, seed=seed, past_failures=past_failures, by=by)
    problems = [*problems, *readiness]
    if resolved is None or problems:
        raise BadInput(problems)
    return resolved


def draft_plan(
    *,
    draft: PlanDraft,
    author: User,
    now: datetime,
    via: str,
    past_failures: Mapping[str, int] | None = None,
    readiness: Sequence[str] = (),
) -> Plan:
    """Create a plan in draft; raise BadInput with all problems (`readiness` adds the caller's)."""
    require(author, "draft")
    seed = secrets.token_hex(8)
    # Looked up outside the transaction: nothing is written when the input is wrong.
    resolved = _required(draft, seed, past_failures or {}, readiness, author)
    external_id = draft.external_id or f"{draft.plugin}-{draft.to_version}-{secrets.token_hex(3)}"
    with transaction.atomic():
        if Plan.objects.filter(external_id=external_id).exists():
            raise Refused(
                f"There is already a plan {external_id!r}; revise that one or choose another id.",
                code="external_id_taken",
            )
        plan = Plan(
            external_id=external_id,
            author=author,
            created_at=now,
        )
        _apply(plan, resolved)
        plan.save()
        revision = _next_revision(
            plan, resolved, seed=seed, author=author, why="first draft", now=now
        )
        plan.save()
        events.record(
            stream=plan,
            kind="plan_drafted",
            sentence=f"{author.get_full_name()} drafted {plan.external_id}: {draft.plugin} to"
            f" {draft.to_version} under {resolved.policy_row.name}"
            f" ({_wave_words(resolved.arrangement)}).",
            actor=author,
            via=via,
            now=now,
            payload={"revision": revision.number, "digest": revision.plan_digest, "seed": seed},
        )
    return plan


def revise_plan(
    *,
    plan_id: Any,
    draft: PlanDraft,
    editor: User,
    now: datetime,
    via: str,
    why: str = "",
    past_failures: Mapping[str, int] | None = None,
    readiness: Sequence[str] = (),
) -> Plan:
    """Change a plan that has not started; every approval so far becomes void."""
    require(editor, "draft", Plan.objects.get(pk=plan_id))
    seed = secrets.token_hex(8)
    resolved = _required(draft, seed, past_failures or {}, readiness, editor)
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        came_from = str(plan.state)
        plan.move("revise")
        _apply(plan, resolved)
        plan.submitted_at = None
        plan.approved_at = None
        plan.ended_at = None
        revision = _next_revision(plan, resolved, seed=seed, author=editor, why=why, now=now)
        plan.save()
        voided = ApprovalRequest.objects.filter(plan=plan, closed_at=None).update(
            closed_at=now, outcome="voided"
        )
        Grant.objects.filter(plan=plan).void(why="the plan was changed", now=now)
        sentence = (
            f"{editor.get_full_name()} changed the plan: revision {revision.number}"
            f" ({_wave_words(resolved.arrangement)})."
        )
        if voided or came_from == "approved":
            sentence += " Approvals given so far are void."
        events.record(
            stream=plan,
            kind="plan_revised",
            sentence=sentence,
            actor=editor,
            via=via,
            now=now,
            payload={
                "revision": revision.number,
                "digest": revision.plan_digest,
                "from": came_from,
                "seed": seed,
            },
        )
    return plan


def current_revision(plan: Plan) -> PlanRevision:
    """Return the revision that is in force."""
    return PlanRevision.objects.get(plan=plan, number=plan.revision)


def policy_of(revision: PlanRevision) -> UpgradePolicy:
    """Return the policy as this revision pinned it; a rehearsal may run it at another scale."""
    return written_policy(revision).at_scale(settings.SOAK_SCALE)


def written_policy(revision: PlanRevision) -> UpgradePolicy:
    """Return the policy as it stands in the revision's text."""
    return pinned_file(revision).policies[revision.policy_name]


def pinned_file(revision: PlanRevision) -> PolicyFile:
    """Return all that the revision's text says, approvals included."""
    return _parsed(revision.policy_text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> PolicyFile:
    """Parse a pinned text once: it never changes, and the watch asks for it each second."""
    return parse_policy_file(text)

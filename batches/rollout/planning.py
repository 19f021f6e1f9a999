"""Draft, revise, preview and submit plans with all that this installation must have for them.

plans/ knows intents and people; what a plan needs from deployers, the dictionary and the rollback
quote is added here, so pages, REST and commands come through this door.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from batches.configured import deployer_spec
from batches.evidence.soak_outlook import keep_outlook, outlook_of, soak_outlook
from batches.fit.gate import Whose
from batches.fit.kept import weighed
from batches.fit.of_plans import fits_of
from batches.fit.probing import probe_when_old
from batches.quotes.advice import forecast
from batches.rollout.readiness import (
    PlanPreview,
    expected_duration,
    forecast_of,
    missing_names,
    paces_of,
    past_failures,
    way_back,
)
from plans.approvals import approval
from plans.drafting import drafting
from plans.drafting.drafting import (
    PlanDraft,
    Resolved,
    current_revision,
    irreversible_problem,
    latest_policy,
    policy_of,
    resolve,
)
from plans.drafting.old_versions import old_versions, unverified
from plans.lifecycle import PLAN
from plans.models import Plan, PlanTenant, User
from plans.openings.freezes import spans_over_tenants
from plans.openings.opening import opening
from plans.people.permissions import require
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput, Refused


class QuoteTooLong(Refused):
    """Even the first batch could not be taken back in time."""

    default_code = "quote_exceeds_limit"


class KpisDoNotFit(BadInput):
    """A Kpi that the plan watches could not be read at its source as the dictionary says."""

    default_code = "kpis_do_not_fit"


def _policy(draft: PlanDraft) -> UpgradePolicy | None:
    row = latest_policy(draft.policy)
    return parse_policy_file(row.text).policies[row.name] if row is not None else None


def _readiness(draft: PlanDraft) -> list[str]:
    return missing_names(draft.deployer, _policy(draft))


def preview_plan(
    *, draft: PlanDraft, now: datetime, by: User | None = None, seed: str = "preview"
) -> PlanPreview:
    """Return what the plan would be, or its problems; writes nothing."""
    problems = _readiness(draft)
    resolved, unresolved = resolve(draft, seed=seed, past_failures=past_failures(), by=by)
    problems = [*unresolved, *problems]
    if resolved is None or problems:
        return PlanPreview(tuple(problems))
    policy = resolved.policy
    spec = deployer_spec(draft.deployer)
    parallelism = min(spec.parallelism, policy.limits.parallelism)
    waves = resolved.arrangement.waves
    everybody = [key for wave in waves for key in wave.tenants]
    fits = weighed(policy=policy, whose=Whose(everybody, waves[0].tenants), now=now)
    return PlanPreview(
        problems=(),
        waves=tuple(resolved.arrangement.waves),
        excluded=tuple(resolved.arrangement.excluded.items()),
        guardrails=policy.guardrails,
        windows=opening(
            policy.windows,
            policy.not_after,
            spans_over_tenants(
                resolved.release.plugin_id, resolved.arrangement.waves[0].tenants, now
            ),
            now,
        ).sentence,
        duration_seconds=expected_duration(
            resolved.arrangement.waves,
            parallelism=parallelism,
            per_call=paces_of(draft.deployer, spec.expected_seconds)["install"].worst,
        ),
        forecast=forecast_of(draft, resolved),
        approval_roles=resolved.roles,
        policy=policy,
        irreversible=resolved.release.irreversible,
        parallelism=parallelism,
        unfit=fits.errors,
        warnings=fits.warnings,
        old_versions=_way_back_words(resolved, everybody, now),
        soaks=tuple(
            one.to_json()
            for one in soak_outlook(policy, resolved.arrangement.waves, plugin=draft.plugin)
        ),
    )


def _way_back_words(resolved: Resolved, keys: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Return what a rollback of the plan would bring back without a signature that holds."""
    if resolved.release.irreversible:
        return ()
    called = [resolved.tenants[key].pk for key in keys]
    release = resolved.release
    found = unverified(old_versions(release.plugin, called, now, target=release.version))
    refused = resolved.policy.rollback.unverified == "refuse"
    tail = "; the policy refuses that" if refused else ""
    return tuple(f"{one.sentence[0].upper()}{one.sentence[1:]}{tail}." for one in found)


def _not_submitted(why: str) -> str:
    """Say why in a whole sentence; advice may end as a question does."""
    return f"The plan cannot be submitted: {why}" + ("" if why.endswith("?") else ".")


def draft_plan(*, draft: PlanDraft, author: User, now: datetime, via: str) -> Plan:
    """Create a plan in draft; raise BadInput with everything that is wrong."""
    return drafting.draft_plan(
        draft=draft,
        author=author,
        now=now,
        via=via,
        past_failures=past_failures(),
        readiness=_readiness(draft),
    )


def revise_plan(
    *, plan_id: Any, draft: PlanDraft, editor: User, now: datetime, via: str, why: str = ""
) -> Plan:
    """Change a plan that has not started; approvals become void."""
    return drafting.revise_plan(
        plan_id=plan_id,
        draft=draft,
        editor=editor,
        now=now,
        via=via,
        why=why,
        past_failures=past_failures(),
        readiness=_readiness(draft),
    )


def probe_before(*, draft: PlanDraft, now: datetime, via: str) -> None:
    """Probe what a plan of this draft would watch, for whoever submits it in a transaction."""
    policy = _policy(draft)
    if policy is not None:
        probe_when_old(policy=policy, now=now, via=via)


def submit(*, plan_id: Any, by: User, now: datetime, via: str) -> Plan:
    """Hand a draft in, unless it would start blind or could not be taken back in time."""
    plan = Plan.objects.select_related("release").get(pk=plan_id)
    require(by, "submit", plan)
    policy = policy_of(current_revision(plan))
    first = PlanTenant.objects.filter(plan=plan, batch_number=1, excluded=False).count()
    if problem := irreversible_problem(plan.release, policy):
        raise Refused(f"The plan cannot be submitted: {problem}.", code="irreversible")
    way = way_back(deployer=plan.deployer, policy=policy, plan=plan)
    told = forecast(way, [first])
    if not told.fits:
        helps = [f" {one.sentence[0].upper()}{one.sentence[1:]}." for one in told.advice]
        raise QuoteTooLong(
            f"The first batch is too large to be taken back in time: {told.quotes[0].sentence}."
            + ("".join(helps) or " Make it smaller, or use a deployer that answers faster.")
        )
    # No source is asked while the database is locked: who submits within a transaction has
    # probed before it, or takes what the last probe said.
    if PLAN.allows(str(plan.state), "submit"):
        if not connection.in_atomic_block:
            probe_when_old(policy=policy, now=now, via=via)
        if unfit := fits_of(plan, policy, now).errors:
            raise KpisDoNotFit([_not_submitted(one) for one in unfit])
    outlooks = outlook_of(plan)
    with transaction.atomic():
        submitted = approval.submit(plan_id=plan_id, by=by, now=now, via=via)
        keep_outlook(submitted, outlooks, now)
    return submitted

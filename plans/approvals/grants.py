"""Give approval grants, and use them up: a yes counts for one act on one content, once.

Whoever does an act that needs a grant calls `spend` or `spend_quorum` in the transaction of that
act, under the plan's lock. What the grant says is read from its signed payload alone, and compared
with what the database says then; the row only keeps it.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from django.conf import settings

from plans.approvals.approved_acts import START
from plans.approvals.grant_claims import (
    LOOSEN,
    START_ONE_WAY,
    Bound,
    GrantClaims,
    GrantRefused,
    require_fit,
    seconds,
)
from plans.approvals.grant_signing import SealedGrant, opened, seal
from plans.console_keys import public_key, signing_key
from plans.drafting.drafting import current_revision, pinned_file, policy_of
from plans.drafting.revision_writing import placed_digest, plan_digest
from plans.failpoints import reach
from plans.log_in.proof_of_content import content_digest
from plans.log_in.step_up import (
    GOOD_FOR,
    WITHOUT_FACTORS,
    About,
    BoundProof,
    OfferedCode,
    Proof,
    StepUp,
    StepUpRequired,
)
from plans.models import Approval, ApprovalRequest, Grant, Plan, PlanRevision, User
from plans.openings.freezes import first_places, opening_for
from plans.people.permissions import approval_roles
from plans.policies.keeping import policy_digest
from plans.refusal import Refused

KEY = "grant"
OWN_ACT = timedelta(minutes=5)
STANDING = "standing"
"""The method of a yes that was given in advance to every run of a schedule."""
REHEARSED = "rehearsal"
"""The method of people whom a rehearsal made for itself; nobody proved anything."""
_BY_THE_CONSOLE = frozenset({STANDING, REHEARSED})


class GrantNotGood(Refused):
    """A grant does not allow what it was shown for; its code says why."""

    default_code = "grant_missing"


def proof_for(step_up: Proof | None, plan: Plan, bound: Bound, *, now: datetime) -> BoundProof:
    """Return the proof that the person means exactly this; raise StepUpRequired without one.

    A code that came along with the act was given for it. Of a session counts what was given for
    this act on this content, and only until the grant with its id is there.
    """
    in_session = step_up.bound if isinstance(step_up, StepUp) else None
    if in_session is not None:
        proof = in_session.get(content_digest(bound))
        if proof is not None and not Grant.objects.filter(pk=proof.jti).exists():
            return proof
    try:
        if in_session is not None and settings.REQUIRE_MFA:
            raise StepUpRequired(
                "This needs your second factor for this alone: what you confirm with it is bound to"
                " this act and its content."
            )
        proved = stepped_up(step_up, now=now)
    except StepUpRequired as required:
        required.about = About(bound, _asked_in_words(plan, bound))
        raise
    return BoundProof(uuid.uuid4(), tuple(proved.methods), proved.at)


def _asked_in_words(plan: Plan, bound: Bound) -> str:
    batch = f", batch {bound.batch}" if bound.batch is not None else ""
    return (
        f"{bound.action.replace('_', ' ')}, plan {plan.external_id or plan.pk}{batch}, content"
        f" {bound.plan_digest[:12]}"
    )


def stepped_up(step_up: Proof | None, *, now: datetime) -> StepUp:
    """Return how the person proved who they are; raise StepUpRequired when that is not enough.

    A code is used up by it: ask once nothing else refuses the act.
    """
    if isinstance(step_up, OfferedCode):
        return step_up.use()
    if step_up is None and not settings.REQUIRE_MFA:
        return StepUp(WITHOUT_FACTORS, now)
    if step_up is not None and _BY_THE_CONSOLE & set(step_up.methods):
        return step_up
    if step_up is None or (settings.REQUIRE_MFA and not set(step_up.methods) - {*WITHOUT_FACTORS}):
        raise StepUpRequired(
            "This needs your second factor, used within the last five minutes; a password or single"
            " sign-on alone does not count. Over REST and powerx send its code along."
        )
    if now - step_up.at > GOOD_FOR:
        raise StepUpRequired(
            "You used your second factor more than five minutes ago; use it once more, then repeat"
            " this."
        )
    return step_up


def audience() -> str:
    """Return the name of this installation, as grants carry it."""
    return f"upgradeconsole/{settings.INSTANCE_NAME}"


def keys_digest(keys: Sequence[str]) -> str:
    """Return the digest of named tenants."""
    return hashlib.sha256(rfc8785.dumps(sorted(keys))).hexdigest()


def bound_by(
    plan: Plan,
    action: str,
    *,
    revision: PlanRevision | None = None,
    tenants: Sequence[str] | None = None,
    batch: int | None = None,
    subject: str = "",
) -> Bound:
    """Return what a grant for the act is bound to, as the database says it now.

    `tenants` where the act is about some alone; else all of the revision's.
    """
    revision = revision or current_revision(plan)
    policy = policy_digest(pinned_file(revision), revision.policy_name)
    in_force = revision.number == plan.revision and plan.started_at is None
    places = placed_digest(plan, policy_of(revision)) if in_force else revision.tenants_digest
    return Bound(
        aud=audience(),
        action=action,
        plan_id=str(plan.pk),
        plan_digest=plan_digest(
            plan, policy_digest=policy, approvals=revision.approvals, tenants_digest=places
        ),
        tenants_digest=places if tenants is None else keys_digest(tenants),
        policy_digest=policy,
        artifact_sha256=plan.release.digest,
        batch=batch,
        subject=subject,
    )


def bound_by_request(plan: Plan, request: ApprovalRequest) -> Bound:
    """Return what a yes to the request is bound to: its own revision, and the request itself."""
    action = LOOSEN
    if request.action == START:
        action = START_ONE_WAY if plan.release.irreversible else START
    return bound_by(plan, action, revision=request.revision, subject=str(request.pk))


def counts_until(plan: Plan, request: ApprovalRequest, *, now: datetime) -> datetime:
    """Return until when a yes to the request may be used.

    A loosening is in force with the last yes, so its time for approval is enough. A plan that is
    approved may have to wait for its windows: it can be started for as long as its policy says
    after the first moment at which it could.
    """
    if request.action != START:
        return request.deadline
    policy = policy_of(request.revision)
    rule = pinned_file(request.revision).approvals[request.revision.approvals]
    begins = max(now, plan.not_before or now)
    opening = opening_for(plan, policy, first_places(plan), begins)
    if not opening.is_open and opening.next_opening is not None:
        begins = opening.next_opening
    last = max(request.deadline, begins) + timedelta(minutes=rule.start_within_minutes)
    return last if policy.not_after is None else min(last, policy.not_after)


def give(
    *,
    plan: Plan,
    bound: Bound,
    requester: User,
    approver: User,
    role: str,
    quorum: str,
    proof: BoundProof,
    now: datetime,
    expires_at: datetime,
    request: ApprovalRequest | None = None,
    approval: Approval | None = None,
) -> Grant:
    """Sign and keep one grant."""
    key, jti = signing_key(KEY), proof.jti
    members: dict[str, Any] = asdict(bound)
    claims = GrantClaims(
        **members,
        jti=str(jti),
        kid=key.kid,
        requester=str(requester.pk),
        approver=str(approver.pk),
        role=role,
        quorum=quorum,
        amr=proof.methods,
        auth_time=seconds(proof.at),
        iat=seconds(now),
        nbf=seconds(now),
        exp=seconds(expires_at),
    )
    sealed = seal(claims, key.sign)
    return Grant.objects.create(
        jti=jti,
        plan=plan,
        request=request,
        approval=approval,
        action=bound.action,
        approver=approver,
        role=role,
        methods=list(proof.methods),
        answer=proof.answer,
        payload=sealed.payload,
        sig=sealed.sig,
        kid=sealed.kid,
        issued_at=now,
        expires_at=claims.expires_at,
    )


def give_for_verdict(
    plan: Plan,
    request: ApprovalRequest,
    approval: Approval,
    *,
    bound: Bound,
    proof: BoundProof,
    now: datetime,
) -> Grant:
    """Sign the yes that somebody has just given to a request."""
    nth = request.approvals.filter(verdict=Approval.APPROVED).count()
    return give(
        plan=plan,
        bound=bound,
        requester=request.opened_by,
        approver=approval.user,
        role=approval.role,
        quorum=f"{nth}of{len(request.roles)}",
        proof=proof,
        now=now,
        expires_at=counts_until(plan, request, now=now),
        request=request,
        approval=approval,
    )


def spend(grant: Grant, bound: Bound, *, op: str, now: datetime) -> GrantClaims:
    """Use the grant up for the operation; raise GrantNotGood unless it allows exactly that.

    Must run in the transaction of what it allows: if that fails, the grant is not used.
    """
    try:
        claims = opened(SealedGrant(grant.payload, grant.sig, grant.kid), public_key)
        if claims.jti != str(grant.jti):
            raise GrantRefused(
                "The approval is kept under another id than its own.", code="grant_malformed"
            )
        require_fit(claims, bound, now=now)
    except GrantRefused as refused:
        raise GrantNotGood(refused.sentence, code=refused.code) from refused
    # Whoever comes second, by whatever way, changes no row.
    used = Grant.objects.unused().filter(pk=grant.pk).update(consumed_at=now, op=op[:160])
    if used != 1:
        raise _spent(Grant.objects.get(pk=grant.pk))
    reach("grants.used")
    return claims


def _spent(grant: Grant) -> GrantNotGood:
    if grant.voided_at is not None:
        return GrantNotGood(
            f"The approval counts no more: {grant.voided_why}. Ask for approval again.",
            code="grant_void",
        )
    at = f" at {grant.consumed_at:%Y-%m-%d %H:%M:%S} UTC" if grant.consumed_at else ""
    return GrantNotGood(
        f"The approval was used{at} already ({grant.op}); each counts once.", code="grant_used"
    )


def spend_quorum(
    plan: Plan, request: ApprovalRequest, *, op: str, now: datetime
) -> tuple[Grant, ...]:
    """Use up the grants of a request whose roles have all agreed; raise GrantNotGood otherwise.

    Each approver has to be there still, to hold the role still, and to have written nothing of it.
    """
    bound = bound_by_request(plan, request)
    grants = tuple(Grant.objects.filter(request=request))
    roles: dict[str, str] = {}
    for grant in grants:
        claims = spend(grant, bound, op=op, now=now)
        _require_independent(claims, plan, request)
        _require_permitted(claims, plan, now)
        if claims.approver in roles.values():
            raise GrantNotGood(
                "One person approved for two roles; each role takes a person of its own.",
                code="approver_twice",
            )
        roles[claims.role] = claims.approver
    # Of the signed policy, not of the request's row: whoever writes that row signs nothing.
    rule = pinned_file(request.revision).approvals[request.revision.approvals]
    missing = [role for role in rule.required_roles if role not in roles]
    if missing:
        raise GrantNotGood(
            f"No signed approval by {', '.join(missing)} is there for this content; change the plan"
            " or submit it again, and have it approved.",
        )
    return grants


def _require_independent(claims: GrantClaims, plan: Plan, request: ApprovalRequest) -> None:
    if claims.requester != str(request.opened_by_id):
        raise GrantNotGood(
            "The approval answers somebody else's question.", code="grant_wrong_content"
        )
    if claims.approver in {claims.requester, *map(str, writers(plan))}:
        raise GrantNotGood(
            "An approver has written, changed or handed in what was approved; somebody else has to"
            " decide about it.",
            code="approver_is_author",
        )


def _require_permitted(claims: GrantClaims, plan: Plan, now: datetime) -> None:
    approver = User.objects.filter(pk=claims.approver).first()
    if approver is None or not approver.is_active:
        who = approver.get_full_name() if approver is not None else "An approver"
        raise GrantNotGood(
            f"{who} is not active any more, so that approval does not count; have it approved"
            " again.",
            code="approver_gone",
        )
    if claims.role not in approval_roles(approver, at=now, plan=plan):
        raise GrantNotGood(
            f"{approver.get_full_name()} does not hold {claims.role} any more, so that approval"
            " does not count; have it approved again.",
            code="approver_not_permitted",
        )


def writers(plan: Plan) -> set[Any]:
    """Return the ids of all who wrote or edited the plan; none of them may approve it."""
    authors = PlanRevision.objects.filter(plan=plan).values_list("author_id", flat=True)
    return {plan.author_id, *authors}


def own_act(
    plan: Plan,
    action: str,
    *,
    by: User,
    role: str,
    step_up: Proof | None,
    op: str,
    now: datetime,
    tenants: Sequence[str] | None = None,
    batch: int | None = None,
    subject: str = "",
    quorum: str = "1of1",
    request: ApprovalRequest | None = None,
) -> Grant:
    """Sign and use up, in one go, the grant of an act that the person may do alone."""
    revision = request.revision if request is not None else None
    bound = bound_by(plan, action, revision=revision, tenants=tenants, batch=batch, subject=subject)
    proof = proof_for(step_up, plan, bound, now=now)
    grant = give(
        plan=plan,
        bound=bound,
        requester=request.opened_by if request is not None else by,
        approver=by,
        role=role,
        quorum=quorum,
        proof=proof,
        now=now,
        expires_at=now + OWN_ACT,
    )
    spend(grant, bound, op=op, now=now)
    return grant


def told(grants: Sequence[Grant]) -> list[dict[str, Any]]:
    """Return grants as the event of the act that used them tells of them."""
    return [
        {"jti": str(grant.jti), "kid": grant.kid, "role": grant.role, "amr": grant.methods}
        for grant in grants
    ]

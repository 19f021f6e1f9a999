"""Read the signed approvals of a plan, each checked against its signature, and broken glass."""

import base64
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from plans.approvals.grant_claims import GrantClaims, GrantRefused
from plans.approvals.grant_signing import SealedGrant, opened
from plans.console_keys import public_key
from plans.models import BreakGlass, Grant, Plan, User
from reports.document.facts_agreed import BrokenGlassFact, GrantFact
from reports.reading.agreed import person


def grants_of(plan: Plan) -> tuple[GrantFact, ...]:
    """Return the grants of the plan, the oldest first."""
    rows = Grant.objects.filter(plan=plan).select_related("approver")
    return tuple(_fact(row) for row in rows)


def _fact(row: Grant) -> GrantFact:
    claims: GrantClaims | None = None
    finding = ""
    try:
        claims = opened(SealedGrant(row.payload, row.sig, row.kid), public_key)
    except GrantRefused as refused:
        finding = refused.sentence
    return GrantFact(
        jti=str(row.jti),
        action=claims.action if claims else row.action,
        batch=claims.batch if claims else None,
        person=person(row.approver),
        role=claims.role if claims else row.role,
        quorum=claims.quorum if claims else "",
        methods=claims.amr if claims else tuple(row.methods),
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        consumed_at=row.consumed_at,
        op=row.op,
        voided_why=row.voided_why,
        grant=row.to_json(),
        genuine=claims is not None,
        finding=finding,
    )


def keys_of(grants: Sequence[GrantFact]) -> tuple[tuple[str, str], ...]:
    """Return the public keys that verify the grants, by their ids, as base64 of 32 bytes."""
    found: dict[str, str] = {}
    for kid in sorted({one.grant["kid"] for one in grants}):
        if (key := public_key(kid)) is not None:
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            found[kid] = base64.b64encode(raw).decode()
    return tuple(found.items())


def broken_glass_of(plan: Plan) -> tuple[BrokenGlassFact, ...]:
    """Return what was done without the approvers of the plan, the oldest first."""
    rows = BreakGlass.objects.filter(plan=plan).select_related("by", "reviewed_by").order_by("at")
    told = {pk for row in rows for pk in row.told}
    names = {str(user.pk): str(person(user)) for user in User.objects.filter(pk__in=told)}
    return tuple(
        BrokenGlassFact(
            act=row.act,
            batch=row.batch,
            by=person(row.by),
            at=row.at,
            reason=row.reason,
            roles=tuple(row.roles),
            told=tuple(names.get(pk, pk) for pk in row.told),
            review_due=row.review_due,
            reviewed_by=person(row.reviewed_by) if row.reviewed_by is not None else None,
            reviewed_at=row.reviewed_at,
            verdict=row.verdict,
            review=row.review,
        )
        for row in rows
    )

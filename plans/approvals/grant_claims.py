"""What an approval grant says, and whether it fits what is about to be done. Pure.

A grant is one person's signed yes to one act on one exact content. What it was given for and what
is about to happen are compared member by member: nothing is taken from the row that keeps it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

TYP: Final = "approval/v1"
START: Final = "start"
START_ONE_WAY: Final = "start_irreversible"
LOOSEN: Final = "loosen"
PROMOTE: Final = "promote"
OVERRIDE_FREEZE: Final = "override_freeze"
UNQUARANTINE: Final = "unquarantine"
BREAK_GLASS: Final = "break_glass_"
"""In front of the act for which the approvers were passed over."""
CLOCK_LEEWAY: Final = timedelta(minutes=10)
"""By how much the clock of whoever uses a grant may be behind the clock of whoever signed it."""


class GrantRefused(Exception):
    """Raised when a grant does not allow what it is shown for; `code` tells the reasons apart."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


@dataclass(frozen=True, slots=True)
class Bound:
    """What a grant is bound to: the installation, the act, and the exact content.

    `subject` names what else the act is about: a freeze, a change, a reason's digest.
    """

    aud: str
    action: str
    plan_id: str
    plan_digest: str
    tenants_digest: str
    policy_digest: str
    artifact_sha256: str
    batch: int | None = None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class GrantClaims:
    """The signed members; times are whole seconds since 1970, as in every such token.

    `quorum` is "1of2" for the first of two yeses that are needed, "0of2" where the two were passed
    over. `amr` says how the person proved who they are, and `auth_time` when.
    """

    jti: str
    aud: str
    kid: str
    action: str
    plan_id: str
    plan_digest: str
    batch: int | None
    tenants_digest: str
    policy_digest: str
    artifact_sha256: str
    subject: str
    requester: str
    approver: str
    role: str
    quorum: str
    amr: tuple[str, ...]
    auth_time: int
    iat: int
    nbf: int
    exp: int
    typ: str = TYP

    def to_json(self) -> dict[str, Any]:
        """Return the members as JSON values."""
        return asdict(self) | {"amr": list(self.amr)}

    @property
    def expires_at(self) -> datetime:
        """Return from when on it counts no more."""
        return datetime.fromtimestamp(self.exp, UTC)


_TEXTS = frozenset(field.name for field in fields(GrantClaims) if field.type is str)
_NUMBERS = frozenset({"auth_time", "iat", "nbf", "exp"})
_NAMES = frozenset(field.name for field in fields(GrantClaims))


def read_claims(body: object) -> GrantClaims:
    """Return the claims of a decoded payload; GrantRefused when a member is missing or strange."""
    if not isinstance(body, Mapping) or set(body) != _NAMES:
        raise GrantRefused("This is no approval grant: its members differ.", code="grant_malformed")
    amr, batch = body["amr"], body["batch"]
    right = (
        all(isinstance(body[name], str) for name in _TEXTS)
        and all(_is_whole(body[name]) for name in _NUMBERS)
        and isinstance(amr, list)
        and all(isinstance(method, str) for method in amr)
        and (batch is None or _is_whole(batch))
    )
    if not right:
        raise GrantRefused(
            "This is no approval grant: a member has the wrong form.", code="grant_malformed"
        )
    if body["typ"] != TYP:
        raise GrantRefused(f"This token is no {TYP}.", code="grant_wrong_type")
    return GrantClaims(**{**body, "amr": tuple(amr)})


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def seconds(at: datetime) -> int:
    """Return a moment as grants write it."""
    return int(at.timestamp())


def require_fit(claims: GrantClaims, bound: Bound, *, now: datetime) -> None:
    """Raise GrantRefused unless the grant is for exactly this, and for now."""
    if claims.aud != bound.aud:
        raise GrantRefused(
            f"The approval was given at another installation ({claims.aud}).",
            code="grant_wrong_audience",
        )
    if claims.action != bound.action:
        raise GrantRefused(
            f"The approval is for '{claims.action}', not for '{bound.action}'.",
            code="grant_wrong_action",
        )
    differing = [name for name in _CONTENT if getattr(claims, name) != getattr(bound, name)]
    if differing:
        words = ", ".join(_CONTENT[name] for name in differing)
        raise GrantRefused(
            f"The approval is for another content ({words}); ask for approval of what it is now.",
            code="grant_wrong_content",
        )
    at = seconds(now)
    if at < claims.nbf - CLOCK_LEEWAY.total_seconds():
        raise GrantRefused(
            "The approval counts only from"
            f" {datetime.fromtimestamp(claims.nbf, UTC):%Y-%m-%d %H:%M} UTC on; check the clocks"
            " of the console's machines.",
            code="grant_not_yet_valid",
        )
    if at >= claims.exp:
        raise GrantRefused(
            f"The approval counted until {claims.expires_at:%Y-%m-%d %H:%M} UTC; ask again.",
            code="grant_expired",
        )


_CONTENT: Final = {
    "plan_id": "the plan",
    "plan_digest": "what the plan says",
    "batch": "the batch",
    "tenants_digest": "the tenants",
    "policy_digest": "the policy",
    "artifact_sha256": "the artifact",
    "subject": "what it is about",
}

"""Step-up: proof, not older than five minutes, that whoever acts holds the person's second factor.

A password or single sign-on alone never is: both may be a session that somebody else sits at. What
is signed by a grant takes more: a factor of a session counts there only for the act and the content
for which it was asked (`plans/log_in/bound_step_up.py`); a code that comes along is bound to its
request.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from rest_framework.request import Request

from plans.approvals.grant_claims import Bound
from plans.log_in import failed_logins, second_factors
from plans.models import ApiToken, FailedLogIn, User
from plans.refusal import NotAllowed, Refused
from plans.trail import events

GOOD_FOR = timedelta(minutes=5)
# A clock that was set back a little must not make the proof one of the future.
CLOCK_SLACK = timedelta(seconds=5)
PROVED = "step_up_proved"
WITHOUT_FACTORS = ("pwd",)
"""What is kept as the method where the installation asks for no second factor."""


@dataclass(frozen=True, slots=True)
class About:
    """What a second factor is asked for: all that a grant will be bound to, and in words."""

    bound: Bound
    words: str


class StepUpRequired(NotAllowed):
    """The act needs the second factor once more; `about` where it has to be for that act alone."""

    default_code = "step_up_required"
    about: About | None = None


class TooManyTries(NotAllowed):
    """Too many wrong codes from this address."""

    default_code = "too_many_tries"


@dataclass(frozen=True, slots=True)
class BoundProof:
    """A second factor that was given for one act on one content: for the grant of that id."""

    jti: uuid.UUID
    methods: tuple[str, ...]
    at: datetime
    answer: dict[str, Any] | None = None
    """What a security key answered: evidence of what it was asked."""


@dataclass(frozen=True, slots=True)
class StepUp:
    """How a person proved who they are, and when: `totp`, `webauthn`, `recovery_codes` or `pwd`.

    `bound` are the proofs of a session, by the digest of the content for which each was given; None
    where the proof came along with the act itself.
    """

    methods: tuple[str, ...]
    at: datetime
    bound: Mapping[str, BoundProof] | None = None


@dataclass(slots=True)
class OfferedCode:
    """A one-time code that came along with an act, and was given for it alone."""

    user: User
    code: str
    now: datetime
    used: StepUp | None = None

    def use(self) -> StepUp:
        """Use it up, once nothing else refuses the act and in its transaction; raise WrongCode."""
        if self.used is None:
            used = second_factors.use_code(user=self.user, code=self.code, now=self.now)
            self.used = StepUp((used.type,), self.now)
        return self.used


Proof = StepUp | OfferedCode
"""What an act takes: what its session proves, or the code that came along with it."""


def step_up_of(request: HttpRequest | Request, *, now: datetime) -> StepUp | None:
    """Return the step-up of this session, None when there is none or it is too old.

    Where the installation requires no second factor its method is `pwd`, unless one was used.
    """
    user = request.user
    if not isinstance(user, User):
        return None
    if not isinstance(getattr(request, "auth", None), ApiToken):
        for record in reversed(_records(request, user)):
            if is_proof(record, now=now) and _still_has(user, record):
                return StepUp(
                    (str(record["type"]),), _moment(record), _bound_proofs(request, user, now)
                )
    return None if settings.REQUIRE_MFA else StepUp(WITHOUT_FACTORS, now)


def is_proof(record: Mapping[str, Any], *, now: datetime) -> bool:
    """Tell whether an entry of the session's log is a second factor that was used just now."""
    if record.get("method") != "mfa" or record.get("enrolled"):
        return False
    return still_good(record, now=now)


def _bound_proofs(
    request: HttpRequest | Request, user: User, now: datetime
) -> dict[str, BoundProof]:
    return {
        kept["content"]: BoundProof(
            uuid.UUID(kept["jti"]), (kept["type"],), _moment(kept), kept["answer"]
        )
        for kept in request.session.get(PROVED, [])
        if kept["user"] == str(user.pk) and still_good(kept, now=now) and _still_has(user, kept)
    }


def still_good(record: Mapping[str, Any], *, now: datetime) -> bool:
    """Tell whether a proof is of the last five minutes."""
    return -CLOCK_SLACK <= now - _moment(record) <= GOOD_FOR


def require_step_up(request: HttpRequest | Request, *, now: datetime) -> StepUp:
    """Return the step-up of this session; raise StepUpRequired, saying what to do."""
    stepped_up = step_up_of(request, now=now)
    if stepped_up is None:
        raise StepUpRequired(
            "This needs your second factor once more: it counts for five minutes, and a password"
            " or single sign-on alone does not count."
        )
    return stepped_up


@contextmanager
def stepping_up(request: HttpRequest | Request, *, now: datetime) -> Iterator[None]:
    """Let what is inside be done only with the step-up of this session; undo it without.

    Asked last: whoever is refused anyway reads why, and looks for no second factor before.
    """
    with transaction.atomic():
        yield
        require_step_up(request, now=now)


@contextmanager
def offering(
    user: User, code: str, *, now: datetime, address: str = "", via: str = "api"
) -> Iterator[OfferedCode]:
    """Let the act inside use up one code of the person's app, or a recovery code.

    Both happen in one transaction, or neither: an act that is refused leaves the code good. Raise
    TooManyTries after five wrong ones within five minutes from that address; what the act raises
    goes on, WrongCode counted. Call it outside of every transaction, or the count goes with it.
    """
    tried = failed_logins.try_code(user, address)
    if tried is None:
        raise TooManyTries("Too many wrong codes from this address. Try again in five minutes.")
    offered = OfferedCode(user, code, now)
    try:
        with transaction.atomic():
            yield offered
            if offered.used is not None:
                # The trail's lock is the last.
                tell_step_up(user, offered.used, via=via)
    except second_factors.WrongCode:
        failed_logins.note_failure(
            user=user, address=address, step=FailedLogIn.CODE, now=now, via=via
        )
        raise
    except Refused:
        # Not looked at, or right and not used up.
        tried.rollback()
        raise
    if offered.used is None:
        tried.rollback()
    else:
        failed_logins.forget_tries(user, address)


@transaction.atomic
def tell_step_up(
    user: User, stepped_up: StepUp, *, via: str, words: str = "", grant: str = ""
) -> None:
    """Tell the trail, with the words of what it was for and the grant that it allows, if any."""
    purpose = f", for this alone: {words}" if words else ""
    events.record(
        stream=None,
        kind="stepped_up",
        sentence=f"{user.get_full_name()} confirmed who they are with"
        f" {second_factors.words_of(stepped_up.methods)}{purpose}.",
        actor=user,
        via=via,
        now=stepped_up.at,
        payload={"methods": list(stepped_up.methods)} | ({"for_grant": grant} if grant else {}),
    )


def _records(request: HttpRequest | Request, user: User) -> list[dict[str, Any]]:
    if not hasattr(request, "session"):
        return []
    records: list[dict[str, Any]] = get_authentication_records(request, user)
    return records


def _moment(record: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(float(record.get("at", 0)), tz=UTC)


def _still_has(user: User, record: Mapping[str, Any]) -> bool:
    """Tell whether the factor is still the person's: one that was taken away proves nothing."""
    return bool(Authenticator.objects.filter(user=user, pk=record.get("id")).exists())

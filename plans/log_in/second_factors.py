"""Second factors: who must have one, using a code once, and taking a lost one away.

allauth keeps the rows (`Authenticator`) and the ceremonies; what counts, and how often, is decided
here, for log-in, step-up, REST and commands alike.
"""

import base64
import binascii
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.db import transaction

from plans.log_in.one_time_code import as_typed, matching_period, period_at
from plans.log_in.sessions import end_sessions
from plans.models import RoleBinding, RoleRequest, User
from plans.people.account_mail import tell_person
from plans.people.permissions import require
from plans.people.ways_in import WayIn, let_roles_wait, waiting_words
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail import events

# Who holds nothing but these only looks: a factor is offered to them and not asked for.
LOOKING_ONLY = frozenset({"viewer", "auditor", "telemetry"})
REAL = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
CODES = (Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES)
WORDS = {
    "totp": "an authenticator app",
    "webauthn": "a passkey or security key",
    "recovery_codes": "a recovery code",
    "password": "a password",
    "pwd": "a password",
    "socialaccount": "single sign-on",
}


class WrongCode(NotAllowed):
    """The code is not right, or was used before."""

    default_code = "wrong_code"


class NoFactor(Refused):
    """The person has no second factor."""

    default_code = "no_factor"


def has_factor(user: User) -> bool:
    """Tell whether the person has an authenticator app or a passkey."""
    return bool(Authenticator.objects.filter(user=user, type__in=REAL).exists())


def must_have_factor(user: User, *, at: datetime) -> bool:
    """Tell whether the person may act by their roles, and so needs a second factor to do it."""
    if not settings.REQUIRE_MFA:
        return False
    if user.is_superuser or user.is_staff:
        return True
    if RoleRequest.objects.filter(user=user, outcome="").exists():
        # Whoever is to confirm it asks first whether the person has come in, with a factor.
        return True
    bindings = RoleBinding.objects.in_force(at).filter(user=user)
    return bindings.exclude(kind=RoleBinding.CONSOLE, role__in=LOOKING_ONLY).exists()


def words_of(methods: Iterable[str]) -> str:
    """Return how somebody proved who they are, for a sentence."""
    said = list(dict.fromkeys(WORDS.get(method, method) for method in methods))
    return " and ".join(said) or "nothing that is known"


@transaction.atomic
def use_code(*, user: User, code: str, now: datetime) -> Authenticator:
    """Use up one code of the person's app, or one of their recovery codes; return whose it was.

    Raise WrongCode when it is none, or was used before: a code that somebody has watched or logged
    is worth nothing, in whichever process and however soon it is tried again. What is allowed by it
    is done in the same transaction: both happen, or neither does.
    """
    typed = as_typed(code)
    # Locked, so that of two who bring the same code at once one is too late.
    rows = Authenticator.objects.select_for_update(no_key=True).filter(user=user, type__in=CODES)
    in_turn = sorted(rows, key=lambda row: row.type != Authenticator.Type.TOTP)
    if not in_turn:
        raise WrongCode(
            "You have enrolled nothing that shows codes. Enrol an authenticator app in the console"
            " under Second factors."
        )
    for row in in_turn:
        if row.type == Authenticator.Type.TOTP:
            right = _use_period(row, typed, now)
        else:
            right = bool(typed) and row.wrap().validate_code(typed)
        if right:
            return row
    raise WrongCode("This code is not right, or was used before. Wait for the next one.")


def _use_period(row: Any, code: str, now: datetime) -> bool:
    try:
        secret = base64.b32decode(decrypt(row.data["secret"]), casefold=True)
    except binascii.Error:
        return False
    period = matching_period(secret, code, unix_time=now.timestamp())
    # Codes of the past are used up with it: they cannot be what the person reads now.
    if period is None or period <= row.data.get("last_period", -1):
        return False
    row.data["last_period"] = period
    row.save(update_fields=["data"])
    return True


def use_up_current_period(row: Any, *, now: datetime) -> None:
    """Let the code with which an app was enrolled not be good for anything else."""
    row.data["last_period"] = period_at(now.timestamp())
    row.save(update_fields=["data"])


def recovery_codes_left(user: User) -> int:
    """Return how many recovery codes are unused."""
    row = Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).first()
    return len(row.wrap().get_unused_codes()) if row is not None else 0


def find_person(name: str) -> User:
    """Return the person of that id or e-mail; raise NotFound."""
    try:
        by_id = User.objects.filter(pk=uuid.UUID(name)).first()
    except ValueError:
        by_id = None
    person = by_id or User.objects.filter(email__iexact=name).first()
    if person is None:
        raise NotFound(f"There is no person '{name}'.")
    return person


@transaction.atomic
def reset_factors(
    *, user: User, by: User | None, reason: str, now: datetime, via: str
) -> list[str]:
    """Take away all second factors of somebody who has lost them; return which they were.

    The person's sessions end, a mail tells them, and the next log-in leads to enrolling anew. What
    they approve with waits for another administrator (`let_roles_wait`). `by` None is a command run
    on the machine itself. Raise BadInput without a reason, NotAllowed unless `by` administers and
    is somebody else, NoFactor when there is nothing to take, NoSecondPerson where nobody could
    confirm.
    """
    if by is not None:
        require(by, "administer")
        if by.pk == user.pk:
            raise NotAllowed(
                "Another administrator has to reset your own second factors, or whoever may run"
                " `manage.py reset_mfa` on the machine: a stolen session must not.",
                code="own_factor",
            )
    if not reason.strip():
        raise BadInput(["reason: say how you know that it is really this person who asks"])
    events.lock_system_stream()
    theirs = Authenticator.objects.filter(user=user).order_by("pk")
    rows = list(theirs.select_for_update(no_key=True))
    if not rows:
        raise NoFactor(f"{user.get_full_name()} has no second factor; there is nothing to reset.")
    kinds = [row.type for row in rows]
    Authenticator.objects.filter(pk__in=[row.pk for row in rows]).delete()
    ended = end_sessions(user)
    who = by.get_full_name() if by is not None else "a command on the machine"
    lost = words_of(kind for kind in kinds if kind != Authenticator.Type.RECOVERY_CODES)
    events.record(
        stream=None,
        kind="factor_reset",
        sentence=f"The second factors of {user.get_full_name()} ({lost}) were reset by {who}:"
        f" {reason.strip()}",
        actor=by,
        via=via,
        now=now,
        payload={
            "user": str(user.pk),
            "types": kinds,
            "reason": reason.strip(),
            "sessions_ended": ended,
        },
    )
    way = WayIn("reset the second factors", f"reset_mfa {user.email} --reason WHY")
    let_roles_wait(user=user, way=way, reason=reason, by=by, now=now, via=via)
    tell_person(
        user,
        subject="Your second factor was reset",
        text=f"{who[0].upper()}{who[1:]} has taken your second factor for the Upgrade Console"
        f" away ({lost}), and your sessions have ended.\n\nThe reason given: {reason.strip()}\n\n"
        f"{waiting_words(user)} "
        "Log in and enrol a new one. If you did not ask for this, tell your administrators at"
        " once: somebody may be trying to act in your name.",
    )
    return kinds

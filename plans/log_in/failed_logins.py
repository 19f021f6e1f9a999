"""Failed log-ins: how many tries somebody has from where, and which of them the trail is told of.

A lock is always on a person *and* an address: whoever tries from elsewhere never locks the operator
out who has to stop a rollout. The counts are in the cache that all processes share.
"""

from datetime import datetime, timedelta

from allauth.core.internal import ratelimit
from django.db import transaction
from django.db.models import F

from plans.models import FailedLogIn, User
from plans.people.account_mail import tell_person
from plans.trail import events

# As allauth writes them: so many tries in so long, for one key.
TRIES = {"second_factor": "5/5m/key"}
FIRST_TOLD, TIMES = 1, 5
# From so many failures of one person in an hour on, single addresses are no longer told.
CROWD = 25
KEPT = timedelta(days=30)
STEPS = {
    FailedLogIn.PASSWORD: "the password",
    FailedLogIn.CODE: "the one-time code",
    FailedLogIn.KEY: "the security key",
    FailedLogIn.SINGLE_SIGN_ON: "the single sign-on",
}


def try_code(user: User, address: str) -> ratelimit.RateLimitUsage | None:
    """Count a try of a code from this address, None after too many; `rollback` takes it back."""
    return ratelimit.consume(
        None,
        app="allauth.mfa",
        action="second_factor",
        config=TRIES,
        key=f"{user.pk}|{address}",
        limit_get=True,
    )


def forget_tries(user: User, address: str) -> None:
    """Give all tries back after a right code."""
    ratelimit.clear(
        None,
        app="allauth.mfa",
        action="second_factor",
        config=TRIES,
        key=f"{user.pk}|{address}",
    )


def is_told(count: int, *, first: int = FIRST_TOLD) -> bool:
    """Tell whether the n-th failure is told: the first, and then whenever they are fivefold."""
    while first < count:
        first *= TIMES
    return count == first


# Durable: the refusal that follows must not undo the count.
@transaction.atomic(durable=True)
def note_failure(*, user: User | None, address: str, step: str, now: datetime, via: str) -> None:
    """Count a failure; tell the trail of the first ones and then ever more rarely.

    Nobody can fill the trail by failing: each person has at most a few events per hour, and all
    the names that nobody has are one person.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    everywhere = _count(hour, user, "", step)
    here = _count(hour, user, address, step)
    if everywhere == 1:
        FailedLogIn.objects.filter(hour__lt=now - KEPT).delete()
    if everywhere <= CROWD:
        # Anybody can mistype a name; a name that nobody has is worth a line from the fifth on.
        if is_told(here, first=FIRST_TOLD if user is not None else TIMES):
            _tell(user, address, step, here, now, via)
    elif is_told(everywhere):
        _tell(user, "", step, everywhere, now, via)
    if user is not None and step == FailedLogIn.CODE and everywhere == CROWD:
        # Whoever gets as far as the code has given the right password.
        tell_person(
            user,
            subject="Somebody knows your password",
            text=f"Within an hour {CROWD} wrong one-time codes were given for your account of the"
            " Upgrade Console, after the right password. If it was not you, change your password"
            " and tell your administrators.",
        )


def _count(hour: datetime, user: User | None, address: str, step: str) -> int:
    row, _made = FailedLogIn.objects.get_or_create(
        hour=hour, subject=str(user.pk) if user else "", address=address, step=step
    )
    FailedLogIn.objects.filter(pk=row.pk).update(count=F("count") + 1)
    return FailedLogIn.objects.values_list("count", flat=True).get(pk=row.pk)


def _tell(user: User | None, address: str, step: str, count: int, now: datetime, via: str) -> None:
    who = f"as {user.get_full_name()}" if user is not None else "under names that nobody here has"
    # Which one it was stands beside the event, where it can be erased.
    where = "from one address" if address else "from several addresses"
    often = "" if count == 1 else f" {count} times within an hour"
    events.record(
        stream=None,
        kind="login_failed",
        sentence=f"Logging in {who} {where} failed at {STEPS[step]}{often}.",
        actor=None,
        via=via,
        now=now,
        payload={
            "user": str(user.pk) if user else None,
            "step": step,
            "count": count,
        },
    )

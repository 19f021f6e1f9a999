"""Whose account at the company's log-in a person's is: bound once, released by an administrator.

Whoever has taken over an address at the provider comes with another subject there, and with that
address called verified. So the first subject stays until somebody who knows the person releases it.
"""

import uuid
from datetime import datetime, timedelta

from allauth.socialaccount.models import SocialAccount
from django.db import transaction

from plans.log_in.sessions import end_sessions
from plans.models import Event, User
from plans.people.account_mail import tell_person
from plans.people.permissions import require
from plans.people.role_records import who
from plans.people.ways_in import WayIn, let_roles_wait, waiting_words
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail import events

TOLD_AGAIN = timedelta(hours=1)


class NotBound(Refused):
    """No account at the company's log-in is bound to the person."""

    default_code = "not_bound"


def is_of_issuer(*, user: User, subject: str, issuer: str) -> bool:
    """Tell whether the subject that is bound to the person is one of this issuer.

    A subject means one person at one issuer; at another one it may be anybody's.
    """
    bound = Event.objects.told_of(None).filter(
        kind="sso_connected", actor=user, payload__subject=subject
    )
    last = bound.order_by("-seq").first()
    return last is None or bool(last.payload["issuer"] == issuer)


@transaction.atomic
def refuse_second_subject(
    *, user: User, provider: str, subject: str, issuer: str, now: datetime
) -> None:
    """Tell the trail, and the person by mail, that another account came with their address.

    Once an hour for each: whoever tries on and on fills neither the trail nor the mailbox.
    """
    events.lock_system_stream()
    told = Event.objects.told_of(None).filter(
        kind="sso_refused",
        at__gt=now - TOLD_AGAIN,
        payload__user=str(user.pk),
        payload__subject=subject,
    )
    if told.exists():
        return
    events.record(
        stream=None,
        kind="sso_refused",
        sentence=f"Another account at {provider} came with the address of {user.get_full_name()}"
        " and was refused: theirs is bound to the one of their first log-in.",
        actor=None,
        via="sso",
        now=now,
        payload={"user": str(user.pk), "subject": subject, "issuer": issuer},
    )
    tell_person(
        user,
        subject="Another account tried to log in as you",
        text=f"Another account at {provider} tried to log in to the Upgrade Console with your"
        " e-mail address and was refused. If your account there was made anew, tell an"
        " administrator of the console. If not, tell them and your company's help desk at once:"
        " somebody may have taken over your address.",
    )


@transaction.atomic
def release_log_in(
    *, user_id: uuid.UUID, reason: str, by: User | None, now: datetime, via: str
) -> User:
    """Release the person's account at the company's log-in: the next one is found by the address.

    It opens a way into the account: sessions end, the person is told by mail, and what they approve
    with waits for another administrator (`let_roles_wait`). `by` None is a command run on the
    machine itself. Raise BadInput without a reason, NotAllowed unless `by` administers and is
    somebody else, NotBound when there is nothing to release, NoSecondPerson where nobody could
    confirm.
    """
    if by is not None:
        require(by, "administer")
        if by.pk == user_id:
            raise NotAllowed(
                "Another administrator has to release your own log-in, or whoever may run"
                " `manage.py release_log_in` on the machine: a stolen session must not.",
                code="own_log_in",
            )
    if not reason.strip():
        raise BadInput(["reason: say how you know that it is really this person who asks"])
    events.lock_system_stream()
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such person.")
    bound = list(SocialAccount.objects.filter(user=user).order_by("pk"))
    if not bound:
        raise NotBound(
            f"No log-in at the company is bound to {user.get_full_name()}; there is nothing to"
            " release."
        )
    SocialAccount.objects.filter(pk__in=[one.pk for one in bound]).delete()
    ended = end_sessions(user)
    events.record(
        stream=None,
        kind="sso_released",
        sentence=f"{who(by)} released the log-in at the company of {user.get_full_name()}; the next"
        f" one with their address is bound: {reason.strip()}",
        actor=by,
        via=via,
        now=now,
        payload={
            "user": str(user.pk),
            "subjects": [one.uid for one in bound],
            "reason": reason.strip(),
            "sessions_ended": ended,
        },
    )
    way = WayIn("released the log-in at the company", f"release_log_in {user.email} --reason WHY")
    let_roles_wait(user=user, way=way, reason=reason, by=by, now=now, via=via)
    tell_person(
        user,
        subject="Your log-in at the company was released",
        text=f"{who(by)} released the company's account that was bound to yours at the Upgrade"
        " Console, and your sessions have ended. The next log-in there with your e-mail address is"
        f" bound.\n\nThe reason given: {reason.strip()}\n\n{waiting_words(user)} If you did not ask"
        " for this, tell your administrators at once: somebody may be trying to act in your name.",
    )
    return user

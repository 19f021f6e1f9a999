"""What administrators write into somebody's account: a password, an e-mail address, a name.

The first two are ways into it. People change their own password by themselves, with the old one or
by mail; that goes past here and opens nothing to anybody else.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from plans.log_in.sessions import end_sessions
from plans.models import User
from plans.people.account_mail import tell_person
from plans.people.permissions import require
from plans.people.role_records import who
from plans.people.ways_in import WayIn, let_roles_wait, waiting_words
from plans.reading_direction import turning_problems
from plans.refusal import BadInput, NotFound
from plans.trail import events

WRITTEN_HERE = ("name", "is_staff")


@transaction.atomic
def set_password(
    *,
    user_id: uuid.UUID,
    password: str | None,
    reason: str,
    by: User | None,
    now: datetime,
    via: str,
) -> User:
    """Set a person's password, or None for none: they come in by single sign-on alone then.

    Their sessions end, a mail tells them, and what they approve with waits for another
    administrator (`let_roles_wait`), unless the password is taken away. `by` None is a command run
    on the machine itself. Raise BadInput without a reason, NoSecondPerson where nobody could
    confirm. Whether the password is good enough, the caller has asked.
    """
    if by is not None:
        require(by, "administer")
    if not reason.strip():
        raise BadInput(["reason: say how you know that it is really this person who asks"])
    events.lock_system_stream()
    user = _person(user_id)
    if password is None:
        user.set_unusable_password()
    else:
        user.set_password(password)
    user.save(update_fields=["password"])
    ended = end_sessions(user)
    did = "set a password for" if password is not None else "took the password away from"
    events.record(
        stream=None,
        kind="person_password_set" if password is not None else "person_password_removed",
        sentence=f"{who(by)} {did} {user.get_full_name()}: {reason.strip()}",
        actor=by,
        via=via,
        now=now,
        payload={"user": str(user.pk), "reason": reason.strip(), "sessions_ended": ended},
    )
    if password is not None:
        way = WayIn("set the password", f"set_password {user.email} --reason WHY")
        let_roles_wait(user=user, way=way, reason=reason, by=by, now=now, via=via)
    tell_person(
        user,
        subject="Your password was changed",
        text=f"{who(by)} {did} your account of the Upgrade Console, and your sessions have ended."
        f"\n\nThe reason given: {reason.strip()}\n\n{waiting_words(user)} If you did not ask for"
        " this, tell your administrators at once: somebody may be trying to act in your name.",
    )
    return user


@transaction.atomic
def change_email(
    *, user_id: uuid.UUID, email: str, reason: str, by: User | None, now: datetime, via: str
) -> User:
    """Write another e-mail address, by which a person logs in and gets the link to a new password.

    Nothing of the old address leads in any more, nor a log-in at the company that was found by it:
    the next one is found by the new address. Both addresses get a mail, and what the person
    approves with waits for another administrator (`let_roles_wait`). `by` None is a command run on
    the machine itself. Raise BadInput for an address that is none, is the same, or is taken, and
    NoSecondPerson where nobody could confirm.
    """
    if by is not None:
        require(by, "administer")
    events.lock_system_stream()
    user = _person(user_id)
    new, old = email.strip().lower(), user.email
    if problems := _problems_with(new, user):
        raise BadInput(problems)
    text = (
        f"{who(by)} changed the e-mail address of {user.get_full_name()} at the Upgrade Console"
        f" from {old} to {new}. If you did not ask for this, tell your administrators at once:"
        " somebody may be trying to act in your name."
    )
    tell_person(user, subject="Your e-mail address was changed", text=text)
    user.email = new
    user.save(update_fields=["email"])
    EmailAddress.objects.filter(user=user).delete()
    unbound, _kinds = SocialAccount.objects.filter(user=user).delete()
    why = f" ({reason.strip()})" if reason.strip() else ""
    events.record(
        stream=None,
        kind="person_email_changed",
        sentence=f"{who(by)} changed the e-mail address of {user.get_full_name()} from {old} to"
        f" {new}{why}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "user": str(user.pk),
            "old": old,
            "new": new,
            "reason": reason.strip(),
            "company_log_in_unbound": bool(unbound),
        },
    )
    said = f"from {old} to {new}{why}"
    way = WayIn("changed the e-mail address", f"change_email {old} {new} --reason WHY")
    let_roles_wait(user=user, way=way, reason=said, by=by, now=now, via=via)
    tell_person(
        user, subject="Your e-mail address was changed", text=f"{text} {waiting_words(user)}"
    )
    return user


@transaction.atomic
def change_person(
    *, user_id: uuid.UUID, changes: Mapping[str, Any], by: User, now: datetime, via: str
) -> User:
    """Write a person's name, or whether they see the admin, and nothing else of their row.

    What somebody else wrote meanwhile stays: a password, an address, that they are let in no more.
    Raise BadInput for what has a use case of its own, and for an empty name.
    """
    require(by, "administer")
    problems = [f"{name}: it is not written here" for name in changes if name not in WRITTEN_HERE]
    if not str(changes.get("name", "-")).strip():
        problems.append("name: say what the person is called")
    problems += turning_problems(str(changes.get("name", "")))
    if problems:
        raise BadInput(problems)
    events.lock_system_stream()
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such person.")
    written = [name for name, value in changes.items() if getattr(user, name) != value]
    if not written:
        return user
    for name in written:
        setattr(user, name, changes[name])
    user.save(update_fields=written)
    events.record(
        stream=None,
        kind="user_changed",
        sentence=f"{by.get_full_name()} changed the person {user} ({', '.join(written)}).",
        actor=by,
        via=via,
        now=now,
        payload={"id": str(user.pk), "fields": written},
    )
    return user


def _problems_with(email: str, user: User) -> list[str]:
    try:
        validate_email(email)
    except ValidationError:
        return [f"email: {email!r} is no e-mail address"]
    if email == user.email.lower():
        return [f"email: {user.get_full_name()} has this address already"]
    if User.objects.filter(email__iexact=email).exclude(pk=user.pk).exists():
        return [f"email: somebody else has the address {email}"]
    return []


def _person(user_id: uuid.UUID) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such person.")
    return user

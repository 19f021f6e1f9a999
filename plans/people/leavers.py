"""People who leave, and who come back: an account, its roles and its tokens end together."""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from plans.counted_words import counted
from plans.log_in.sessions import end_sessions
from plans.models import ApiToken, RoleBinding, RoleRequest, User
from plans.people.permissions import require
from plans.people.role_giving import refuse_last_administrator
from plans.people.role_records import because, end_bindings, who
from plans.refusal import BadInput, NotFound, Refused
from plans.trail import events


@transaction.atomic
def let_go(*, user_id: uuid.UUID, why: str, by: User | None, now: datetime, via: str) -> User:
    """Let a person in no more: their account, every role and every token end at once.

    Letting them in again (`let_in`) brings no role back.
    """
    if by is not None:
        require(by, "administer")
    if not why.strip():
        raise BadInput(["reason: say why they may come in no more"])
    events.lock_system_stream()
    user = _person(user_id)
    if not user.is_active:
        raise Refused(f"{user.get_full_name()} is not active already.", code="not_active")
    held = list(RoleBinding.objects.filter(user=user, ended_at=None))
    refuse_last_administrator({binding.pk for binding in held}, now)
    user.is_active = False
    user.save(update_fields=["is_active"])
    # Else a session of theirs would live on for who lets them in again.
    end_sessions(user)
    end_bindings(held, why.strip(), by, now)
    tokens = ApiToken.objects.good(now).filter(user=user).update(revoked_at=now, revoked_by=by)
    open_requests = RoleRequest.objects.filter(Q(user=user) | Q(asked_by=user), outcome="")
    open_requests.update(
        outcome=RoleRequest.WITHDRAWN, decided_by=by, decided_at=now, decided_why=why.strip()
    )
    events.record(
        stream=None,
        kind="person_let_go",
        sentence=f"{who(by)} let {user.get_full_name()} in no more:"
        f" {counted(len(held), 'role')} and {counted(tokens, 'token')} ended{because(why)}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "user": str(user.pk),
            "roles": [str(binding.pk) for binding in held],
            "tokens": tokens,
            "reason": why.strip(),
        },
    )
    return user


@transaction.atomic
def let_in(*, user_id: uuid.UUID, by: User, now: datetime, via: str) -> User:
    """Let a person in again; roles are given anew."""
    require(by, "administer")
    events.lock_system_stream()
    user = _person(user_id)
    if user.is_active:
        raise Refused(f"{user.get_full_name()} is active already.", code="is_active")
    user.is_active = True
    user.save(update_fields=["is_active"])
    events.record(
        stream=None,
        kind="person_let_in",
        sentence=f"{by.get_full_name()} let {user.get_full_name()} in again, without any role.",
        actor=by,
        via=via,
        now=now,
        payload={"user": str(user.pk)},
    )
    return user


def _person(user_id: uuid.UUID) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such person.")
    return user

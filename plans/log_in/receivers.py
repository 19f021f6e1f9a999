"""What allauth announces about logging in and second factors, told to the trail."""

from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.account.signals import password_changed, password_reset, user_logged_in
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.contrib.auth.signals import user_logged_in as session_began
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from plans.counted_words import counted
from plans.log_in import second_factors
from plans.log_in.session_life import note_beginning
from plans.log_in.step_up import StepUp, tell_step_up
from plans.models import User
from plans.people.account_mail import tell_person
from plans.trail import events


def connect() -> None:
    """Listen, once, at start."""
    session_began.connect(_begin, dispatch_uid="console.session_began")
    user_logged_in.connect(_logged_in, dispatch_uid="console.logged_in")
    user_logged_out.connect(_logged_out, dispatch_uid="console.logged_out")
    password_changed.connect(_password_changed, dispatch_uid="console.password_changed")
    password_reset.connect(_password_changed, dispatch_uid="console.password_reset")
    mfa.authenticator_added.connect(_enrolled, dispatch_uid="console.factor_enrolled")
    mfa.authenticator_removed.connect(_removed, dispatch_uid="console.factor_removed")
    mfa.authenticator_reset.connect(_renewed, dispatch_uid="console.codes_renewed")
    mfa.authenticator_used.connect(_used, dispatch_uid="console.factor_used")


def _begin(sender: object, request: HttpRequest, **kwargs: Any) -> None:
    note_beginning(request, now=timezone.now())


def _tell(request: HttpRequest, user: User, kind: str, did: str, **payload: Any) -> None:
    with transaction.atomic():
        events.record(
            stream=None,
            kind=kind,
            sentence=f"{user.get_full_name()} {did}.",
            actor=user,
            via="page",
            now=timezone.now(),
            payload=payload,
        )


def _logged_in(sender: object, request: HttpRequest, user: User, **kwargs: Any) -> None:
    records = get_authentication_records(request, user)
    methods = [str(record.get("type") or record["method"]) for record in records]
    how = second_factors.words_of(methods)
    left = ""
    if "recovery_codes" in methods:
        left = f" ({counted(second_factors.recovery_codes_left(user), 'is', 'are')} left)"
    _tell(request, user, "logged_in", f"logged in with {how}{left}", methods=methods)


def _logged_out(sender: object, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _tell(request, user, "logged_out", "logged out")


def _password_changed(sender: object, request: HttpRequest, user: User, **kwargs: Any) -> None:
    _tell(request, user, "password_changed", "changed their password")
    tell_person(
        user,
        subject="Your password was changed",
        text="Your password for the Upgrade Console was changed. If it was not you, tell your"
        " administrators at once.",
    )


def _enrolled(
    sender: object, request: HttpRequest, user: User, authenticator: Any, **kwargs: Any
) -> None:
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        # Made by themselves with the first factor, whose own line stands in the trail.
        return
    if authenticator.type == Authenticator.Type.TOTP:
        second_factors.use_up_current_period(authenticator, now=timezone.now())
    # The session has seen the factor, so nobody is asked for it at once; it is no step-up.
    record_authentication(
        request, user, "mfa", id=authenticator.pk, type=authenticator.type, enrolled=True
    )
    what = second_factors.words_of([authenticator.type])
    _tell(request, user, "factor_enrolled", f"enrolled {what}", type=authenticator.type)
    tell_person(
        user,
        subject="A second factor was enrolled",
        text=f"{what[0].upper()}{what[1:]} was enrolled for your account of the Upgrade Console."
        " If it was not you, tell your administrators at once: they can take it away and end your"
        " sessions.",
    )


def _removed(
    sender: object, request: HttpRequest, user: User, authenticator: Any, **kwargs: Any
) -> None:
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        return
    what = second_factors.words_of([authenticator.type])
    _tell(request, user, "factor_removed", f"removed {what}", type=authenticator.type)
    tell_person(
        user,
        subject="A second factor was removed",
        text=f"{what[0].upper()}{what[1:]} was removed from your account of the Upgrade Console."
        " If it was not you, tell your administrators at once.",
    )


def _renewed(sender: object, request: HttpRequest, user: User, **kwargs: Any) -> None:
    _tell(request, user, "recovery_codes_renewed", "made new recovery codes")
    tell_person(
        user,
        subject="New recovery codes were made",
        text="Your earlier recovery codes for the Upgrade Console are no longer good. If it was"
        " not you who made new ones, tell your administrators at once.",
    )


def _used(
    sender: object,
    request: HttpRequest,
    user: User,
    authenticator: Any,
    reauthenticated: bool = False,
    **kwargs: Any,
) -> None:
    if reauthenticated:
        stepped_up = StepUp((str(authenticator.type),), timezone.now())
        question = getattr(request, "step_up_for", None)
        words, jti = (question.words, question.jti) if question is not None else ("", "")
        tell_step_up(user, stepped_up, via="page", words=words, grant=jti)

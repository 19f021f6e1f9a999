"""The forms in which a second factor is given: at log-in, and once more for a step-up."""

from typing import Any

from allauth.core import context
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AuthenticateWebAuthnForm
from allauth.mfa.webauthn.internal import auth as webauthn
from django import forms
from django.db import transaction
from django.utils import timezone

from plans.log_in import failed_logins, second_factors
from plans.log_in.bound_step_up import Asked
from plans.log_in.proof_of_content import challenge_in
from plans.models import FailedLogIn, User
from plans.trail.client_address import client_address


class CodeForm(forms.Form):
    """A one-time code of an app, or a recovery code."""

    code = forms.CharField(
        label="One-time code",
        max_length=40,
        help_text="The six digits that your authenticator app shows now, or a recovery code.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "inputmode": "numeric",
                "autofocus": True,
                "class": "mono",
            }
        ),
    )
    reauthenticated = False

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_code(self) -> str:
        """Use the code up; refuse a sixth wrong one within five minutes from one address."""
        address = client_address(context.request)
        if failed_logins.try_code(self.user, address) is None:
            raise forms.ValidationError(
                "Too many wrong codes from this address. Try again in five minutes."
            )
        code: str = self.cleaned_data["code"]
        try:
            # Durable: nothing that follows makes the code good again.
            with transaction.atomic(durable=True):
                self.authenticator: Authenticator = second_factors.use_code(
                    user=self.user, code=code, now=timezone.now()
                )
        except second_factors.WrongCode as wrong:
            _note(self.user, FailedLogIn.CODE)
            raise forms.ValidationError(wrong.sentence) from wrong
        failed_logins.forget_tries(self.user, address)
        return code

    def save(self) -> None:
        """Write the factor into the session's log."""
        post_authentication(
            context.request, self.authenticator, reauthenticated=self.reauthenticated
        )


class StepUpCodeForm(CodeForm):
    """A code that is asked for within a session."""

    reauthenticated = True
    answer = None

    @property
    def factor(self) -> Authenticator:
        """Return the factor that was given."""
        return self.authenticator


class KeyForm(AuthenticateWebAuthnForm):
    """The answer of a passkey or security key; there is nothing to guess, so nothing is locked."""

    def clean_credential(self) -> Authenticator:
        """Return the key that answered; a wrong answer is counted for the trail."""
        credential = self.cleaned_data["credential"]
        try:
            webauthn.parse_authentication_response(credential)
            return webauthn.complete_authentication(self.user, credential)
        except forms.ValidationError as wrong:
            _note(self.user, FailedLogIn.KEY)
            raise forms.ValidationError(
                "This key did not answer rightly. Load the page again and try once more."
            ) from wrong


class StepUpKeyForm(KeyForm):
    """A key that is asked for within a session; `about` is what it has to answer for, if any."""

    reauthenticated = True

    def __init__(self, *args: Any, about: Asked | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.about = about
        self.answer: dict[str, Any] | None = None

    def clean_credential(self) -> Authenticator:
        """Return the key; refuse an answer that was given for something else."""
        answer = self.cleaned_data["credential"]
        factor = super().clean_credential()
        if self.about is not None:
            if challenge_in(answer) != self.about.challenge:
                raise forms.ValidationError(
                    "The key answered for something else. Load the page again and try once more."
                )
            self.answer = {
                "id": answer["id"],
                "type": "public-key",
                "response": {
                    name: answer["response"][name]
                    for name in ("clientDataJSON", "authenticatorData", "signature")
                },
                "registered": str(factor.data["credential"]["response"]["attestationObject"]),
            }
        return factor

    @property
    def factor(self) -> Authenticator:
        """Return the key that answered."""
        factor: Authenticator = self.cleaned_data["credential"]
        return factor


def _note(user: User, step: str) -> None:
    failed_logins.note_failure(
        user=user,
        address=client_address(context.request),
        step=step,
        now=timezone.now(),
        via="page",
    )

"""Step-ups of a session that are good for one act alone: asked for, given, and found again.

What is asked and what was proved stands in the session, on the server's side: the browser knows
names only. So a proof that was given for one plan is not there when another one is approved.
"""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal import auth as webauthn
from django.http import HttpRequest
from fido2.webauthn import UserVerificationRequirement

from plans.log_in.proof_of_content import challenge, content_digest
from plans.log_in.step_up import PROVED, About, still_good
from plans.models import User

ASKED = "step_up_asked"
KEPT_FOR = timedelta(minutes=10)
MOST = 5
"""So many questions, and so many answers, are kept at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A second factor that was asked for: for which grant to come, on which content."""

    name: str
    jti: str
    content: str
    challenge: bytes
    words: str


def ask(request: HttpRequest, about: About, *, now: datetime) -> str:
    """Keep what a second factor is needed for; return the name under which it is asked."""
    jti = str(uuid.uuid4())
    question = {
        "name": secrets.token_urlsafe(12),
        "jti": jti,
        "content": content_digest(about.bound),
        "challenge": challenge(jti, about.bound).hex(),
        "words": about.words,
        "at": now.timestamp(),
    }
    request.session[ASKED] = [*request.session.get(ASKED, []), question][-MOST:]
    return str(question["name"])


def asked(request: HttpRequest, name: str, *, now: datetime) -> Asked | None:
    """Return what was asked under that name, None when it was not or too long ago."""
    for kept in request.session.get(ASKED, []):
        at = datetime.fromtimestamp(kept["at"], tz=UTC)
        if name and kept["name"] == name and now - at <= KEPT_FOR:
            return Asked(
                name, kept["jti"], kept["content"], bytes.fromhex(kept["challenge"]), kept["words"]
            )
    return None


def begin(user: User, question: Asked | None) -> dict[str, Any]:
    """Return the options for the key, whose challenge is the content that was asked about."""
    if question is None:
        return dict(webauthn.begin_authentication(user))
    options, state = webauthn.get_server().authenticate_begin(
        credentials=webauthn.get_credentials(user),
        user_verification=UserVerificationRequirement(app_settings.WEBAUTHN_USER_VERIFICATION),
        challenge=question.challenge,
    )
    webauthn.set_state(state)
    return dict(options)


def note(
    request: HttpRequest,
    question: Asked,
    factor: Authenticator,
    *,
    answer: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    """Keep that the question was answered by this factor; it cannot be answered again."""
    proof = {
        "jti": question.jti,
        "content": question.content,
        "user": str(factor.user_id),
        "id": factor.pk,
        "type": str(factor.type),
        "at": now.timestamp(),
        "answer": answer,
    }
    session = request.session
    session[ASKED] = [kept for kept in session.get(ASKED, []) if kept["name"] != question.name]
    earlier = [kept for kept in session.get(PROVED, []) if still_good(kept, now=now)]
    session[PROVED] = [*earlier, proof][-MOST:]

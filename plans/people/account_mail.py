"""Mails to a person about their own account: after the commit, and never in its way."""

import logging
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction

from plans.models import User

logger = logging.getLogger(__name__)


def tell_person(user: User, *, subject: str, text: str) -> None:
    """Send the person a mail once the transaction is committed; a mail that fails is logged."""
    transaction.on_commit(partial(_send, user.email, subject, text))


def _send(address: str, subject: str, text: str) -> None:
    body = f"{text}\n\n{settings.CONSOLE_URL}\n"
    try:
        send_mail(f"[Upgrade Console] {subject}", body, None, [address])
    except OSError:
        # Every error of smtplib is one; what the mail tells of has happened all the same.
        logger.exception("Could not tell %s by mail: %s", address, subject)

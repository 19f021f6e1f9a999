"""Tell people on this machine what cannot be told through the database: it is away, locked or full.

A line at ERROR in the process's log, the same in a file of the data folder for whatever watches
that, and a mail where addresses are set. None of it may raise: it is told while things fail.
"""

import json
import logging
import threading
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone

logger = logging.getLogger(__name__)


def tell(kind: str, sentence: str) -> None:
    """Tell it by every way that needs no database."""
    logger.error("ALERT %s: %s", kind, sentence)
    line = {"at": timezone.now().isoformat(), "kind": kind, "sentence": sentence}
    try:
        with settings.LOCAL_ALERTS_FILE.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        logger.warning("%s could not be written: %s", settings.LOCAL_ALERTS_FILE, error)
    if settings.LOCAL_ALERT_MAIL:
        # A mail server that is slow must not hold the watch up.
        threading.Thread(
            target=_mail, args=(kind, sentence, settings.LOCAL_ALERT_MAIL), daemon=True
        ).start()


def _mail(kind: str, sentence: str, to: Sequence[str]) -> None:
    try:
        send_mail(
            subject=f"[{settings.INSTANCE_NAME}] {kind}",
            message=f"{sentence}.\n\n{settings.CONSOLE_URL}\n",
            from_email=None,
            recipient_list=list(to),
        )
    except OSError as error:
        logger.warning("Nobody could be told by mail: %s", error)

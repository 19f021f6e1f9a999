"""Tell the owners of a plan and of its tenants by e-mail: one mail per owner and alert."""

import logging
from collections.abc import Sequence
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string

from batches.alerting.kinds import to_do
from reports.models import Delivery

logger = logging.getLogger(__name__)
MOST_TENANTS_NAMED = 50


def message_for(delivery: Delivery) -> EmailMultiAlternatives:
    """Return the mail of one delivery: plain text with the same in HTML."""
    event = delivery.event()
    data: dict[str, Any] = event["data"]
    is_over, owns_plan = data["status"] == "resolved", delivery.target == data["owner"]
    acts = owns_plan or not delivery.tenants
    context = {
        "data": data,
        # Owners of tenants alone have no button.
        "to_do": to_do(data["kind"]) if acts and not is_over else "",
        "at": event["time"],
        "kind": str(data["kind"]).replace("_", " "),
        "is_over": is_over,
        "tenants": delivery.tenants[:MOST_TENANTS_NAMED],
        "more_tenants": max(0, len(delivery.tenants) - MOST_TENANTS_NAMED),
        "owns_plan": owns_plan,
        "administers": not delivery.tenants and data["plan"] is None,
        "could_have_agreed": not delivery.tenants and not owns_plan,
        "instance": settings.INSTANCE_NAME,
    }
    subject = " ".join(render_to_string("reports/mail/alert_subject.txt", context).split())
    message = EmailMultiAlternatives(
        subject=subject,
        body=render_to_string("reports/mail/alert.txt", context),
        to=[delivery.target],
        # The same id on every try, so that a mail reader can tell a repeated one.
        headers={"Message-ID": f"<{event['id']}.{delivery.pk}@upgradeconsole>"},
    )
    message.attach_alternative(render_to_string("reports/mail/alert.html", context), "text/html")
    return message


def send(deliveries: Sequence[Delivery]) -> dict[int, str]:
    """Send all over one connection; return what went wrong by delivery, '' where it was taken."""
    results: dict[int, str] = {}
    connection = get_connection()
    try:
        connection.open()
    except (OSError, SMTPException) as error:
        return {delivery.pk: f"mail server: {error}" for delivery in deliveries}
    try:
        for delivery in deliveries:
            try:
                connection.send_messages([message_for(delivery)])
                results[delivery.pk] = ""
            except (SMTPRecipientsRefused, SMTPResponseException) as error:
                logger.warning("Could not mail delivery %s: %s", delivery.pk, error)
                results[delivery.pk] = f"mail server: {error}"
    except OSError as error:
        # The line is down: the others are not tried one time-out after another.
        logger.warning("The mail server went away: %s", error)
        for delivery in deliveries:
            results.setdefault(delivery.pk, f"mail server: {error}")
    finally:
        connection.close()
    return results

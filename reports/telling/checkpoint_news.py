"""Tell machines of checkpoints: those that asked for the kind `audit_checkpoint` by its name."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from plans.chain import timestamp
from plans.models import Checkpoint
from reports.models import Announcement, Delivery, Endpoint

KIND = "audit_checkpoint"
EVENT_TYPE = "plugin.version.audit.checkpoint"


@transaction.atomic
def announce_checkpoint(*, checkpoint: Checkpoint, now: datetime) -> Announcement | None:
    """Write the event and a delivery for each machine that wants it; None where none does."""
    # Not to those that want everything: that means alerts, and these come every five minutes.
    wanting = [row for row in Endpoint.objects.filter(active=True) if KIND in row.kinds]
    if not wanting:
        return None
    announcement = Announcement.objects.create(
        alert=None,
        status=Announcement.SIGNED,
        event=cloud_event(checkpoint),
        made_at=now,
    )
    # Two endpoints of one address are told once.
    targets = {row.url: row for row in wanting}
    Delivery.objects.bulk_create(
        Delivery(
            announcement=announcement,
            channel=Delivery.WEBHOOK,
            target=url,
            endpoint=row,
            next_at=now,
        )
        for url, row in targets.items()
    )
    return announcement


def cloud_event(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the CloudEvent; whoever keeps its text can prove later what the trail was."""
    named = f"{settings.CONSOLE_URL}/checkpoints/{checkpoint.log}/{checkpoint.number}"
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, named)),
        "source": f"/upgradeconsole/{settings.INSTANCE_NAME}",
        "type": EVENT_TYPE,
        "subject": f"checkpoint/{checkpoint.number}",
        "time": timestamp(checkpoint.at),
        "datacontenttype": "application/json",
        "data": {
            "number": checkpoint.number,
            "size": checkpoint.size,
            "kid": checkpoint.kid,
            "why": checkpoint.why,
            "checkpoint": checkpoint.text,
        },
    }

"""The messages of the live page, as JSON values: event, samples, counts, answers, tick, gap.

A text frame on the socket is a JSON array of messages, each an object with its `type`.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from batches.evidence import evidence_chart
from batches.looks import charts
from batches.models import DeployerCall, EvidenceLook, Heartbeat, KpiSample
from plans.models import Event

Message = dict[str, Any]

ALARMING = (
    "breach",
    "failed",
    "missed",
    "needs_hand",
    "escalat",
    "firing",
    "rejected",
    "overridden",
    "glass_broken",
    "quarantined",
    "distrusted",
)
TAKING_BACK = ("rollback", "rolled_back", "restor", "settled")
HALTING = (
    *("pause", "hold", "held", "expired", "cancelled", "overrun"),
    *("stopped", "freeze", "waits", "lagged"),
)
GOOD = ("completed", "passed", "approved", "resolved", "approval_given", "verified")


def frame(messages: Sequence[Message]) -> str:
    """Return the text of one frame."""
    return json.dumps(messages, cls=DjangoJSONEncoder, separators=(",", ":"))


def tone(kind: str) -> str:
    """Return how loud an event of this kind is: alarm, back, halt, good, detail or plain."""
    if kind == "tenants_moved":
        return "detail"
    for name, words in (
        ("alarm", ALARMING),
        ("back", TAKING_BACK),
        ("halt", HALTING),
        ("good", GOOD),
    ):
        if any(word in kind for word in words):
            return name
    return "plain"


def event(row: Event) -> Message:
    """Return an event of the trail as the page shows it."""
    return {
        "type": "event",
        "seq": row.seq,
        "kind": row.kind,
        "tone": tone(row.kind),
        "sentence": row.sentence,
        "at": row.at,
        "actor": row.actor_name,
        "via": row.via,
    }


def samples(rows: Iterable[KpiSample]) -> list[Message]:
    """Return one message per Kpi with the points that these looks add to its chart."""
    points: dict[str, list[charts.Point]] = {}
    for row in rows:
        points.setdefault(row.kpi, []).extend(charts.points_of(row))
    return [
        {"type": "samples", "kpi": kpi, "points": [point.to_json() for point in added]}
        for kpi, added in points.items()
        if added
    ]


def evidence(rows: Iterable[EvidenceLook]) -> list[Message]:
    """Return what these looks add to the charts of the evidence."""
    points: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        points.setdefault(evidence_chart.KPI, []).extend(evidence_chart.points_of_look(row))
        ratio = points.setdefault(evidence_chart.ratio_key(row.kpi), [])
        ratio.extend(evidence_chart.ratio_points(row))
    return [{"type": "samples", "kpi": key, "points": added} for key, added in points.items()]


def counts(of: dict[str, int]) -> Message:
    """Return how many tenants of the plan are in each state."""
    return {"type": "counts", "counts": of}


def answers(calls: Iterable[DeployerCall]) -> Message:
    """Return what the deployers answered; the texts were masked before they were stored."""
    return {
        "type": "answers",
        "answers": [
            {
                "id": call.pk,
                "tenant": call.upgrade.tenant_key,
                "direction": call.direction,
                "attempt": call.attempt,
                "outcome": call.outcome,
                "status": call.status,
                "text": call.answer,
                "at": call.ended_at,
                "seconds": call.seconds(),
            }
            for call in calls
        ],
    }


def watch_age(now: datetime) -> float | None:
    """Return the seconds since a watch was last heard of, None when none ever was."""
    at = Heartbeat.objects.filter(kind="watch").order_by("-at").values_list("at", flat=True).first()
    return None if at is None else round(max(0.0, (now - at).total_seconds()), 1)


def tick(now: datetime) -> Message:
    """Return the server's time and how long the watch has been silent."""
    return {"type": "tick", "server_time": now, "watch_age": watch_age(now)}


def gap() -> Message:
    """Return the word that something was left out: ask for a snapshot."""
    return {"type": "gap"}

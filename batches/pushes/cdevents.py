"""A CDEvent in a CloudEvent -> what a pipeline tells us. Pure.

https://cdevents.dev: the type is dev.cdevents.SUBJECT.PREDICATE.VERSION; the body has a context, a
subject with its content, and customData that is the sender's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from batches.deployers.answer_text import presentable, storable
from batches.deployers.json_path import MISSING, look_up

LONGEST: Final = 300
_TYPE: Final = re.compile(r"dev\.cdevents\.([a-z]{1,40})\.([a-z]{1,40})\.\d+\.\d+\.\d+[\w.\-]*")
_PURL: Final = re.compile(r"pkg:[^/]+/(?:[^@?#]*/)?(?P<name>[^@/?#]+)(?:@(?P<version>[^?#]+))?")
_SHA256: Final = re.compile(r"sha256:([0-9a-f]{64})")
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}")
_BAD: Final = frozenset({"fail", "failed", "failure", "error", "errored"})
_GOOD: Final = frozenset({"pass", "passed", "success", "succeeded"})
_SUBJECTS: Final = {
    "pipelinerun": "Pipeline",
    "taskrun": "Task",
    "testsuiterun": "Test suite",
    "testcaserun": "Test case",
    "build": "Build",
    "artifact": "Artifact",
    "service": "Service",
    "incident": "Incident",
    "environment": "Environment",
    "ticket": "Ticket",
}
_QUIET: Final = frozenset({"testcaserun", "taskrun", "testoutput"})
"""Subjects that come by the hundred: they count, but a timeline would drown in them."""
_NAMES: Final = ("pipelineName", "taskName", "testSuite.name", "testCase.name", "name")
_TENANTS: Final = (
    "$.customData.tenant",
    "$.subject.content.environment.id",
)


class NotACDEvent(Exception):
    """The event cannot be used; the text names the member and says what to write."""


@dataclass(frozen=True, slots=True)
class PipelineNews:
    """What one event says. Empty texts where it says nothing."""

    origin: str
    event_id: str
    subject: str
    predicate: str
    subject_id: str
    at: datetime
    name: str = ""
    outcome: str = ""
    reason: str = ""
    tenant: str = ""
    plugin: str = ""
    version: str = ""
    digest: str = ""
    plan: str = ""
    suite_run: str = ""

    @property
    def kind(self) -> str:
        """Return subject and predicate."""
        return f"{self.subject}.{self.predicate}"

    @property
    def good(self) -> bool | None:
        """Tell how it ended, None where it did not or nobody says."""
        if self.outcome in _BAD:
            return False
        return True if self.outcome in _GOOD else None

    @property
    def for_timeline(self) -> bool:
        """Tell whether a plan's timeline should have it."""
        return self.subject not in _QUIET and self.predicate != "queued"

    @property
    def sentence(self) -> str:
        """Return what happened, in words."""
        what = _SUBJECTS.get(self.subject, self.subject.capitalize())
        told = f"{what} {self.name or self.subject_id} {_words(self.predicate)}"
        if self.outcome:
            told += f": {self.outcome}"
        if self.reason:
            told += f" ({self.reason})"
        where = f" in {self.tenant}" if self.tenant else ""
        return f"{told}{where}, says {self.origin}."


def read_cdevent(
    attributes: Mapping[str, Any], body: object, *, now: datetime, tenant_path: str | None = None
) -> PipelineNews:
    """Return the news of a CloudEvent's attributes and its data. Raises NotACDEvent.

    `tenant_path`: where these pipelines name the tenant; else customData.tenant or the environment.
    """
    if attributes.get("specversion") != "1.0":
        raise NotACDEvent("specversion: write '1.0', the version of CloudEvents")
    kind = _TYPE.fullmatch(str(attributes.get("type", "")))
    if kind is None:
        raise NotACDEvent(
            f"type: '{str(attributes.get('type', ''))[:80]}' is no type of a CDEvent such as"
            " dev.cdevents.testsuiterun.finished.0.2.0"
        )
    if not isinstance(body, dict) or not isinstance(body.get("subject"), dict):
        raise NotACDEvent("data: write the CDEvent with context and subject")
    subject_id = _required(look_up(body, "$.subject.id"), "data.subject.id")
    content = body["subject"].get("content")
    content = content if isinstance(content, dict) else {}
    plugin, version, digest = _artifact(body, content, kind[1], subject_id)
    return PipelineNews(
        origin=_required(attributes.get("source"), "source"),
        event_id=_required(attributes.get("id"), "id", longest=200),
        subject=kind[1],
        predicate=kind[2],
        subject_id=subject_id,
        at=_moment(attributes, body, now),
        name=next((t for n in _NAMES if (t := _text(look_up(content, f"$.{n}")))), ""),
        outcome=_text(content.get("outcome"))[:32].lower(),
        reason=_reason(content),
        tenant=_tenant(body, tenant_path),
        plugin=plugin[:63],
        version=version[:64],
        digest=digest,
        plan=_text(look_up(body, "$.customData.plan"))[:120],
        suite_run=_text(look_up(content, "$.testSuiteRun.id")),
    )


def _artifact(
    body: Mapping[str, Any], content: Mapping[str, Any], subject: str, subject_id: str
) -> tuple[str, str, str]:
    """Return plugin, version and digest of what the event is about."""
    purl = _text(content.get("artifactId")) or (subject_id if subject == "artifact" else "")
    plugin, version, digest = "", "", ""
    found = _PURL.match(purl)
    if found is not None:
        plugin, version = unquote(found["name"]), unquote(found["version"] or "")
    if named := _SHA256.search(unquote(purl).lower()):
        digest = named[1]
    if version.startswith("sha256:"):
        version = ""
    plugin = _text(look_up(body, "$.customData.plugin")) or plugin
    version = _text(look_up(body, "$.customData.version")) or version
    return plugin, version, digest


def _tenant(body: Mapping[str, Any], path: str | None) -> str:
    for place in (path,) if path else _TENANTS:
        tenant = look_up(body, place)
        if isinstance(tenant, str) and _TENANT.fullmatch(tenant):
            return tenant
    return ""


def _reason(content: Mapping[str, Any]) -> str:
    for key in ("reason", "errors", "description"):
        if text := _text(content.get(key)):
            return text[:200]
    return ""


def _moment(attributes: Mapping[str, Any], body: Mapping[str, Any], now: datetime) -> datetime:
    told = look_up(body, "$.context.timestamp")
    if told is MISSING:
        told = attributes.get("time")
    if told is None:
        return now
    try:
        moment = datetime.fromisoformat(told) if isinstance(told, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise NotACDEvent("context.timestamp: write a time with its zone: 2026-01-31T12:00:00Z")


def _required(value: object, place: str, *, longest: int = LONGEST) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise NotACDEvent(f"{place}: write a text of 1 to {longest} characters")
    if not storable(value):
        raise NotACDEvent(f"{place}: holds characters that cannot be kept")
    return presentable(value)[:longest]


def _text(value: object) -> str:
    """Return a text of the event fit to be stored and shown, empty where there is none."""
    return presentable(value)[:LONGEST] if isinstance(value, str) and storable(value) else ""


def _words(predicate: str) -> str:
    return {"rolledback": "rolled back"}.get(predicate, predicate)

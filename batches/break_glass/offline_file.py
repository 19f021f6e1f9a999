"""The break-glass files beside the database: what every touched tenant was before, line by line.

One file per plan, JSON lines, only ever appended to. Each line carries a MAC of this installation,
so a file from elsewhere or a changed line is refused. A line that was cut off by a crash in its
writing is left out; the call that it announces was not sent either. Pure: no clock, no settings.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from batches.deployers import Direction

FORMAT = "upgradeconsole/offline-rollback/1"


class NotOurs(ValueError):
    """Raised with the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Touched:
    """One tenant as it was right before its first call."""

    tenant: str
    version_before: str
    config_before: object | None
    at: datetime
    digest_before: str = ""


@dataclass(slots=True)
class OfflinePlan:
    """What of a plan is needed to take it back without its database."""

    plan: str
    external_id: str
    plugin: str
    deployer: str
    target: str
    parallelism: int
    call_timeout: float
    rollback_seconds: float
    touched: dict[str, Touched] = field(default_factory=dict)
    cut_off: bool = False


def _mac(key: bytes, body: str) -> str:
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def lines_of(bodies: Iterable[Mapping[str, Any]], *, key: bytes) -> bytes:
    """Return the lines to append."""
    texts = [json.dumps(body, ensure_ascii=False, sort_keys=True) for body in bodies]
    return "".join(f"{_mac(key, text)} {text}\n" for text in texts).encode()


def append(file: Path, bodies: Iterable[Mapping[str, Any]], *, key: bytes) -> None:
    """Append lines in one write, for the owner's eyes alone. Raises OSError."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        wanted = lines_of(bodies, key=key)
        if os.write(handle, wanted) != len(wanted):
            raise OSError(f"{file}: not all of it could be written")
    finally:
        os.close(handle)


def read_lines(
    file: Path, *, key: bytes, older: Sequence[bytes] = ()
) -> tuple[list[dict[str, Any]], bool]:
    """Return the bodies of all whole lines, and whether a last one was cut off. Raises NotOurs.

    `older` are the keys of before a rotation, of which lines may still be.
    """
    *lines, rest = file.read_text(encoding="utf-8", errors="replace").split("\n")
    bodies = []
    for number, line in enumerate(lines, start=1):
        mac, _space, text = line.partition(" ")
        if not any(
            hmac.compare_digest(mac.encode(), _mac(one, text).encode()) for one in (key, *older)
        ):
            raise NotOurs(
                f"{file}:{number}: this line was not written by this installation, or was changed"
            )
        bodies.append(json.loads(text))
    return bodies, bool(rest)


def header(plan: OfflinePlan) -> dict[str, Any]:
    """Return the first line of a plan's file."""
    return {
        "line": "plan",
        "format": FORMAT,
        "plan": plan.plan,
        "external_id": plan.external_id,
        "plugin": plan.plugin,
        "deployer": plan.deployer,
        "target": plan.target,
        "parallelism": plan.parallelism,
        "call_timeout": plan.call_timeout,
        "rollback_seconds": plan.rollback_seconds,
    }


def touched_line(plan: str, touched: Touched) -> dict[str, Any]:
    """Return the line of one tenant."""
    return {
        "line": "touched",
        "plan": plan,
        "tenant": touched.tenant,
        "version_before": touched.version_before,
        "config_before": touched.config_before,
        "digest_before": touched.digest_before,
        "at": touched.at.isoformat(),
    }


def read_plan(file: Path, *, key: bytes, older: Sequence[bytes] = ()) -> OfflinePlan:
    """Return the plan that a file tells of; of several lines about a tenant the first counts.

    Raises NotOurs.
    """
    bodies, cut_off = read_lines(file, key=key, older=older)
    first = next((body for body in bodies if body.get("line") == "plan"), None)
    if first is None or first.get("format") != FORMAT:
        raise NotOurs(f"{file}: this is no {FORMAT} file")
    plan = OfflinePlan(
        plan=first["plan"],
        external_id=first["external_id"],
        plugin=first["plugin"],
        deployer=first["deployer"],
        target=first["target"],
        parallelism=first["parallelism"],
        call_timeout=first["call_timeout"],
        rollback_seconds=first["rollback_seconds"],
        cut_off=cut_off,
    )
    for body in bodies:
        if body["plan"] != plan.plan:
            raise NotOurs(f"{file}: it has lines of two plans")
        if body["line"] == "touched":
            plan.touched.setdefault(
                body["tenant"],
                Touched(
                    tenant=body["tenant"],
                    version_before=body["version_before"],
                    config_before=body["config_before"],
                    at=datetime.fromisoformat(body["at"]),
                    digest_before=body.get("digest_before", ""),
                ),
            )
    return plan


def restore_key(plan: str, tenant: str, direction: Direction, generation: int) -> str:
    """Return an idempotency key in the form that the journal uses too."""
    return f"{plan}:{tenant}:{direction}:{generation}"

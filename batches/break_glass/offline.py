"""Break-glass files of this installation: written as tenants are touched, read in an emergency.

`manage.py rollback_offline FILE` takes a plan back by its file while the database is away. The
record that this leaves is taken into the trail by the watch as soon as there is a database again,
and the plan, which must not go forward from there, is rolled back and verified as usual.
"""

import hashlib
import logging
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from batches.break_glass.offline_file import (
    NotOurs,
    OfflinePlan,
    Touched,
    append,
    header,
    read_lines,
    touched_line,
)
from batches.rollback.rollback import request_rollback
from plans.counted_words import counted
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput, Refused
from plans.trail import events

logger = logging.getLogger(__name__)

RECORD_SUFFIX = ".replayed.jsonl"
ABANDONED_SECONDS = 600.0
"""After so long without a further line, a record without an end is that of a replay that died."""
NOTHING_TO_TAKE_BACK = ("rolled_back", "cancelled", "archived")


def folder() -> Path:
    """Return the folder of the files; the first plan makes it."""
    path: Path = settings.DATA_DIR / "offline"
    return path


def key() -> bytes:
    """Return the key of this installation's lines."""
    return _key_by(settings.SECRET_KEY)


def older_keys() -> tuple[bytes, ...]:
    """Return the keys of lines that were written before SECRET_KEY was replaced."""
    return tuple(_key_by(secret) for secret in settings.SECRET_KEY_FALLBACKS)


def _key_by(secret: str) -> bytes:
    made = salted_hmac("upgradeconsole.offline", "lines", secret=secret, algorithm="sha256")
    return made.digest()


def file_of(plan_id: Any) -> Path:
    """Return a plan's file."""
    return folder() / f"{uuid.UUID(str(plan_id))}.jsonl"


def open_file(plan: Plan, policy: UpgradePolicy) -> None:
    """Begin the plan's file at its first batch on this machine; none where there is no way back."""
    if plan.release.irreversible:
        return
    try:
        folder().mkdir(mode=0o700, exist_ok=True)
        file = file_of(plan.pk)
        if file.exists():
            return
        facts = OfflinePlan(
            plan=str(plan.pk),
            external_id=plan.external_id,
            plugin=plan.plugin.key,
            deployer=plan.deployer,
            target=plan.release.version,
            parallelism=policy.limits.parallelism,
            call_timeout=policy.limits.call_timeout_seconds,
            rollback_seconds=policy.limits.rollback_seconds,
        )
        append(file, [header(facts)], key=key())
    except OSError as error:
        _not_written(error)


def note_touched(plan_id: Any, touched: Sequence[Touched]) -> None:
    """Write what tenants were before their first call; a disk that fails holds nobody up."""
    file = file_of(plan_id)
    if not touched or not file.exists():
        # Without its beginning nobody could replay it.
        return
    try:
        append(file, [touched_line(str(plan_id), one) for one in touched], key=key())
    except OSError as error:
        _not_written(error)


def _not_written(error: OSError) -> None:
    # The journal in the database has the same; without it there is no offline rollback.
    logger.warning("The file for an offline rollback could not be written: %s", error)


def forget_what_is_over() -> None:
    """Remove the files of plans that cannot be taken back any more."""
    files = {file.stem: file for file in folder().glob("*.jsonl") if file.stem.count(".") == 0}
    over = Plan.objects.filter(pk__in=files, state__in=NOTHING_TO_TAKE_BACK)
    for plan_id in over.values_list("pk", flat=True):
        files[str(plan_id)].unlink(missing_ok=True)


# What was done without the database.


@dataclass(frozen=True, slots=True)
class _Replay:
    plan: str
    by: str
    reason: str
    restored: tuple[str, ...]
    left: dict[str, str]
    calls: int
    ended: bool


def record_of(file: Path, now: datetime) -> Path:
    """Return where a replay of the file that begins now writes what it does."""
    return file.with_name(f"{file.stem}.{int(now.timestamp())}{RECORD_SUFFIX}")


def _read(record: Path) -> _Replay:
    bodies, _cut_off = read_lines(record, key=key(), older=older_keys())
    begun = [body for body in bodies if body["line"] == "begun"]
    if not begun:
        raise NotOurs(f"{record}: it does not say who began")
    moves = [body for body in bodies if body["line"] == "outcome"]
    left = {body["tenant"]: body["error"] for body in moves if body.get("error")}
    restored = {body["tenant"] for body in moves if body["move"] == "restored"}
    return _Replay(
        plan=begun[0]["plan"],
        by=begun[0]["by"],
        reason=begun[0]["reason"],
        restored=tuple(sorted(restored)),
        left={tenant: why for tenant, why in left.items() if tenant not in restored},
        calls=sum(body["line"] == "call" for body in bodies),
        ended=any(body["line"] == "ended" for body in bodies),
    )


def take_in_records(now: datetime) -> None:
    """Take every record of an offline rollback into the trail; stop its plan from going forward.

    A plan is stopped as soon as its record is there; the record itself waits for its end.
    """
    for record in sorted(folder().glob(f"*{RECORD_SUFFIX}")):
        try:
            take_in(record, now=now, via="watch")
        except (NotOurs, BadInput, Refused) as refused:
            logger.error("The record of an offline rollback is put aside: %s", refused)
            with suppress(OSError):
                record.rename(record.with_suffix(".refused"))
        except OSError as error:
            logger.error("The record of an offline rollback cannot be taken in yet: %s", error)


def take_in(record: Path, *, now: datetime, via: str) -> None:
    """Take one record in and put it away. Raises NotOurs, BadInput or Refused."""
    replay = _read(record)
    plan = Plan.objects.filter(pk=replay.plan).first()
    if plan is None:
        raise BadInput([f"{record}: there is no plan {replay.plan} here"])
    why = f"{replay.by} took it back offline: {replay.reason}"
    # A part that goes back right now is widened: offline everything was taken back.
    if str(plan.state) == "rolling_back" or plan.lifecycle.allows(
        str(plan.state), "begin_rollback"
    ):
        request_rollback(plan_id=plan.pk, by=None, reason=why, now=now, via=via, trigger="person")
    if not replay.ended and now.timestamp() - record.stat().st_mtime < ABANDONED_SECONDS:
        return
    with transaction.atomic():
        plan = Plan.objects.locked(plan.pk)
        events.record(
            stream=plan,
            kind="offline_rollback",
            sentence=f"{replay.by} took {counted(len(replay.restored), 'tenant')} back while"
            f" the database was away, with {counted(replay.calls, 'call')};"
            f" {counted(len(replay.left), 'was', 'were')} left. Reason:"
            f" {replay.reason.rstrip('.')}.",
            actor=None,
            via=via,
            now=now,
            payload={
                "by": replay.by,
                "restored": list(replay.restored),
                "left": replay.left,
                "calls": replay.calls,
                "ended": replay.ended,
                "record": record.name,
                "record_sha256": hashlib.sha256(record.read_bytes()).hexdigest(),
            },
        )
    record.rename(record.with_suffix(".taken-in"))

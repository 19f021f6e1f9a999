"""Read the options of `powerx plugin adjust`: what is to change, as the API takes it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ChangeRejected(Exception):
    """An option cannot be read; the message says what to write instead."""


def change_body(
    *,
    guardrails: Sequence[str] = (),
    soaks: Sequence[str] = (),
    limits: Sequence[str] = (),
    policy: str | None = None,
    policy_file: Path | None = None,
) -> dict[str, Any]:
    """Return the members that say what is to change; raise ChangeRejected for none."""
    body: dict[str, Any] = {}
    if guardrails:
        body["guardrails"] = _numbers("--guardrail", guardrails)
    if soaks:
        minutes = _numbers("--soak", soaks)
        body["batches"] = {batch: {"soak_minutes": value} for batch, value in minutes.items()}
    if limits:
        body["limits"] = _numbers("--limit", limits)
    if policy is not None:
        body["policy"] = policy
    if policy_file is not None:
        body["policy_text"] = _text(policy_file)
    if not body:
        raise ChangeRejected(
            "nothing to change: write --guardrail KPI=NUMBER, --soak BATCH=MINUTES,"
            " --limit NAME=NUMBER, --policy NAME or --policy-file FILE"
        )
    return body


def _numbers(option: str, pairs: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair in pairs:
        # A guardrail's own key may hold spaces; the number is what stands behind the last sign.
        name, _equals, written = pair.rpartition("=")
        if not name.strip():
            raise ChangeRejected(f"{option} {pair!r} is not NAME=NUMBER")
        if name.strip() in found:
            raise ChangeRejected(f"{option} names {name.strip()} twice")
        try:
            value = float(written)
        except ValueError as error:
            raise ChangeRejected(f"{option} {pair!r}: {written!r} is not a number") from error
        if not math.isfinite(value):
            raise ChangeRejected(f"{option} {pair!r}: {written!r} is not a finite number")
        found[name.strip()] = int(value) if value.is_integer() else value
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ChangeRejected(f"--policy-file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ChangeRejected(f"--policy-file {path} is not UTF-8; save it so") from error

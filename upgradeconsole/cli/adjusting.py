"""`powerx plugin adjust`: its options, and what is to change as the API takes it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from upgradeconsole.cli import render
from upgradeconsole.cli.client import plan_path
from upgradeconsole.cli.console_options import Output, OutputAs, PlanName, open_console
from upgradeconsole.cli.exit_codes import ExitCode


class ChangeRejected(Exception):
    """An option cannot be read; the message says what to write instead."""


def adjust(
    plan: PlanName,
    reason: Annotated[str, typer.Option("--reason", help="Why; in the trail and the report.")],
    guardrail: Annotated[list[str] | None, typer.Option(help="KPI=NUMBER; repeatable.")] = None,
    soak: Annotated[list[str] | None, typer.Option(help="BATCH=MINUTES; repeatable.")] = None,
    limit: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER; repeatable.")] = None,
    policy: Annotated[str | None, typer.Option(help="Take the newest text of this policy.")] = None,
    policy_file: Annotated[Path | None, typer.Option(help="Take this policy text.")] = None,
    expires_in: Annotated[
        float | None, typer.Option(min=0, help="Minutes after which a loosening is put back.")
    ] = None,
    split: Annotated[
        bool, typer.Option(help="Apply what is tighter now, ask for the rest.")
    ] = True,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would do.")] = False,
    output: OutputAs = Output.table,
) -> int:
    """Change a running plan: what is tighter at once, what is looser after approval."""
    body = change_body(
        guardrails=guardrail or (),
        soaks=soak or (),
        limits=limit or (),
        policy=policy,
        policy_file=policy_file,
    ) | {"reason": reason, "split": split}
    if expires_in is not None:
        body["expires_in_minutes"] = expires_in
    path = plan_path(plan, "adjust")
    answer = open_console().post(f"{path}?preview=1" if preview else path, body)
    if output is Output.json:
        render.print_json(render.terminal(), answer)
    else:
        render.print_change(render.terminal(), answer)
    return ExitCode.BAD_INPUT if answer.get("problems") else ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands this one."""
    group.command()(adjust)


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

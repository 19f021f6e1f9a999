"""The commands around approvals: the signed ones of a plan, and acts without the approvers."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from upgradeconsole.cli import render
from upgradeconsole.cli.client import plan_path
from upgradeconsole.cli.console_options import (
    Code,
    Output,
    OutputAs,
    PlanName,
    open_console,
    with_code,
)
from upgradeconsole.cli.exit_codes import ExitCode


class Act(StrEnum):
    """What cannot wait for the approvers."""

    start = "start"
    promote = "promote"
    loosen = "loosen"


def break_glass(
    plan: PlanName,
    act: Annotated[Act, typer.Option(help="What cannot wait for the approvers.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in at least 20 characters; all of them read it.")
    ],
    batch: Annotated[
        int | None, typer.Option(min=1, help="With promote: only if this batch waits.")
    ] = None,
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Act without the approvers in an emergency; they are told, somebody else reviews it."""
    body: dict[str, Any] = {"act": act.value, "reason": reason} | with_code(code)
    if batch is not None:
        body["batch"] = batch
    done = open_console().post(plan_path(plan, "break-glass"), body)
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, done)
    else:
        out.print(
            f"GLASS BROKEN: {done['act']} of {done['external_id']} without"
            f" {', '.join(done['roles'])}. They are told; somebody else reviews it until"
            f" {done['review_due']}.",
            soft_wrap=True,
        )
    return ExitCode.COMPLETED


def grants(plan: PlanName, output: OutputAs = Output.table) -> int:
    """Show the signed approvals of a plan; with -o json as `grant_verify` takes them."""
    given = open_console().get(plan_path(plan, "grants"))
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, given)
        return ExitCode.COMPLETED
    for one in given:
        used = f"used by {one['op']}" if one["consumed_at"] else one["voided_why"] or "not used"
        role = f" as {one['role']}" if one["role"] else ""
        line = (
            f"{one['approver']}{role}: {one['action']}, proved by"
            f" {' and '.join(one['methods'])}, until {one['expires_at']}; {used}"
        )
        out.print(
            render.printable(line),
            soft_wrap=True,
        )
    return ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands these."""
    for command in (break_glass, grants):
        group.command()(command)

"""The commands for a plan that is under way: retry, exclude, skip, jump, stop and their kin."""

from typing import Annotated, Any

import typer

from upgradeconsole.cli.client import plan_path
from upgradeconsole.cli.console_options import (
    BadUse,
    Code,
    Output,
    OutputAs,
    PlanName,
    Reason,
    open_console,
    show_plan,
    tenant_keys,
    with_code,
)
from upgradeconsole.cli.exit_codes import ExitCode

NeededReason = Annotated[
    str, typer.Option("--reason", help="Why; stands in the audit trail and the report.")
]
Batch = Annotated[int, typer.Option(min=1, help="The number of the batch.")]
Tenants = Annotated[str | None, typer.Option(help="These tenants: keys a,b,c or @FILE.")]
Tenant = Annotated[list[str] | None, typer.Option(help="This tenant; may stand several times.")]


def retry(
    plan: PlanName,
    tenants: Tenants = None,
    tenant: Tenant = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Only of this batch.")] = None,
    reason: Reason = "",
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Have failed tenants called again, and only those; without names all that failed."""
    body: dict[str, Any] = {"reason": reason} | with_code(code)
    if keys := tenant_keys(tenants, tenant or ()):
        body["tenants"] = keys
    if batch is not None:
        body["batch"] = batch
    return _act("retry", plan, body, output)


def exclude(
    plan: PlanName,
    reason: NeededReason,
    tenants: Tenants = None,
    tenant: Tenant = None,
    output: OutputAs = Output.table,
) -> int:
    """Leave tenants out of a plan that is under way."""
    keys = tenant_keys(tenants, tenant or ())
    if not keys:
        raise BadUse("say whom to leave out: --tenant acorn, --tenants acorn,birch or @FILE")
    return _act("exclude", plan, {"tenants": keys, "reason": reason}, output)


def skip(
    plan: PlanName, batch: Batch, reason: NeededReason, output: OutputAs = Output.table
) -> int:
    """Skip a batch that has not begun; unskip brings it back."""
    return _act("skip", plan, {"batch": batch, "reason": reason}, output)


def unskip(
    plan: PlanName, batch: Batch, reason: Reason = "", output: OutputAs = Output.table
) -> int:
    """Bring a skipped batch back."""
    return _act("unskip", plan, {"batch": batch, "reason": reason}, output)


def jump(
    plan: PlanName, batch: Batch, reason: NeededReason, output: OutputAs = Output.table
) -> int:
    """Let this batch be the next one: those before it that have not begun are skipped."""
    return _act("jump", plan, {"batch": batch, "reason": reason}, output)


def skip_rest(plan: PlanName, reason: NeededReason, output: OutputAs = Output.table) -> int:
    """Upgrade nobody else: the batch under way soaks to its end, nothing is taken back."""
    return _act("skip-rest", plan, {"reason": reason}, output)


def stop(
    plan: PlanName,
    reason: NeededReason,
    output: OutputAs = Output.table,
) -> int:
    """Stop a plan where it stands: nothing more is upgraded, nothing is taken back."""
    return _act("stop", plan, {"reason": reason}, output)


def override_freeze(
    plan: PlanName,
    freeze: Annotated[str, typer.Option(help="The freeze's uuid; status -o json names it.")],
    reason: NeededReason,
    until: Annotated[
        str | None, typer.Option(help="RFC 3339; without it as long as the plan lives.")
    ] = None,
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Let a plan through a freeze, by a role that the freeze names."""
    body = {"freeze": freeze, "reason": reason} | with_code(code)
    if until is not None:
        body["expires_at"] = until
    return _act("override-freeze", plan, body, output)


def add_to(group: typer.Typer) -> None:
    """Give a group of commands these."""
    for command in (retry, exclude, skip, unskip, jump, skip_rest, stop, override_freeze):
        group.command()(command)


def _act(action: str, plan: str, body: dict[str, Any], output: Output) -> int:
    show_plan(open_console().post(plan_path(plan, action), body), output)
    return ExitCode.COMPLETED

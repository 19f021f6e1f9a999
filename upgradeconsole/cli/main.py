"""The `powerx` command: plan, approve, follow and take back upgrades from a terminal or a pipeline.

Exit codes: 0 completed, 1 rolled back or failed, 2 needs a hand, 3 timed out, 4 not allowed,
5 bad input. The console's address is POWERX_URL, the API token POWERX_TOKEN (never an argument:
arguments are readable by every user of the machine).
"""

import sys
import uuid
from enum import StrEnum
from typing import Annotated, Any

import typer

from upgradeconsole.cli import (
    acts_under_way,
    adjusting,
    approvers,
    listing,
    placebos,
    pushes,
    render,
    replays,
    reports,
)
from upgradeconsole.cli.access import role, token
from upgradeconsole.cli.adjusting import ChangeRejected
from upgradeconsole.cli.client import Console, Refusal, Unreachable, plan_path
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
from upgradeconsole.cli.drills import drill
from upgradeconsole.cli.exit_codes import ExitCode, outcome
from upgradeconsole.cli.following import Follower
from upgradeconsole.cli.kpis import kpi
from upgradeconsole.cli.releases import key, release
from upgradeconsole.cli.selector import SelectorRejected, parse_selector
from upgradeconsole.cli.trail import trail

commands = typer.Typer(
    name="powerx",
    help=__doc__,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
plugin = typer.Typer(help="Upgrade plugins over many tenants.", rich_markup_mode=None)
commands.add_typer(plugin, name="plugin")
commands.add_typer(drill, name="drill")
commands.add_typer(kpi, name="kpi")
commands.add_typer(release, name="release")
commands.add_typer(key, name="key")
commands.add_typer(token, name="token")
commands.add_typer(role, name="role")
commands.add_typer(trail, name="trail")
for topic in (pushes, replays, placebos):
    topic.add_to(commands)


class Scope(StrEnum):
    """How much of a plan to take back."""

    plan = "plan"
    batch = "batch"


Watch = Annotated[bool, typer.Option("--watch", help="Follow the plan until it ends.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="With --watch: give up after S seconds.")
]


@commands.callback()
def powerx() -> None:
    """Begin nothing: the commands are in groups, as in `powerx plugin upgrade`."""


@plugin.command()
def upgrade(
    plugin_key: Annotated[str, typer.Option("--plugin", help="The plugin's key.")],
    to_version: Annotated[str, typer.Option("--to", help="The version to upgrade to.")],
    policy: Annotated[str, typer.Option(help="The policy's name.")],
    strategy: Annotated[str, typer.Option(help="Always policy.")] = "policy",
    tenants: Annotated[
        str, typer.Option(help="all, labels:region=eu,tier=gold, keys a,b,c or @FILE.")
    ] = "all",
    external_id: Annotated[
        str | None, typer.Option(help="Your id for this plan; the same id again updates it.")
    ] = None,
    deployer: Annotated[str | None, typer.Option(help="The deployer's name.")] = None,
    approvals: Annotated[
        str | None, typer.Option(help="The approvals entry that must agree.")
    ] = None,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Plan an upgrade and submit it for approval."""
    if strategy != "policy":
        raise BadUse(
            f"--strategy {strategy} is not known: upgrades here follow a policy; "
            "write --strategy policy and name the policy with --policy"
        )
    # With an id of our own a request whose answer was lost can be repeated without a second plan.
    name = external_id or f"{plugin_key}-{to_version}-{uuid.uuid4().hex[:8]}"
    body = {
        "external_id": name,
        "plugin": plugin_key,
        "to_version": to_version,
        "policy": policy,
        "tenants": parse_selector(tenants),
        "submit": True,
    }
    optional = {"deployer": deployer, "approvals": approvals}
    body |= {key: value for key, value in optional.items() if value is not None}
    console = open_console()
    answer = console.post("/internal/version/upgrade/plan", body)
    if output is Output.json:
        render.print_json(render.terminal(), answer)
    else:
        render.print_planned(render.terminal(), name, answer)
    if answer["problems"]:
        return ExitCode.BAD_INPUT
    if watch:
        return _follow(console, answer["plan"], output, timeout)
    return ExitCode.COMPLETED


@plugin.command()
def status(
    plan: PlanName,
    watch: Watch = False,
    since: Annotated[
        int, typer.Option(min=0, help="With --watch: skip the events up to this number.")
    ] = 0,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Show a plan; the exit code tells how it ended (a plan still going: 0)."""
    console = open_console()
    if watch:
        return _follow(console, plan, output, timeout, since=since)
    shown = console.get(plan_path(plan))
    show_plan(shown, output)
    return outcome(shown)


@plugin.command()
def approve(
    plan: PlanName,
    comment: Annotated[str, typer.Option(help="Stands in the audit trail.")] = "",
    role: Annotated[
        str | None, typer.Option(help="In which role, when you hold several of those asked for.")
    ] = None,
    code: Code = None,
    digest: Annotated[
        str | None, typer.Option(help="Approve this content alone, as you looked at it.")
    ] = None,
    output: OutputAs = Output.table,
) -> int:
    """Approve a plan that awaits approval: your signed yes, for this content, once."""
    body: dict[str, Any] = {"comment": comment} | with_code(code)
    if digest is not None:
        body["digest"] = digest
    if role is not None:
        body["role"] = role
    return _act("approve", plan, body, output)


@plugin.command()
def reject(
    plan: PlanName,
    reason: Annotated[str, typer.Option("--reason", help="Why; the author reads it.")],
    output: OutputAs = Output.table,
) -> int:
    """Reject a plan that awaits approval."""
    return _act("reject", plan, {"reason": reason}, output)


@plugin.command()
def start(
    plan: PlanName,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Start an approved plan."""
    return _act("start", plan, {}, output, watch=watch, timeout=timeout)


@plugin.command()
def pause(plan: PlanName, reason: Reason = "", output: OutputAs = Output.table) -> int:
    """Pause a running plan; unless resumed in time, it rolls back."""
    return _act("pause", plan, {"reason": reason}, output)


@plugin.command()
def resume(
    plan: PlanName,
    reason: Reason = "",
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Resume a paused plan."""
    return _act("resume", plan, {"reason": reason}, output, watch=watch, timeout=timeout)


@plugin.command()
def promote(
    plan: PlanName,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Only if this batch is the one that waits.")
    ] = None,
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Let the batch that waits for a person begin."""
    body = {} if batch is None else {"batch": batch}
    return _act("promote", plan, body | with_code(code), output)


listing.add_to(plugin)
acts_under_way.add_to(plugin)
approvers.add_to(plugin)


adjusting.add_to(plugin)


@plugin.command()
def cancel(plan: PlanName, reason: Reason = "", output: OutputAs = Output.table) -> int:
    """Cancel a plan that has not started."""
    return _act("cancel", plan, {"reason": reason}, output)


@plugin.command()
def rollback(
    plan: PlanName,
    reason: Reason = "",
    scope: Annotated[Scope, typer.Option(help="The whole plan, or its live batch.")] = Scope.plan,
    tenants: Annotated[
        str | None, typer.Option(help="Only these tenants: keys a,b,c or @FILE.")
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="Only this tenant; may stand several times.")
    ] = None,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Take back what a plan has upgraded, at once. Again while it runs: the same rollback."""
    body: dict[str, Any] = {"reason": reason, "scope": scope.value}
    if tenants is not None or tenant:
        body["tenants"] = tenant_keys(tenants, tenant or ())
    console = open_console()
    answer = console.post(plan_path(plan, "rollback"), body)
    if output is Output.json:
        render.print_json(render.terminal(), answer)
    else:
        render.terminal().print(
            f"Rolling back {render.counted(answer['touched'], 'tenant')}, to be done by "
            f"{render.clock(answer['deadline'])} "
            f"(rollback {answer['rollback']}).",
            soft_wrap=True,
        )
    if not watch:
        return ExitCode.COMPLETED
    follower = _follower(console, plan, output, timeout)
    # A plan that was complete is in an end state already; only the rollback's own end counts.
    follower.ended = lambda state: state != "rolling_back"
    code = follower.follow()
    return ExitCode.ROLLED_BACK_OR_FAILED if code is ExitCode.COMPLETED else code


reports.add_to(plugin)


def run(arguments: list[str] | None = None) -> int:
    """Run `powerx` and return its exit code; every anticipated failure is said in plain words."""
    err = render.terminal(stderr=True)
    try:
        code = commands(args=arguments, prog_name="powerx", standalone_mode=False)
    except Refusal as refusal:
        render.print_refusal(err, refusal.sentence, refusal.problems)
        return refusal.exit_code
    except Unreachable as error:
        render.print_refusal(err, str(error))
        return ExitCode.TIMED_OUT
    except (BadUse, ChangeRejected, SelectorRejected) as error:
        render.print_refusal(err, str(error))
        return ExitCode.BAD_INPUT
    except typer.TyperException as error:
        render.print_refusal(err, error.format_message())
        err.print("See: powerx --help")
        return ExitCode.BAD_INPUT
    except typer.Abort:
        return ExitCode.TIMED_OUT
    return int(code or 0)


def app() -> None:
    """Be the console script."""
    sys.exit(run())


def _act(
    action: str,
    plan: str,
    body: dict[str, Any],
    output: Output,
    *,
    watch: bool = False,
    timeout: float | None = None,
) -> int:
    console = open_console()
    shown = console.post(plan_path(plan, action), body)
    if watch:
        return _follow(console, plan, output, timeout)
    show_plan(shown, output)
    return ExitCode.COMPLETED


def _follower(
    console: Console, plan: str, output: Output, timeout: float | None, *, since: int = 0
) -> Follower:
    return Follower(
        console=console,
        plan=plan,
        out=render.terminal(),
        err=render.terminal(stderr=True),
        as_json=output is Output.json,
        timeout=timeout,
        since=since,
    )


def _follow(
    console: Console, plan: str, output: Output, timeout: float | None, *, since: int = 0
) -> int:
    return _follower(console, plan, output, timeout, since=since).follow()


if __name__ == "__main__":
    app()

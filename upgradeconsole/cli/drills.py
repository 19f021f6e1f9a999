"""`powerx drill`: rehearse a rollback, and see what the drills so far have shown."""

import time
import uuid
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Console, Unreachable, plan_path
from upgradeconsole.cli.console_options import BadUse, Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode
from upgradeconsole.cli.selector import parse_selector

POLL_SECONDS = 1.0
ICONS = {"passed": "✔", "failed": "✖", "cut_short": "■"}

drill = typer.Typer(help="Rehearse rollbacks: does the way back work?", rich_markup_mode=None)


class Inject(StrEnum):
    """What goes wrong on purpose."""

    none = "none"
    breach = "breach"
    missing_metric = "missing_metric"
    hung_hook = "hung_hook"
    killed_worker = "killed_worker"


DrillName = Annotated[str, typer.Argument(metavar="DRILL", help="The drill's uuid.")]
Watch = Annotated[bool, typer.Option("--watch", help="Wait until the drill has ended.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="With --watch: give up after S seconds.")
]


@drill.command()
def start(
    plugin_key: Annotated[str, typer.Option("--plugin", help="The plugin's key.")],
    to_version: Annotated[str, typer.Option("--to", help="A registered release.")],
    deployer: Annotated[str, typer.Option(help="The deployer's name.")],
    tenants: Annotated[
        str, typer.Option(help="Tenants that nobody needs: labels:ring=drill, keys a,b or @FILE.")
    ],
    inject: Annotated[Inject, typer.Option(help="What goes wrong on purpose.")] = Inject.none,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Hand a rehearsal in; it begins by itself when its approvers have agreed."""
    body = {
        "plugin": plugin_key,
        "to_version": to_version,
        "deployer": deployer,
        "tenants": parse_selector(tenants),
        "inject": inject.value,
    }
    console = open_console()
    # Sent once: the same again would be another drill.
    try:
        handed_in = console.call_once("POST", "/api/v1/drills/", body).json()
    except Unreachable as error:
        raise Unreachable(f"{error}; powerx drill list tells whether it was handed in") from error
    if not watch:
        _show(handed_in, output)
        return ExitCode.COMPLETED
    render.terminal(stderr=True).print(
        f"Handed in as plan {handed_in['external_id']}; it waits for its approvers.",
        soft_wrap=True,
    )
    return _wait(console, handed_in["drill"], timeout, output)


@drill.command()
def status(
    name: DrillName,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Show a drill; the exit code tells whether it passed (one that goes on: 0)."""
    console = open_console()
    if watch:
        return _wait(console, name, timeout, output)
    shown = console.get(_path(name))
    _show(shown, output)
    return _outcome(console, shown)


@drill.command("list")
def list_drills(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    output: OutputAs = Output.table,
) -> int:
    """List the drills, the newest first."""
    page = open_console().get("/api/v1/drills/", limit=limit)
    if output is Output.json:
        render.print_json(render.terminal(), page["results"])
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    headings = ("When", "Drill", "Deployer", "Fault", "Tenants", "Seconds", "Quoted", "Outcome")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in page["results"]:
        table.add_row(
            render.moment(row["started_at"]),
            row["drill"],
            render.printable(row["deployer"]),
            row["inject"],
            str(len(row["tenants"])),
            _seconds(row["seconds"]),
            _seconds(row["quote_seconds"]),
            _outcome_words(row),
        )
    render.terminal().print(table if page["results"] else "No drill yet.")
    return ExitCode.COMPLETED


@drill.command()
def schedules(output: OutputAs = Output.table) -> int:
    """List the schedules of drills: what runs when, and what they wait for."""
    rows = open_console().get("/api/v1/drill-schedules/")
    if output is Output.json:
        render.print_json(render.terminal(), rows)
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    for heading in ("Schedule", "Release", "Deployer", "Faults", "Days", "Next", "State"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            render.printable(row["name"]),
            render.printable(f"{row['plugin']} {row['to_version']}"),
            render.printable(row["deployer"]),
            ", ".join(row["injects"]),
            f"{', '.join(row['days'])} {row['at'][:5]} {render.printable(row['timezone'])}",
            render.moment(row["next_at"]),
            _schedule_state(row),
        )
    render.terminal().print(table if rows else "No schedule yet.")
    return ExitCode.COMPLETED


ScheduleName = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="The schedule's name, or its uuid.")
]


class Switch(StrEnum):
    """Whether a schedule runs."""

    on = "on"
    off = "off"


@drill.command()
def agree(
    name: ScheduleName,
    comment: Annotated[str, typer.Option(help="Kept with your yes.")] = "",
    output: OutputAs = Output.table,
) -> int:
    """Agree to every run of a schedule, in a role that it still waits for."""
    console = open_console()
    where = f"{_schedule(console, name)}/approve"
    try:
        row = console.call_once("POST", where, {"comment": comment}).json()
    except Unreachable as error:
        raise Unreachable(f"{error}; powerx drill schedules tells whether it was kept") from error
    return _show_schedule(row, output)


@drill.command()
def switch(name: ScheduleName, to: Switch, output: OutputAs = Output.table) -> int:
    """Let a schedule run, or let it rest."""
    console = open_console()
    row = console.post(f"{_schedule(console, name)}/switch", {"on": to is Switch.on})
    return _show_schedule(row, output)


@drill.command("run")
def run_schedule(
    name: ScheduleName,
    watch: Watch = False,
    timeout: Timeout = None,
    output: OutputAs = Output.table,
) -> int:
    """Run an approved schedule once, beside its days."""
    console = open_console()
    # Sent once: the same again would be another drill.
    try:
        begun = console.call_once("POST", f"{_schedule(console, name)}/run", {}).json()
    except Unreachable as error:
        raise Unreachable(f"{error}; powerx drill list tells whether it began") from error
    if watch:
        return _wait(console, begun["drill"], timeout, output)
    _show(begun, output)
    return ExitCode.COMPLETED


def _schedule(console: Console, name: str) -> str:
    rows = console.get("/api/v1/drill-schedules/")
    for row in rows:
        if name in (row["name"], row["schedule"]):
            return f"/api/v1/drill-schedules/{row['schedule']}"
    known = ", ".join(render.printable(row["name"]) for row in rows) or "none"
    raise BadUse(f"there is no schedule {name!r}; there are: {known}")


def _show_schedule(row: dict[str, Any], output: Output) -> int:
    if output is Output.json:
        render.print_json(render.terminal(), row)
    else:
        told = f"{render.printable(row['name'])}: {_schedule_state(row)}"
        render.terminal().print(told, soft_wrap=True)
    return ExitCode.COMPLETED


def _schedule_state(row: dict[str, Any]) -> str:
    if row["waits_for"]:
        return f"waits for {', '.join(row['waits_for'])}"
    if row["problem"]:
        return render.printable(row["problem"])
    return "on" if row["enabled"] else "off"


def _path(name: str) -> str:
    try:
        return f"/api/v1/drills/{uuid.UUID(name)}"
    except ValueError as error:
        raise BadUse(f"{name!r} is no drill's uuid; powerx drill list shows them") from error


def _wait(console: Console, name: str, timeout: float | None, output: Output) -> int:
    give_up = None if timeout is None else time.monotonic() + timeout
    shown = console.get(_path(name))
    while not shown["outcome"]:
        if give_up is not None and time.monotonic() >= give_up:
            raise Unreachable(f"the drill has not ended after {timeout:g} s; it goes on")
        console.sleep(POLL_SECONDS)
        shown = console.get(_path(name))
    _show(shown, output)
    return _outcome(console, shown)


def _outcome(console: Console, shown: dict[str, Any]) -> int:
    if shown["outcome"] in {"", "passed"}:
        return ExitCode.COMPLETED
    if console.get(plan_path(shown["plan"]))["state"] == "needs_hand":
        return ExitCode.NEEDS_HAND
    return ExitCode.ROLLED_BACK_OR_FAILED


def _show(shown: dict[str, Any], output: Output) -> None:
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, shown)
        return
    out.print(f"Drill {shown['drill']} (plan {shown['external_id']}): {_outcome_words(shown)}")
    fault = "no fault" if shown["inject"] == "none" else shown["inject"].replace("_", " ")
    out.print(
        f"{render.printable(shown['deployer'])},"
        f" {render.counted(len(shown['tenants']), 'tenant')}, {fault};"
        f" back in {_seconds(shown['seconds'])}, quoted {_seconds(shown['quote_seconds'])},"
        f" limit {_seconds(shown['limit_seconds'])}",
        soft_wrap=True,
    )
    if shown["sentence"]:
        out.print(render.printable(shown["sentence"]), soft_wrap=True)


def _outcome_words(row: dict[str, Any]) -> str:
    if not row["outcome"]:
        return "goes on"
    return f"{ICONS.get(row['outcome'], '·')} {row['outcome'].replace('_', ' ')}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"

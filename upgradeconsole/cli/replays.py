"""`powerx replay`: a plan's stored looks judged once more, under its own rules or under others."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console as Terminal
from rich.text import Text

from upgradeconsole.cli.client import plan_path
from upgradeconsole.cli.console_options import BadUse, Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode
from upgradeconsole.cli.render import counted, moment, print_json, printable, terminal


def replay(
    plan: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="The plan's uuid or external id.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All past plans instead of one.")] = False,
    threshold: Annotated[
        list[str] | None, typer.Option(help="KPI=NUMBER for its guardrails; repeatable.")
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE of the evidence test: risk, ratio, points, detect, power, action, kpis;"
            " repeatable."
        ),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="The newest text of this policy.")] = None,
    output: OutputAs = Output.table,
) -> int:
    """Judge stored looks once more; nothing is changed.

    Without other rules: do the rulings come out as they were made? Exit 1 where not. With other
    rules: what would have happened, and when.
    """
    if (plan is None) != every:
        raise BadUse("name one plan, or write --all for all past plans")
    query: dict[str, Any] = {
        name: given
        for name, given in (("threshold", threshold), ("evidence", evidence), ("policy", policy))
        if given
    }
    console, out = open_console(), terminal()
    if plan is None:
        found = console.get("/api/v1/replay", **query)
        _print(out, found, output, _print_tally)
        return ExitCode.COMPLETED
    if not query:
        found = console.get(plan_path(plan, "replay/same"))
        _print(out, found, output, _print_same)
        return ExitCode.COMPLETED if found["same"] else ExitCode.ROLLED_BACK_OR_FAILED
    found = console.get(plan_path(plan, "replay"), **query)
    _print(out, found, output, _print_one)
    return ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands this one."""
    group.command()(replay)


def _print(out: Terminal, found: Mapping[str, Any], output: Output, show: Any) -> None:
    if output is Output.json:
        print_json(out, found)
    else:
        show(out, found)


def _print_same(out: Terminal, found: Mapping[str, Any]) -> None:
    name = printable(found["external_id"])
    if found["same"]:
        out.print(f"{name}: every ruling comes out as it was made.", soft_wrap=True)
    else:
        out.print(Text(f"{name}: the replay differs", style="bold red"), soft_wrap=True)
    for line in found["differences"]:
        out.print(f"  - {printable(line)}", soft_wrap=True)
    for line in found["left_out"]:
        out.print(f"  left out: {printable(line)}", soft_wrap=True)


def _print_one(out: Terminal, found: Mapping[str, Any]) -> None:
    out.print(f"{printable(found['external_id'])}: {printable(found['sentence'])}", soft_wrap=True)
    for one in found["guardrails"]:
        said = "never broken"
        if one["breached_at"]:
            said = f"{moment(one['breached_at'])} {printable(one['sentence'])}"
        how = f"{one['failed']} of {counted(one['looks'], 'look')} failed"
        if one["highest_percent"] is not None:
            how = f"{one['highest_percent']:.0f} % at most, in {counted(one['looks'], 'look')}"
        name = f"{printable(one['guardrail'])} ({printable(one['action'])})"
        out.print(f"  {name}: {said}; {how}", soft_wrap=True)
    for one in found["passes"]:
        when = f"from {moment(one['at'])} on" if one["at"] else "never"
        said = f"evidence lets batch {one['batch']} pass: {when} ({printable(one['sentence'])})"
        out.print(f"  {said}", soft_wrap=True)
    for line in found["not_judged"]:
        out.print(f"  not judged: {printable(line)}", soft_wrap=True)
    for line in found["notes"]:
        out.print(f"  note: {printable(line)}", soft_wrap=True)


def _print_tally(out: Terminal, found: Mapping[str, Any]) -> None:
    for one in found["plans"]:
        said = f"{printable(one['external_id'])}: {printable(one['sentence'])}"
        out.print(said, soft_wrap=True)
    if found["left_out"]:
        out.print(f"{counted(found['left_out'], 'plan')} could not be judged by these rules.")
    out.print(printable(found["sentence"]), soft_wrap=True)

"""`powerx placebo`: how often a policy would take rollouts back although nothing was released."""

import time
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from upgradeconsole.cli.client import Console, Refusal, Unreachable
from upgradeconsole.cli.console_options import Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode
from upgradeconsole.cli.render import counted, moment, print_json, printable, terminal

POLL_SECONDS = 1.0


def placebo(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="The policy's name.")],
    measure: Annotated[
        bool, typer.Option("--measure", help="Have it measured now, and wait for it.")
    ] = False,
    rollouts: Annotated[
        int | None, typer.Option(min=1, help="With --measure: lay so many over the history.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="With --measure: give up after S seconds.")
    ] = 300.0,
    output: OutputAs = Output.table,
) -> int:
    """Show the newest placebo backtest of a policy's newest text; with --measure make one."""
    console = open_console()
    path = f"/api/v1/policies/{quote(policy, safe='')}/placebo"
    body = {} if rollouts is None else {"rollouts": rollouts}
    found = _measured(console, path, body, timeout) if measure or body else console.get(path)
    if output is Output.json:
        print_json(terminal(), found)
    else:
        _show(found)
    return ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands this one."""
    group.command()(placebo)


def _measured(
    console: Console, path: str, body: Mapping[str, Any], timeout: float
) -> Mapping[str, Any]:
    """Have it measured, and return the result that carries the seed of this request."""
    give_up = time.monotonic() + timeout
    seed = console.post(path, body)["seed"]
    while True:
        try:
            found: Mapping[str, Any] = console.get(path)
        except Refusal as refusal:
            # Before the first result there is none.
            if refusal.status != 404:
                raise
            found = {"seed": ""}
        if found["seed"] == seed:
            return found
        if time.monotonic() >= give_up:
            raise Unreachable(
                f"it was not measured within {timeout:g} s; it goes on, and the same command"
                " without --measure shows it"
            )
        console.sleep(POLL_SECONDS)


def _show(found: Mapping[str, Any]) -> None:
    out = terminal()
    out.print(printable(found["sentence"]), soft_wrap=True)
    if found.get("beside_evidence"):
        out.print(f"Evidence: {printable(found['beside_evidence'])}", soft_wrap=True)
    for judge in found["judges"]:
        dry = ", dry run" if judge["dry_run"] else ""
        alone = ""
        if judge.get("judged"):
            alone = f"; {judge['tenants']} of {counted(judge['judged'], 'tenant')} alone"
        name = f"{printable(judge['key'])} ({printable(judge['action'])}{dry})"
        said = f"  {name}: broken in {judge['rollouts']} of {found['rollouts']}{alone}"
        out.print(said, soft_wrap=True)
    for note in found.get("notes", ()):
        out.print(f"  note: {printable(note)}", soft_wrap=True)
    out.print(f"Measured {moment(found['at'])}, seed {printable(found['seed'])}", soft_wrap=True)

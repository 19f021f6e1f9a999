"""`powerx plugin list`: the plans that there are, for whoever does not know a plan's name yet."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from upgradeconsole.cli import render
from upgradeconsole.cli.console_options import Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode

HEADINGS = ("Plan", "State", "Upgrade", "Policy", "Made")


def list_plans(
    state: Annotated[
        str | None, typer.Option(help="Only in this state, such as running or awaiting_approval.")
    ] = None,
    plugin_key: Annotated[str | None, typer.Option("--plugin", help="Only of this plugin.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    output: OutputAs = Output.table,
) -> int:
    """List the plans, the newest first; rehearsals of rollbacks are under `powerx drill list`."""
    wanted = {"state": state, "plugin": plugin_key}
    chosen = {name: value for name, value in wanted.items() if value is not None}
    page = open_console().get("/api/v1/plans/", limit=limit, rehearsals="false", **chosen)
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, page["results"])
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in page["results"]:
        what = render.state_text(row["state"])
        if row["waiting_for"]:
            what.append(Text(f"\n{render.printable(row['waiting_for'])}", style="yellow"))
        table.add_row(
            render.printable(row["external_id"] or row["plan"]),
            what,
            render.printable(f"{row['plugin']} to {row['to_version']}"),
            render.printable(row["policy"]),
            render.moment(row["created_at"]),
        )
    out.print(table if page["results"] else "No plan fits." if chosen else "No plan yet.")
    if page["next"]:
        out.print(f"There are more than {limit}; --limit shows up to 200, --state fewer.")
    return ExitCode.COMPLETED


def add_to(plugin: typer.Typer) -> None:
    """Give the group the command."""
    plugin.command("list")(list_plans)

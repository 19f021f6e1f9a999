"""The commands for Kpis: what the dictionary has, and whether it fits the metric sources."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console as Terminal
from rich.table import Table

from upgradeconsole.cli.console_options import Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode
from upgradeconsole.cli.render import moment, print_json, printable, terminal

kpi = typer.Typer(help="Look at Kpis and probe their sources.", rich_markup_mode=None)
WORDS = {
    None: "not probed",
    "fine": "fits",
    "note": "fits",
    "warning": "fits, with a warning",
    "error": "does not fit",
}


@kpi.command("list")
def list_kpis(output: OutputAs = Output.table) -> int:
    """List the Kpis with their sources and newest probes."""
    _show(open_console().get("/api/v1/kpis/"), output)
    return ExitCode.COMPLETED


@kpi.command()
def probe(
    name: Annotated[
        str | None, typer.Argument(metavar="KPI", help="A Kpi or alias; without it: all.")
    ] = None,
    output: OutputAs = Output.table,
) -> int:
    """Ask the metric sources whether the mappings fit; exit 1 when one cannot be used."""
    console = open_console()
    if name is None:
        kpis = console.post("/api/v1/kpis/probe", {})
    else:
        kpis = [console.post(f"/api/v1/kpis/{quote(name, safe='')}/probe", {})]
    _show(kpis, output)
    wrong = any(one["level"] == "error" for one in kpis)
    return ExitCode.ROLLED_BACK_OR_FAILED if wrong else ExitCode.COMPLETED


def _show(kpis: Sequence[Mapping[str, Any]], output: Output) -> None:
    out = terminal()
    if output is Output.json:
        print_json(out, kpis)
        return
    out.print(_table(kpis))
    for one in kpis:
        for mapping in one["mappings"]:
            _print_findings(out, one["name"], mapping)


def _table(kpis: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Kpi", "Unit", "Source", "Fit", "Tenants with data", "Probed"):
        table.add_column(column)
    for one in kpis:
        for mapping in one["mappings"]:
            probed_at = mapping["probed_at"]
            with_data = mapping["tenants"] - len(mapping["tenants_without_data"])
            table.add_row(
                printable(one["name"]),
                printable(one["unit"]),
                printable(mapping["source"]),
                WORDS.get(mapping["level"], "unknown"),
                f"{with_data} of {mapping['tenants']}" if probed_at else "",
                moment(probed_at) if probed_at else "",
            )
    return table


def _print_findings(out: Terminal, name: str, mapping: Mapping[str, Any]) -> None:
    for found in mapping["findings"]:
        said = f"{name} from {mapping['source']}: {found['level']}: {found['sentence']}"
        advice = f"; {found['advice']}" if found["advice"] else ""
        out.print(f"  - {printable(said + advice)}", soft_wrap=True)

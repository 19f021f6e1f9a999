"""`powerx trail`: fetch a trail as a file that can be checked without the console."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from upgradeconsole.cli import render
from upgradeconsole.cli.client import plan_path
from upgradeconsole.cli.console_options import BadUse, open_console
from upgradeconsole.cli.exit_codes import ExitCode

trail = typer.Typer(help="Fetch the audit trail, and its checkpoints.", rich_markup_mode=None)

Out = Annotated[Path, typer.Option("-O", "--out", help="Where to write it; - is standard output.")]


@trail.command()
def export(
    plan: Annotated[str, typer.Option("--plan", help="Only of this plan; all without it.")] = "",
    since: Annotated[str, typer.Option(help="From this moment on (RFC 3339).")] = "",
    until: Annotated[str, typer.Option(help="Until this moment (RFC 3339).")] = "",
    csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet, not to verify.")] = False,
    out: Out = Path("trail.jsonl"),
) -> int:
    """Fetch events, hashes, checkpoints and public keys, as verify_trail.py takes them."""
    asked = {"since": since, "until": until, "form": "csv" if csv else "jsonl"}
    query = urlencode({name: value for name, value in asked.items() if value})
    path = plan_path(plan, "trail") if plan else "/api/v1/trail/export"
    body = open_console().call("GET", f"{path}?{query}").body
    if str(out) == "-":
        sys.stdout.buffer.write(body)
        return ExitCode.COMPLETED
    try:
        out.write_bytes(body)
    except OSError as error:
        raise BadUse(f"-O {out} cannot be written: {error.strerror}") from error
    render.terminal().print(f"Trail written to {out} ({len(body)} bytes).", soft_wrap=True)
    return ExitCode.COMPLETED


@trail.command()
def checkpoint() -> int:
    """Print the newest signed checkpoint; whoever keeps it can prove what the trail was."""
    sys.stdout.write(str(open_console().get("/api/v1/trail/checkpoint")["checkpoint"]))
    return ExitCode.COMPLETED

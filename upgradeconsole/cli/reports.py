"""`powerx plugin report`: fetch the report of a plan."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Unreachable, plan_path
from upgradeconsole.cli.console_options import BadUse, PlanName, open_console
from upgradeconsole.cli.exit_codes import ExitCode

REPORT_WAIT_SECONDS = 120.0


def report(
    plan: PlanName,
    out: Annotated[
        Path, typer.Option("-O", "--out", help="Where to write it; - is standard output.")
    ] = Path("report.pdf"),
) -> int:
    """Fetch the report of a plan as a PDF."""
    console = open_console()
    give_up = time.monotonic() + REPORT_WAIT_SECONDS
    reply = console.call("GET", plan_path(plan, "report.pdf"))
    while reply.status == 202:
        if time.monotonic() > give_up:
            raise Unreachable(f"the report is not ready after {REPORT_WAIT_SECONDS:g} s")
        console.sleep(float(reply.headers.get("retry-after", "1")))
        reply = console.call("GET", plan_path(plan, "report.pdf"))
    if str(out) == "-":
        sys.stdout.buffer.write(reply.body)
        return ExitCode.COMPLETED
    try:
        out.write_bytes(reply.body)
    except OSError as error:
        raise BadUse(f"-O {out} cannot be written: {error.strerror}") from error
    render.terminal().print(f"Report written to {out} ({len(reply.body)} bytes).", soft_wrap=True)
    return ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands this one."""
    group.command()(report)

"""What the commands share: their options, the console they talk to, how a plan is shown."""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Console, Refusal
from upgradeconsole.cli.selector import parse_selector

DEFAULT_URL = "http://127.0.0.1:8000"


class Output(StrEnum):
    """How to print an answer."""

    table = "table"
    json = "json"


class BadUse(Exception):
    """The command line or the environment cannot be used as it is; the message says what to do."""


PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's uuid or external id.")]
OutputAs = Annotated[Output, typer.Option("-o", "--output", help="table or json.")]
Code = Annotated[
    str | None,
    typer.Option(help="A code of your second factor; it counts once and for this act alone."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the audit trail.")]


def open_console() -> Console:
    """Return the console that the environment names, with its token."""
    url = os.environ.get("POWERX_URL", DEFAULT_URL)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise BadUse(f"POWERX_URL is {url!r}: write it as https://console.example.org")
    token = os.environ.get("POWERX_TOKEN", "").strip()
    if not token:
        raise Refusal(
            "POWERX_TOKEN is not set: put an API token of the console there "
            "(an administrator makes one with: manage.py make_token EMAIL)",
            status=401,
        )
    return Console(url=url, token=token)


def show_plan(plan: Any, output: Output) -> None:
    """Print a plan."""
    if output is Output.json:
        render.print_json(render.terminal(), plan)
    else:
        render.print_plan(render.terminal(), plan)


def tenant_keys(listed: str | None, single: Sequence[str]) -> list[str]:
    """Return the tenants that the options name; BadUse for anything but keys."""
    keys = list(single)
    if listed is not None:
        parsed = parse_selector(listed)
        if not isinstance(parsed, list):
            raise BadUse("--tenants takes keys here, as acorn,birch or @FILE")
        keys += parsed
    return list(dict.fromkeys(keys))


def with_code(code: str | None) -> dict[str, Any]:
    """Return the member of a body that proves who asks, nothing without a code."""
    return {} if code is None else {"code": code}

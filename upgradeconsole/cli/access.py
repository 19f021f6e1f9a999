"""`powerx token` and `powerx role`: machines' tokens, and who holds which role.

Nothing here is sent twice: a lost answer may have made a token, and a code counts once. What came
of it stands in the list.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Unreachable
from upgradeconsole.cli.console_options import (
    BadUse,
    Code,
    Output,
    OutputAs,
    open_console,
    with_code,
)
from upgradeconsole.cli.exit_codes import ExitCode

MOST_PAGES = 100

token = typer.Typer(help="Make, list and revoke API tokens.", rich_markup_mode=None)
role = typer.Typer(help="Give, confirm and end roles.", rich_markup_mode=None)

Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Of the tenants; repeatable; without: all."),
]
NeededReason = Annotated[str, typer.Option("--reason", help="Why; stands in the audit trail.")]
RequestName = Annotated[str, typer.Argument(metavar="REQUEST", help="The request's uuid.")]


class Kind(StrEnum):
    """The two kinds of roles."""

    console = "console"
    approval = "approval"


@token.command("list")
def list_tokens(
    everybody: Annotated[bool, typer.Option(help="Of everybody, as an administrator.")] = False,
    output: OutputAs = Output.table,
) -> int:
    """List one's own tokens, the newest first; never their secrets."""
    console, rows = open_console(), list[dict[str, Any]]()
    path = f"/api/v1/tokens/?limit=200&of={'everybody' if everybody else 'me'}"
    for _page in range(MOST_PAGES):
        page = console.get(path)
        rows += page["results"]
        if not (following := page.get("next")):
            break
        # The console names itself by its own address; ours may be another one.
        path = following[following.index("/api/v1/") :]
    headings = ("Token", "Name", "Begins", "Person", "State", "Scopes", "Tenants", "Until")
    lines = [
        (
            row["token"],
            row["name"],
            row["prefix"],
            row["person"],
            row["state"],
            ", ".join(row["scopes"]) or "all",
            _tenants(row["labels"]),
            _until(row["expires_at"]),
        )
        for row in rows
    ]
    return _listed(rows, headings, lines, output, none="There is no token.")


@token.command("make")
def make_token(
    name: Annotated[str, typer.Option(help="What it is for.")],
    days: Annotated[int, typer.Option(min=1, help="How long it is good.")] = 30,
    scope: Annotated[
        list[str] | None, typer.Option(help="Narrow it; repeatable; without: all you may do.")
    ] = None,
    label: Labels = None,
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Make a token of one's own; its secret alone is printed, this once."""
    body = {"name": name, "days": days, "scopes": scope or [], "labels": _labels(label)}
    made = _once("/api/v1/tokens/", body | with_code(code), list_by="powerx token list")
    if output is Output.json:
        render.print_json(render.terminal(), made)
    else:
        # Bare, so that it can be piped into a secret store.
        sys.stdout.write(f"{made['secret']}\n")
        until = _until(made["expires_at"])
        render.terminal(stderr=True).print(f"Good until {until}; shown only now.", soft_wrap=True)
    return ExitCode.COMPLETED


@token.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's uuid.")],
    output: OutputAs = Output.table,
) -> int:
    """Revoke a token: whatever uses it is refused from now on."""
    answer = _once(f"/api/v1/tokens/{_uuid(name)}/revoke", {}, list_by="powerx token list")
    return _said(answer, output, f"The token '{answer['name']}' is revoked")


@role.command("list")
def list_roles(output: OutputAs = Output.table) -> int:
    """List the roles in force, by person."""
    rows = open_console().get("/api/v1/roles/")
    headings = ("Role", "Person", "Kind", "Holds", "Tenants", "Until", "Why")
    lines = [
        (
            row["role_id"],
            row["person"],
            row["kind"],
            row["role"],
            _tenants(row["labels"]),
            _until(row["expires_at"]),
            row["why"],
        )
        for row in rows
    ]
    return _listed(rows, headings, lines, output, none="Nobody holds a role.")


@role.command()
def give(
    person: Annotated[str, typer.Argument(metavar="EMAIL")],
    name: Annotated[str, typer.Argument(metavar="ROLE", help="operator, or a policy's label.")],
    kind: Annotated[Kind, typer.Option(help="A console role or an approval role.")] = Kind.console,
    label: Labels = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="Its end (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
    ] = None,
    why: Annotated[str, typer.Option(help="Stands in the audit trail.")] = "",
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Give a role; one that lets somebody approve waits for a second administrator."""
    body = {
        "person": person,
        "kind": kind.value,
        "role": name,
        "labels": _labels(label),
        "expires_at": until.replace(tzinfo=UTC).isoformat() if until is not None else None,
        "why": why,
    }
    answer = _once("/api/v1/roles/", body | with_code(code), list_by="powerx role list")
    if "request_id" in answer:
        waits = f"{answer['request_id']}: another administrator has to confirm it"
        return _said(answer, output, f"{person} is not {name} yet. Request {waits}")
    return _said(answer, output, f"{person} is {name} now")


@role.command()
def end(
    name: Annotated[str, typer.Argument(metavar="ROLE", help="The role's uuid, from the list.")],
    reason: NeededReason,
    output: OutputAs = Output.table,
) -> int:
    """End a role now; that it was held stays known."""
    path = f"/api/v1/roles/{_uuid(name)}/end"
    answer = _once(path, {"reason": reason}, list_by="powerx role list")
    return _said(answer, output, f"{answer['person']} is {answer['role']} no more")


@role.command()
def requests(output: OutputAs = Output.table) -> int:
    """List the roles that wait for a second administrator, the oldest first."""
    rows = open_console().get("/api/v1/role-requests/")
    headings = ("Request", "Person", "Kind", "Role", "Tenants", "Asked by", "Asked", "Why")
    lines = [
        (
            row["request_id"],
            row["person"],
            row["kind"],
            row["role"],
            _tenants(row["labels"]),
            row["asked_by"],
            render.moment(row["asked_at"]),
            " ".join(said for said in (row["why"], row.get("warning")) if said),
        )
        for row in rows
    ]
    return _listed(rows, headings, lines, output, none="No role waits.")


@role.command()
def confirm(name: RequestName, code: Code = None, output: OutputAs = Output.table) -> int:
    """Confirm a role as the second administrator; it counts from now on."""
    path = f"/api/v1/role-requests/{_uuid(name)}/confirm"
    answer = _once(path, with_code(code), list_by="powerx role list")
    return _said(answer, output, f"{answer['person']} is {answer['role']} now")


@role.command()
def refuse(name: RequestName, reason: NeededReason, output: OutputAs = Output.table) -> int:
    """Refuse a role that was asked for, or take one's own request back."""
    path = f"/api/v1/role-requests/{_uuid(name)}/refuse"
    answer = _once(path, {"reason": reason}, list_by="powerx role requests")
    return _said(answer, output, f"{answer['person']} does not become {answer['role']}")


def _once(path: str, body: Mapping[str, Any], *, list_by: str) -> Any:
    try:
        return open_console().call_once("POST", path, body).json()
    except Unreachable as lost:
        raise Unreachable(f"{lost}; it may have been done: look at '{list_by}'") from lost


def _labels(written: Sequence[str] | None) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in written or ():
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise BadUse(f"--label {pair!r}: write NAME=VALUE, such as region=eu")
        if name in labels:
            raise BadUse(f"--label {name} is given twice")
        labels[name] = value
    return labels


def _uuid(name: str) -> str:
    plain = name.replace("-", "").lower()
    if len(plain) != 32 or not set(plain) <= set("0123456789abcdef"):
        raise BadUse(f"{name!r} is no uuid: take it from the list")
    return name


def _tenants(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or "all"


def _until(stamp: str | None) -> str:
    return render.moment(stamp) if stamp is not None else "no end"


def _listed(
    rows: Any, headings: Sequence[str], lines: Sequence[Sequence[str]], output: Output, *, none: str
) -> int:
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, rows)
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*map(render.printable, line))
    out.print(table if lines else none)
    return ExitCode.COMPLETED


def _said(answer: Any, output: Output, words: str) -> int:
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, answer)
    else:
        out.print(f"{render.printable(words)}.", soft_wrap=True)
    return ExitCode.COMPLETED

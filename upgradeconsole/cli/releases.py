"""`powerx release` and `powerx key`: signed releases, and the keys whose signatures count."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Console, Refusal
from upgradeconsole.cli.console_options import (
    BadUse,
    Code,
    Output,
    OutputAs,
    open_console,
    with_code,
)
from upgradeconsole.cli.exit_codes import ExitCode

LARGEST_TEXT = 256 * 1024
MOST_PAGES = 100

release = typer.Typer(help="Register, verify and quarantine releases.", rich_markup_mode=None)
key = typer.Typer(help="Look after the keys that sign releases.", rich_markup_mode=None)

ReleaseName = Annotated[
    str, typer.Argument(metavar="RELEASE", help="plugin@version, or the release's uuid.")
]
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")]
NeededReason = Annotated[str, typer.Option("--reason", help="Why; stands in the audit trail.")]


@release.command("list")
def list_releases(
    plugin: Annotated[str, typer.Option(help="Only this plugin's.")] = "",
    output: OutputAs = Output.table,
) -> int:
    """List the releases with their standing, the newest first."""
    rows = _all(open_console(), plugin)
    if output is Output.json:
        render.print_json(render.terminal(), rows)
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    for heading in ("Release", "State", "Signed by", "Verified", "sha256"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            render.printable(f"{row['plugin']}@{row['version']}"),
            _state(row),
            render.printable(row["signed_by"]),
            render.moment(row["verified_at"]),
            row["digest"][:12],
        )
    render.terminal().print(table if rows else "No release yet.")
    return ExitCode.COMPLETED


@release.command()
def register(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="release.json.dsse, or what cosign signed.")
    ],
    signature: Annotated[
        Path | None, typer.Option(help="The signature that cosign sign-blob wrote for FILE.")
    ] = None,
    irreversible: Annotated[
        bool, typer.Option("--irreversible", help="It cannot be taken back.")
    ] = False,
    output: OutputAs = Output.table,
) -> int:
    """Register a signed release; the same one again is no change."""
    body: dict[str, Any] = {"irreversible": irreversible}
    if signature is None:
        body["envelope"] = _text(file)
    else:
        body |= {"payload": _text(file), "signature": _text(signature).strip()}
    answer = open_console().post("/api/v1/releases/", body)
    _show(answer, output, f"{answer['plugin']}@{answer['version']} is registered")
    return ExitCode.COMPLETED


@release.command()
def verify(
    name: ReleaseName,
    artifact: Annotated[
        Path | None, typer.Option(help="Also compare this file with the signed digest.")
    ] = None,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine", help="Another file than was signed stops the release everywhere."
        ),
    ] = False,
    output: OutputAs = Output.table,
) -> int:
    """Verify a release now; exit 4 when it may not be used, or the file is another one."""
    if quarantine and artifact is None:
        raise BadUse("--quarantine needs --artifact, the file that may be another one")
    console = open_console()
    body: dict[str, object] = {} if artifact is None else {"digest": _sha256(artifact)}
    if quarantine:
        body["quarantine"] = True
    answer = console.post(f"{_path(console, name)}verify", body)
    _show(answer, output, f"{answer['plugin']}@{answer['version']}: the signature holds")
    return ExitCode.COMPLETED


@release.command()
def quarantine(name: ReleaseName, reason: NeededReason, output: OutputAs = Output.table) -> int:
    """Let nothing of a release be installed any more; plans under way are held."""
    console = open_console()
    answer = console.post(f"{_path(console, name)}quarantine", {"reason": reason})
    _show(answer, output, f"{answer['plugin']}@{answer['version']} is in quarantine")
    return ExitCode.COMPLETED


@release.command()
def lift(
    name: ReleaseName, reason: NeededReason, code: Code = None, output: OutputAs = Output.table
) -> int:
    """End the quarantine of a release."""
    console = open_console()
    answer = console.post(f"{_path(console, name)}lift", {"reason": reason} | with_code(code))
    _show(answer, output, f"{answer['plugin']}@{answer['version']} is out of quarantine")
    return ExitCode.COMPLETED


@key.command("list")
def list_keys(output: OutputAs = Output.table) -> int:
    """List the keys of the trust store."""
    rows = open_console().get("/api/v1/keys/")
    if output is Output.json:
        render.print_json(render.terminal(), rows)
        return ExitCode.COMPLETED
    table = Table(box=None, pad_edge=False)
    for heading in ("Key", "Name", "State", "May sign", "Until"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row["key_id"],
            render.printable(row["name"]),
            row["state"],
            render.printable(", ".join(row["plugins"]) or "every plugin"),
            render.moment(row["not_after"]),
        )
    render.terminal().print(table if rows else "No key is trusted.")
    return ExitCode.COMPLETED


@key.command()
def trust(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The public key, PEM.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is trusted.")] = 365,
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin it may sign; repeatable; without: every.")
    ] = None,
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Trust a public key, beside those that are trusted already."""
    text = _text(file)
    if "PRIVATE KEY" in text:
        raise BadUse(f"{file} is a private key: hand in the public one")
    body = {
        "public_key": text,
        "name": name,
        "not_after": (datetime.now(UTC) + timedelta(days=days)).isoformat(),
        "plugins": plugin or [],
    }
    answer = open_console().post("/api/v1/keys/", body | with_code(code))
    _show(answer, output, f"{answer['key_id']} ({answer['name']}) is trusted")
    return ExitCode.COMPLETED


@key.command()
def revoke(
    name: KeyName, reason: NeededReason, code: Code = None, output: OutputAs = Output.table
) -> int:
    """Revoke a key: what it alone signed is not installed any more."""
    body = {"reason": reason} | with_code(code)
    answer = open_console().post(f"{_key_path(name)}revoke", body)
    _show(answer, output, f"{answer['key_id']} is revoked")
    return ExitCode.COMPLETED


@key.command()
def retire(
    name: KeyName,
    until: Annotated[
        datetime, typer.Option(help="When it ends (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"])
    ],
    reason: Annotated[str, typer.Option("--reason", help="Its successor, for example.")] = "",
    code: Code = None,
    output: OutputAs = Output.table,
) -> int:
    """Let a key end earlier than it would."""
    body = {"not_after": until.replace(tzinfo=UTC).isoformat(), "reason": reason}
    answer = open_console().post(f"{_key_path(name)}retire", body | with_code(code))
    _show(answer, output, f"{answer['key_id']} ends at {render.moment(answer['not_after'])}")
    return ExitCode.COMPLETED


def _all(console: Console, plugin: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    path = "/api/v1/releases/?limit=200"
    if plugin:
        path += f"&plugin={quote(plugin, safe='')}"
    for _page in range(MOST_PAGES):
        page = console.get(path)
        rows += page["results"]
        following = page.get("next")
        if not following:
            break
        # The console names itself by its own address; ours may be another one.
        path = following[following.index("/api/v1/") :]
    return rows


def _path(console: Console, name: str) -> str:
    plugin, at, version = name.rpartition("@")
    if not at:
        return f"/api/v1/releases/{quote(name, safe='')}/"
    for row in _all(console, plugin):
        if row["version"] == version:
            return f"/api/v1/releases/{row['release']}/"
    raise Refusal(f"There is no release {name}.", status=404)


def _key_path(name: str) -> str:
    return f"/api/v1/keys/{quote(name, safe='')}/"


def _state(row: dict[str, Any]) -> str:
    if row["state"] != "trusted":
        return str(row["state"])
    return "usable" if row["usable"] else "key not valid now"


def _show(answer: Any, output: Output, said: str) -> None:
    out = render.terminal()
    if output is Output.json:
        render.print_json(out, answer)
    else:
        out.print(f"{render.printable(said)}.", soft_wrap=True)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST_TEXT:
            raise BadUse(f"{file} is larger than {LARGEST_TEXT // 1024} kB")
        # Byte for byte: what was signed must not get other line ends on its way.
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadUse(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadUse(f"{file} is not UTF-8 text") from error


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as artifact:
            return hashlib.file_digest(artifact, "sha256").hexdigest()
    except OSError as error:
        raise BadUse(f"{file}: {error.strerror}") from error

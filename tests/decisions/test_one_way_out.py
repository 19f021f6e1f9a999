"""Nobody opens a connection beside the outbound client, and the queue carries ids alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("upgradeconsole", "plans", "batches", "reports")
# Modules whose whole purpose is to open connections, and names of others that do.
OPENERS = (
    *("requests", "httpx", "httpcore", "urllib3", "pycurl", "websockets", "websocket"),
    *("urllib.request", "http.client", "ftplib", "telnetlib", "xmlrpc", "imaplib", "poplib"),
    *("nntplib", "paramiko", "asyncssh"),
)
NAMES = frozenset(
    {
        *("aiohttp.ClientSession", "aiohttp.TCPConnector", "aiohttp.UnixConnector"),
        *("aiohttp.request", "socket.create_connection", "asyncio.open_connection"),
        *("urllib.request", "http.client", "smtplib.SMTP", "smtplib.SMTP_SSL"),
    }
)
ALLOWED = {
    "upgradeconsole/outbound/outlet.py": "the one client",
    "plans/sso/transport.py": "gives requests, which allauth speaks, the one client to send with",
    "plans/sso/login.py": "names the type of that session",
    "plans/sso/provider.py": "names the error of that session",
    "upgradeconsole/cli/client.py": "powerx runs on its user's own machine, with the user's rights",
    "upgradeconsole/up.py": "asks the console that it has just started, on loopback",
    "upgradeconsole/smoke/processes.py": "asks the rehearsal's own console, on loopback",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def openers_in(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if _opens(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in whole if _opens(name) or name in NAMES}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            found |= {name} & NAMES
    return found


def _opens(module: str) -> bool:
    return any(module == opener or module.startswith(f"{opener}.") for opener in OPENERS)


def test_only_the_outbound_client_opens_connections():
    found = {path: names for path, tree in modules() if (names := openers_in(tree))}
    assert set(found) == set(ALLOWED), found


def test_an_opener_would_be_found():
    for line in (
        "import requests",
        "from urllib import request",
        "import urllib.request as u",
        "from aiohttp import ClientSession",
        "import aiohttp\naiohttp.ClientSession()",
        "import socket\nsocket.create_connection(x)",
    ):
        assert openers_in(ast.parse(line)), line


# django-q2 pickles what it is given and signs it with SECRET_KEY: whoever has the key and may write
# to the queue runs code. So nothing but names and ids travels, and nothing is worth forging.
OPTIONS = frozenset({"cluster"})
IDS = ("pk", "id", "name", "seed", "rollouts", "ids", "claimed")


def tasks_in(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "async_task":
            yield node


def _called(call: ast.Call) -> str:
    called = call.func
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")


def is_id(node: ast.expr) -> bool:
    """Tell whether an argument is a text, a number, or something's id."""
    match node:
        case ast.Constant(value=str() | int()):
            return True
        case ast.Call(func=ast.Name(id="str" | "int"), args=[_]):
            return True
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in IDS
        case _:
            return False


def test_the_queue_carries_ids_alone():
    found = [(path, call) for path, tree in modules() for call in tasks_in(tree)]
    assert len(found) >= 8
    for path, call in found:
        where = f"{path}:{call.lineno}"
        task, *arguments = call.args
        assert isinstance(task, ast.Constant) or getattr(task, "id", "").isupper(), where
        assert all(map(is_id, arguments)), where
        assert {keyword.arg for keyword in call.keywords} <= OPTIONS, where


def test_a_payload_that_is_more_than_an_id_would_be_found():
    for argument in ("plan", "{'a': 1}", "request.user", "*rows", "lambda: 1", "json.dumps(x)"):
        (call,) = tasks_in(ast.parse(f"async_task('a.b', {argument})"))
        assert not all(map(is_id, call.args[1:])), argument

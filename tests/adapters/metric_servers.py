"""Loopback servers for the tests of metric sources: a page of metrics, faults, a Prometheus."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "s3cret-token"


class MetricPage:
    """A server whose /metrics says what `text` holds; its other paths misbehave by name."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.text = ""
        self.document: Any = {"tenants": []}
        self.released = threading.Event()
        self.pages_served = 0
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                page.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> MetricPage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        mode = request.path.split("/")[1].partition("?")[0]
        match mode:
            case "hang":
                self.released.wait(30)
                send(request, 200, b"")
            case "unauthorized" | "secured":
                known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
                vector = {"status": "success", "data": {"resultType": "vector", "result": []}}
                body = json.dumps(vector) if request.command == "POST" else "# nothing\n"
                if request.path.endswith("?json"):
                    body = json.dumps({"tenants": []})
                send(request, 200 if known else 401, body.encode() if known else b"")
            case "basic":
                login = base64.b64encode(f"olga:{TOKEN}".encode()).decode()
                known = request.headers.get("Authorization") == f"Basic {login}"
                send(request, 200 if known else 401, b"# nothing\n" if known else b"")
            case _:
                self._answer_anybody(request, mode)

    def _answer_anybody(self, request: BaseHTTPRequestHandler, mode: str) -> None:
        match mode:
            case "json":
                send(request, 200, json.dumps(self.document).encode())
            case "paged" | "linked" | "tokens" | "circle" | "elsewhere" | "endless" | "same":
                self.pages_served += 1
                send(request, 200, json.dumps(self._page(request.path, mode)).encode())
            case "broken":
                send(request, 503, b"down for repair")
            case "moved":
                send(request, 302, b"", Location=f"{self.url}/metrics")
            case "cut":
                send(request, 200, b"requests_total{", length=500)
            case "garbage":
                send(request, 200, b"<html>sign in</html>\n")
            case "large":
                send(request, 200, b"# a comment that goes on\n" * 1000)
            case _:
                send(request, 200, self.text.encode())

    def _page(self, path: str, mode: str) -> object:
        """Return a page with one row of the document, and where the next one is."""
        asked = dict(parse_qsl(urlsplit(path).query))
        rows = self.document["tenants"]
        number = int(asked.get("page", asked.get("after", 1)))
        page: dict[str, object] = {"tenants": rows[number - 1 : number], "page": number}
        last = number >= len(rows)
        match mode:
            case "linked":
                page["next"] = None if last else f"/linked?after={number + 1}"
            case "tokens":
                page["next"] = "" if last else number + 1
            case "circle":
                page["next"] = f"/circle?after={number % 2 + 1}"
            case "elsewhere":
                page["next"] = "http://127.0.0.1:9/elsewhere"
            case "endless":
                page = {"tenants": rows[:1], "page": number}
            case "same":
                page = {"tenants": rows}
        return page


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    length: int | None = None,
    **headers: str,
) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.send_header("Content-Type", "text/plain; version=0.0.4")
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def real_prometheus(page: MetricPage, folder: Path) -> Iterator[str]:
    """Run Debian's Prometheus, scraping the page each second; give its address."""
    program = shutil.which("prometheus")
    assert program, "no prometheus on this machine: apt-get install prometheus"
    config = folder / "prometheus.yml"
    target = page.url.removeprefix("http://")
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=error",
        ]
    )
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "prometheus ended at its start"
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("prometheus was not ready within 30 s")

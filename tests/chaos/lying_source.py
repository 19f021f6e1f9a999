"""A source of metrics that passes the fleet's page on, and lies, stalls or fails as it is told."""

import re
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SAMPLE = re.compile(r"^(?P<series>[a-z_]+\{.*\}) (?P<value>\S+)$", re.MULTILINE)
TEN_MINUTES_MS = 600_000


def _each_value(change: Callable[[str], str]) -> Callable[[str], str]:
    def changed(page: str) -> str:
        return SAMPLE.sub(lambda found: f"{found['series']} {change(found['value'])}", page)

    return changed


def _stamped(offset_ms: int) -> Callable[[str], str]:
    """Give each sample a time of its own."""
    return _each_value(lambda value: f"{value} {int(time.time() * 1000) + offset_ms}")


LIES: dict[str, Callable[[str], str]] = {
    "honest": lambda page: page,
    "nan": _each_value(lambda _value: "NaN"),
    "infinite": _each_value(lambda _value: "+Inf"),
    "text": _each_value(lambda _value: "lots"),
    "empty": lambda _page: "",
    "other tenants": lambda page: re.sub(r'tenant="', 'tenant="somebody-else-', page),
    "ten minutes old": _stamped(-TEN_MINUTES_MS),
    "ten minutes ahead": _stamped(TEN_MINUTES_MS),
}


class LyingSource:
    """GET / answers as `mode` says: a key of LIES, or constant, hang, 503. A context manager."""

    def __init__(self, truth: str) -> None:
        self.mode = "honest"
        self._truth = truth
        self._last = ""
        self._ended = threading.Event()
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "LyingSource":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one GET."""
        mode = self.mode
        if mode == "hang":
            self._ended.wait(60)
        page = self._page(mode)
        try:
            request.send_response(503 if mode == "503" else 200)
            request.send_header("Content-Length", str(len(page)))
            request.end_headers()
            request.wfile.write(page)
        except OSError:
            return  # whoever asked has given up

    def _page(self, mode: str) -> bytes:
        if mode == "constant":
            return self._last.encode()
        try:
            with urllib.request.urlopen(self._truth, timeout=5) as reply:
                page = reply.read().decode()
        except OSError:
            return b""
        if mode == self.mode:
            # Not by who hung or waited meanwhile: the past stands still.
            self._last = page
        return LIES.get(mode, LIES["honest"])(page).encode()

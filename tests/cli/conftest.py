"""What the tests of `powerx` share: a console to talk to."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.stub_console import StubConsole
from upgradeconsole.cli import client, following


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubConsole]:
    stub = StubConsole()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            stub.asked.append((self.command, self.path, body, self.headers["Authorization"]))
            if key := self.headers.get("Idempotency-Key"):
                stub.keys.append(key)
            status, answer, *headers = stub.next_answer(self.path)
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("POWERX_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("POWERX_TOKEN", "secret-token")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(client, "BACK_OFF", (0.01, 0.01))
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    yield stub
    server.shutdown()
    server.server_close()

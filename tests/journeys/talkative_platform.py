"""A platform that repeats every secret that it is told, in each answer: the worst of all peers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.journeys.stack import HOST, OLD
from upgradeconsole.demo.tenants import demo_tenants


@dataclass
class TalkativePlatform:
    """Its tenants, what it heard, and whom it fails."""

    url: str = ""
    failing: frozenset[str] = frozenset()
    versions: dict[str, str] = field(
        default_factory=lambda: {tenant["tenant"]: OLD for tenant in demo_tenants(120)}
    )
    authorizations: dict[str, set[str]] = field(default_factory=dict)
    scrapes: int = 0
    hooks: list[tuple[bytes, str]] = field(default_factory=list)

    def hear(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request, and repeat what came with it."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        place, *rest = request.path.strip("/").split("/")
        said = request.headers.get("Authorization", "")
        self.authorizations.setdefault(place, set()).add(said)
        if place == "hook":
            self.hooks.append((body, request.headers.get("X-Upgrade-Signature", "")))
            # The first is refused, in many words.
            _send(request, 500 if len(self.hooks) == 1 else 200, f"you sent {said} and {body!r}")
        elif place == "metrics":
            self.scrapes += 1
            lines = [
                f'tenant_{name}{{tenant="{tenant}"}} {value}'
                for tenant in self.versions
                for name, value in (
                    ("requests_total", 100 * self.scrapes),
                    ("errors_total", 1),
                    ("latency_ms", 20),
                )
            ]
            _send(request, 200, f"# {said}\n" + "\n".join(lines) + "\n")
        else:
            self._tenant(request, said, rest, body)

    def _tenant(
        self, request: BaseHTTPRequestHandler, said: str, rest: list[str], body: bytes
    ) -> None:
        tenant = rest[0]
        echo = {"you": said, "raw": f"Authorization={said!r}", "headers": dict(request.headers)}
        if rest[1:] == ["upgrade"] and tenant in self.failing:
            _send(request, 500, f"cannot: {json.dumps(echo)} {said}")
            return
        if rest[1:]:
            self.versions[tenant] = json.loads(body)["version"]
        version = self.versions.setdefault(tenant, OLD)
        _send(request, 200, json.dumps({"version": version, "config": {"size": 3}, **echo}))


def _send(request: BaseHTTPRequestHandler, status: int, text: str) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def talkative_platform() -> Iterator[TalkativePlatform]:
    """Run the platform until the end of the block."""
    platform = TalkativePlatform()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            platform.hear(self)

        def do_POST(self) -> None:
            platform.hear(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    platform.url = f"http://{HOST}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

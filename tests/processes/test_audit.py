"""Known vulnerabilities of libraries are found, by asking a service that is played here."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import audit
from tests.journeys.stack import HOST, free_port

KNOWN = "GHSA-1111-2222-3333"
LOCK = "".join(
    f"{name}=={version} \\\n    --hash=sha256:{'0' * 64}\n"
    for name, version in (("holey", "1.0"), ("sound", "2.0"))
)


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability, of one version."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked.get("package", {}).get("name") == "holey" and asked["version"] == "1.0"
        body = json.dumps({"vulns": [self.known()]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def known() -> dict[str, Any]:
        fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}
        package = {"name": "holey", "ecosystem": "PyPI"}
        return {"id": KNOWN, "affected": [{"package": package, "ranges": [fixed]}]}

    def log_message(self, *_told: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer((HOST, free_port()), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(url: str, *, lock: str = LOCK, accepted: str = "") -> tuple[int, str]:
        (tmp_path / "requirements.lock").write_text(lock)
        (tmp_path / "accepted.yaml").write_text(accepted)
        options = ["--lock", str(tmp_path / "requirements.lock"), "--osv-url", url]
        code = audit.main([*options, "--accepted", str(tmp_path / "accepted.yaml")])
        return code, capsys.readouterr().out

    return run


def test_a_known_vulnerability_fails_until_it_is_accepted(audited):
    with serving(Osv) as url:
        code, told = audited(url)
        assert (code, f"holey 1.0: {KNOWN}" in told, "mended in 1.1" in told) == (1, True, True)
        assert "sound" not in told
        accepted = f"{KNOWN}: {{why: nobody calls it, until: 2999-01-31}}"
        code, told = audited(url, accepted=accepted)
        assert (code, "accepted, until 2999-01-31: nobody calls it" in told) == (0, True)


def test_a_lock_that_cannot_be_read_is_no_clean_one(audited):
    with serving(Osv) as url:
        code, told = audited(url, lock="holey>=1\n")
        assert (code, "could not audit requirements.lock" in told) == (1, True)


def test_without_a_service_nothing_is_audited_and_it_is_said(audited):
    code, told = audited(f"http://{HOST}:{free_port()}/")
    assert (code, "does not answer: not audited" in told) == (0, True)


def test_a_service_that_only_fails_or_says_nothing_does_not_answer():
    class Failing(Osv):
        def do_POST(self) -> None:
            self.send_error(503)

    held = threading.Event()

    class Silent(Osv):
        def do_POST(self) -> None:
            held.wait(30)

    with serving(Failing) as url:
        assert not audit.answers(url, 5)
    with serving(Silent) as url:
        assert not audit.answers(url, 0.2)
        held.set()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{why: x}", "why and until"),
        ("{why: x, until: soon}", "a day such as"),
        ("{why: '', until: 2999-01-01}", "why is a sentence"),
        ("{why: x, until: 2999-01-01, by: us}", "nothing else"),
    ],
)
def test_what_is_accepted_has_a_reason_and_an_end(audited, entry, told):
    code, said = audited("http://unused.invalid/", accepted=f"{KNOWN}: {entry}")
    assert (code, told in said) == (1, True)


def test_what_was_accepted_counts_again_after_its_day():
    text = f"{KNOWN}: {{why: x, until: 2026-11-30}}"
    assert set(audit.read_accepted(text, today=date(2026, 11, 30))) == {KNOWN}
    assert audit.read_accepted(text, today=date(2026, 12, 1)) == {}


def test_what_is_accepted_today_can_be_read():
    audit.read_accepted(audit.ACCEPTED.read_text(), today=date(2000, 1, 1))

"""A secret of its own in every place that keeps one; none is found anywhere else afterwards.

The platform repeats every secret it is told. A plan goes wrong on it, is taken back, alerts and is
reported; then everything that people and machines can read is searched.
"""

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import schemathesis
from cryptography.fernet import Fernet

from tests.journeys.stack import GOOD, OLD, Stack, ask, running, wait_until
from tests.journeys.talkative_platform import TalkativePlatform, talkative_platform
from tests.schema_run import bearer, over_the_network, wrong_answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = """
policies:
  quick:
    description: "Half of them, then the rest."
    batches:
      - {name: canary, percentage: 50, soak_minutes: 0.05, metrics: [error_rate]}
      - {name: rest, percentage: 50, soak_minutes: 0.05}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, attempts: 2}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
DEPLOYERS = """
deployers:
  fleet:
    kind: http
    base_url: BASE
    headers: {Authorization: "Bearer ${FLEET_TOKEN}"}
    install: {method: POST, path: "/tenants/{tenant}/upgrade", json: {version: "{version}"}}
    restore: {method: POST, path: "/tenants/{tenant}/rollback", json: {version: "{version}"}}
    observe: {method: GET, path: "/tenants/{tenant}", version: "$.version", config: "$.config"}
    permanent: [400]
    parallelism: 10
    expected_seconds: 0.1
"""
# Run beside the console: a receiver with a secret, a second factor, a session of the administrator.
SET_UP = """
import json, sys
import django
django.setup()
from importlib import import_module
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from plans.models import User
from reports.models import Endpoint
order = json.load(sys.stdin)
row = Endpoint(name="pager", url=order["hook"])
row.keep_secret(order["secret"])
row.save()
ada = User.objects.get(email="ada@example.org")
TOTP.activate(ada, order["totp"])
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(ada.pk), ada.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session.save()
print(session.session_key)
"""
KEPT_APART = {"secret_key", "sealing_keys", "demo-logins.txt"}
MOST_PAGES = 150
ONE_OF_MANY = r"(?<=/tenants/)[^/]+|[0-9a-f-]{36}|\d+"


def dictionary(base: str) -> str:
    """Return a dictionary whose source is let in by a token."""
    auth = {"bearer": "${SOURCE_TOKEN}"}
    source = {"kind": "prometheus_text", "url": f"{base}/metrics", "auth": auth}
    return json.dumps(
        {
            "kpis": [
                {"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"},
                # The demonstration's own policies watch it too.
                {"name": "latency_ms", "kind": "gauge", "unit": "ms", "direction": "lower"},
            ],
            "sources": {"page": source},
            "mappings": [
                {
                    "kpi": "error_rate",
                    "source": "page",
                    "bad": {"metric": "tenant_errors_total"},
                    "total": {"metric": "tenant_requests_total"},
                    "tenant_label": "tenant",
                },
                {
                    "kpi": "latency_ms",
                    "source": "page",
                    "value": {"metric": "tenant_latency_ms"},
                    "tenant_label": "tenant",
                },
            ],
            "dashboards": [],
        }
    )


@pytest.fixture
def canaries() -> dict[str, str]:
    """Return a secret for each place that keeps one."""
    places = ("key", "fallback", "mail", "metrics", "fleet", "source", "hook", "typed")
    made = {place: f"c4nary-{place}-{secrets.token_hex(8)}" for place in places}
    # Their forms are given.
    made["seal"] = Fernet.generate_key().decode()
    made["totp"] = "C4NARY" + "".join(secrets.choice("ABCDEFGH234567") for _ in range(26))
    return made


@pytest.fixture
def platform() -> Iterator[TalkativePlatform]:
    with talkative_platform() as made:
        yield made


@pytest.fixture
def stack(tmp_path: Path, platform: TalkativePlatform, canaries: dict[str, str]) -> Iterator[Stack]:
    for name, text in (
        ("deployers.yaml", DEPLOYERS.replace("BASE", platform.url)),
        ("dictionary.json", dictionary(platform.url)),
        ("source-token", canaries["source"] + "\n"),
        ("sealing-keys", canaries["seal"] + "\n"),
    ):
        (tmp_path / name).write_text(text)
    environ = {
        "UPGRADECONSOLE_DEPLOYERS": str(tmp_path / "deployers.yaml"),
        "UPGRADECONSOLE_DICTIONARY": str(tmp_path / "dictionary.json"),
        "UPGRADECONSOLE_SEALING_KEYS_FILE": str(tmp_path / "sealing-keys"),
        "UPGRADECONSOLE_LOG_LEVEL": "DEBUG",
        "UPGRADECONSOLE_METRICS_TOKEN": canaries["metrics"],
        "SECRET_KEY": canaries["key"],
        "SECRET_KEY_FALLBACKS": canaries["fallback"],
        "EMAIL_HOST_PASSWORD": canaries["mail"],
        "FLEET_TOKEN": canaries["fleet"],
        "SOURCE_TOKEN_FILE": str(tmp_path / "source-token"),
    }
    with running(tmp_path / "data", policies=POLICIES, environ=environ) as stack:
        yield stack


def test_no_secret_is_found_outside_of_where_it_is_kept(stack, platform, canaries):
    order = {"hook": f"{platform.url}/hook", "secret": canaries["hook"], "totp": canaries["totp"]}
    done = stack.beside("-c", SET_UP, given=json.dumps(order))
    assert done.returncode == 0, done.stderr
    cookie = f"sessionid={done.stdout.strip()}"
    tenants = stack.take_tenants(8)
    platform.failing = frozenset(tenants[:4])

    plan = stack.begin(tenants, policy="quick", to=GOOD)

    stack.wait_for(plan, "rolled_back", seconds=120)
    wait_until(lambda: _report(stack, plan) is not None, 90, "the report is there")
    wait_until(lambda: len(platform.hooks) >= 2, 60, "the alert was sent, and sent again")
    status, _answer = ask("GET", f"{stack.url}/api/v1/plans/{plan}", token=canaries["typed"])
    assert status == 401

    # The secrets were really used.
    assert f"Bearer {canaries['fleet']}" in platform.authorizations["tenants"]
    assert platform.authorizations["metrics"] == {f"Bearer {canaries['source']}"}
    body, signature = platform.hooks[-1]
    signed = hmac.new(canaries["hook"].encode(), body, hashlib.sha256).hexdigest()
    assert signature == f"sha256={signed}"
    assert ask("GET", f"{stack.url}/metrics", token=canaries["metrics"])[0] == 200
    assert {platform.versions[tenant] for tenant in tenants} == {OLD}
    # And the platform's answers are there, so that there was something to mask.
    assert any("***" in str(call["answer"]) for call in stack.journal(plan))

    wanted = {**canaries, **{f"token of {who}": token for who, token in stack.tokens.items()}}
    read = list(everything(stack, plan, cookie))
    # The search finds what is there, wherever it looks.
    assert {where.split()[0] for where, text in read if "journey-1" in text} >= {
        *("page", "REST", "table", "file", "report"),
    }
    found = [
        (place, where) for where, text in read for place, secret in wanted.items() if secret in text
    ]
    assert found == []

    # However wrongly everybody asks, the answers are as the document says, and tell nothing.
    assert wrongly_answered(stack, plan) == []
    left = [*rows_of(stack.data / "console.sqlite3"), *files_of(stack.data)]
    assert not [
        (place, where) for where, text in left for place, secret in wanted.items() if secret in text
    ]


def wrongly_answered(stack: Stack, plan: str) -> list[str]:
    """Return what is wrong with the answers to whatever anybody may send."""
    tokens = dict(stack.tokens)
    ada = tokens.pop("ada")
    known = {"path.plan": [plan], "path.kpi": ["error_rate"], "path.source": ["page"]}
    schema = schemathesis.openapi.from_url(
        f"{stack.url}/api/schema/?format=json",
        config=over_the_network(ada, known, others=tokens, examples=1),
        headers=bearer(ada),
    )
    return wrong_answers(schema)


def _report(stack: Stack, plan: str) -> bytes | None:
    status, body = fetched(
        f"{stack.url}/api/v1/plans/{plan}/report.pdf", Authorization=f"Bearer {stack.tokens['ada']}"
    )
    return body if status == 200 else None


def everything(stack: Stack, plan: str, cookie: str) -> Iterator[tuple[str, str]]:
    """Yield what can be read by anybody, and where it stands."""
    report = _report(stack, plan)
    assert report is not None
    yield "report", pdf_text(report)
    pages = list(crawled(stack.url, ["/", f"/plans/{plan}/", "/admin/", "/metrics"], cookie))
    # A crawl that was turned away at the door would find nothing either.
    assert len(pages) >= 40, [where for where, _text in pages]
    assert any("pager" in text for where, text in pages if "endpoint" in where)
    yield from pages
    for path in ("", "/snapshot", "/events", "/tenants"):
        status, answer = stack.rest("GET", f"/api/v1/plans/{plan}{path}", by="ada")
        assert status == 200, path
        yield f"REST {path}", json.dumps(answer)
    for path in ("/api/v1/sources/", "/api/v1/kpis/", "/api/v1/nothing/"):
        yield f"REST {path}", json.dumps(stack.rest("GET", path, by="ada")[1])
    yield from rows_of(stack.data / "console.sqlite3")
    yield from files_of(stack.data)


def crawled(base: str, begin: list[str], cookie: str) -> Iterator[tuple[str, str]]:
    """Yield the pages of the console that links lead to, as the administrator sees them."""
    waiting, seen = deque(begin), set(begin)
    fetched_pages = 0
    while waiting and fetched_pages < MOST_PAGES:
        path = waiting.popleft()
        status, body = fetched(f"{base}{path}", Cookie=cookie)
        fetched_pages += 1
        text = pdf_text(body) if body.startswith(b"%PDF") else body.decode(errors="replace")
        yield f"page {path} ({status})", text
        for link in re.findall(r'href="(/[^"#]*)"', text):
            # One page of each kind is enough of the demo's many.
            kind = re.sub(ONE_OF_MANY, "*", link.partition("?")[0])
            if kind not in seen and not link.startswith(("/static/", "/accounts/logout")):
                seen.add(kind)
                waiting.append(link)


def fetched(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=30
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def rows_of(database: Path) -> Iterator[tuple[str, str]]:
    """Yield every cell of every table, spelled out."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield f"table {table}", "\n".join(map(str, row))


def files_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every file of the data folder but those that keep the secrets."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in KEPT_APART:
            raw = file.read_bytes()
            text = pdf_text(raw) if raw.startswith(b"%PDF") else ""
            yield f"file {file.relative_to(folder)}", raw.decode(errors="replace") + text


def pdf_text(document: bytes) -> str:
    """Return the text of a PDF, and its bytes as they are."""
    done = subprocess.run(
        ["pdftotext", "-", "-"],  # noqa: S607 - on the path of every Linux
        input=document,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout.decode(errors="replace") + document.decode(errors="replace")

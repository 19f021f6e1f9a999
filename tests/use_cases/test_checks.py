"""The system checks name what is set up wrongly, and are silent about a sound installation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.checks import ERROR
from django.db import connection

from plans import failpoints
from upgradeconsole import checks
from upgradeconsole.database_url import parse_database_url


def test_a_broken_deployers_file_is_named_with_its_line(tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "deployers.yaml"
    file.write_text("deployers:\n  fleet:\n    kind: carrier-pigeon\n")
    settings.DEPLOYERS_FILE = file
    (found,) = checks.deployers_can_be_used()
    assert found.id == "upgradeconsole.W001"
    assert "carrier-pigeon" in found.msg
    assert "line 3" in found.msg


def test_the_shipped_example_is_nobodys_platform(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who is about to rely on the console is told, and no command warns of the example."""
    monkeypatch.delenv("FLEET_TOKEN", raising=False)
    settings.DEPLOYERS_FILE = settings.BASE_DIR / "config" / "deployers.yaml"
    assert checks.deployers_can_be_used() == []
    found = checks.the_platform_is_described()[0]
    assert found.id == "upgradeconsole.W058"
    assert str(settings.DATA_DIR / "config" / "deployers.yaml") in found.hint
    own = tmp_path / "own.yaml"
    own.write_text(settings.DEPLOYERS_FILE.read_text())
    settings.DEPLOYERS_FILE = settings.DICTIONARY_FILE = own
    assert checks.the_platform_is_described() == []
    (found,) = checks.deployers_can_be_used()
    assert "FLEET_TOKEN is not set" in found.msg


def test_a_missing_dictionary_is_named(tmp_path: Path, settings: Any) -> None:
    settings.DICTIONARY_FILE = tmp_path / "none.json"
    (found,) = checks.dictionary_can_be_used()
    assert found.id == "upgradeconsole.W002"
    assert "none.json" in found.msg


def test_a_policy_file_with_a_typing_error_is_named(tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text("policies:\n  p:\n    batchs: []\n")
    settings.POLICIES_FILE = file
    assert all(found.id == "upgradeconsole.W003" for found in checks.policies_can_be_used())
    assert any("batchs" in found.msg for found in checks.policies_can_be_used())


def test_other_hosts_without_tls_are_warned_of(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "console.example.org"]
    settings.SERVED_OVER_TLS = False
    (found,) = checks.strangers_come_by_tls()
    assert "console.example.org" in found.msg
    settings.SERVED_OVER_TLS = True
    assert checks.strangers_come_by_tls() == []


def test_a_proxy_that_nobody_told_of_is_warned_of(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 0
    settings.SERVED_OVER_TLS = False
    assert checks.proxies_are_known() == []
    settings.SERVED_OVER_TLS = True
    (found,) = checks.proxies_are_known()
    assert found.id == "upgradeconsole.W057"
    settings.TRUSTED_PROXIES = 1
    assert checks.proxies_are_known() == []


def test_a_failpoint_warns_and_keeps_nobody_from_testing_but_from_deploying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    monkeypatch.delenv(failpoints.FILE_VARIABLE, raising=False)
    assert checks.no_failpoint_is_set() == checks.nobody_deploys_failpoints() == []
    monkeypatch.setenv(failpoints.VARIABLE, "watch.acted=kill")
    (warned,) = checks.no_failpoint_is_set()
    (refused,) = checks.nobody_deploys_failpoints()
    assert (warned.id, refused.id) == ("upgradeconsole.W008", "upgradeconsole.E003")
    assert warned.level < ERROR <= refused.level
    assert "watch.acted=kill" in warned.msg
    monkeypatch.delenv(failpoints.VARIABLE)
    monkeypatch.setenv(failpoints.FILE_VARIABLE, "/var/traps")
    assert "/var/traps" in checks.nobody_deploys_failpoints()[0].msg


def test_two_databases_at_once_are_refused(settings: Any, monkeypatch: Any) -> None:
    settings.DATABASE_ADDRESS = parse_database_url("postgres:///console")
    assert checks.one_database_is_named() == []
    monkeypatch.setenv("UPGRADECONSOLE_DB", "/var/lib/console.sqlite3")
    (found,) = checks.one_database_is_named()
    assert found.id == "upgradeconsole.E001"
    settings.DATABASE_ADDRESS = None
    assert checks.one_database_is_named() == []


def test_a_pool_without_connections_is_refused_and_a_small_one_warned_of(settings: Any) -> None:
    settings.DATABASE_ADDRESS = parse_database_url("postgres:///console")
    settings.DATABASE_POOL_SIZE = 0
    assert [found.id for found in checks.pool_serves_a_page()] == ["upgradeconsole.E002"]
    settings.DATABASE_POOL_SIZE = 2
    assert [found.id for found in checks.pool_serves_a_page()] == ["upgradeconsole.W005"]
    settings.DATABASE_POOL_SIZE = 10
    assert checks.pool_serves_a_page() == []


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgres://db.example.org/console", True),
        ("postgres://db.example.org/console?sslmode=prefer", True),
        ("postgres://db.example.org/console?sslmode=verify-full", False),
        ("postgres://127.0.0.1/console", False),
        ("postgres:///console?host=/run/postgresql", False),
    ],
)
def test_a_database_elsewhere_without_tls_is_warned_of(
    settings: Any, url: str, warned: bool
) -> None:
    settings.DATABASE_ADDRESS = parse_database_url(url)
    found = [message.id for message in checks.database_is_reached_by_tls()]
    assert found == (["upgradeconsole.W006"] if warned else [])


@pytest.mark.django_db
def test_a_clock_that_is_off_is_named_where_several_machines_share_a_database() -> None:
    assert checks.clocks_agree(databases=["default"]) == []
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=30)):
        found = [message.id for message in checks.clocks_agree(databases=["default"])]
    assert found == (["upgradeconsole.W007"] if connection.vendor == "postgresql" else [])


def test_the_shipped_policies_and_dictionary_are_sound() -> None:
    assert checks.policies_can_be_used() == []
    assert checks.dictionary_can_be_used() == []


def test_whoever_deploys_without_second_factors_is_warned(settings: Any) -> None:
    settings.REQUIRE_MFA = False
    (found,) = checks.people_who_act_have_two_factors()
    assert found.id == "upgradeconsole.W041"
    settings.REQUIRE_MFA = True
    assert checks.people_who_act_have_two_factors() == []


def test_numbers_without_a_good_token_are_warned_of(settings: Any) -> None:
    for token, warned in (("", ["W055"]), ("short", ["W056"]), ("0123456789abcdef", [])):
        settings.METRICS_TOKEN = token
        found = [message.id for message in checks.the_numbers_have_a_token()]
        assert found == [f"upgradeconsole.{name}" for name in warned]


def test_sessions_that_end_before_they_begin_are_refused(settings: Any) -> None:
    assert checks.sessions_have_an_end() == []
    settings.SESSION_HOURS = 0
    (found,) = checks.sessions_have_an_end()
    assert found.id == "upgradeconsole.E041"
    assert "UPGRADECONSOLE_SESSION_HOURS=0" in found.msg


def test_the_outbound_file_is_named_with_its_line(tmp_path: Path, settings: Any) -> None:
    settings.OUTBOUND_FILE = tmp_path / "outbound.yaml"
    settings.OUTBOUND_FILE.write_text("allow:\n  - {cidr: 10.0.0.0/8, ports: 443}\n")
    (found,) = checks.outbound_can_be_used()
    assert found.id == "upgradeconsole.W051"
    assert "line 2: allow[0].purpose" in found.msg
    settings.OUTBOUND_FILE.write_bytes(b"\xff\xfe")
    (found,) = checks.outbound_can_be_used()
    assert "cannot be read" in found.msg


def test_addresses_that_are_set_up_and_not_open_are_named(tmp_path: Path, settings: Any) -> None:
    settings.DEPLOYERS_FILE = tmp_path / "deployers.yaml"
    settings.DEPLOYERS_FILE.write_text(
        "deployers:\n  fleet:\n    kind: http\n    base_url: http://10.1.2.3:9700\n"
        "    install: {method: POST, path: /i}\n    restore: {method: POST, path: /r}\n"
        '    observe: {method: GET, path: /o, version: "$.v"}\n'
    )
    settings.DICTIONARY_FILE = tmp_path / "dictionary.json"
    settings.DICTIONARY_FILE.write_text("{")
    settings.ALERT_EVENT_URLS = ["https://example.com/hook", "http://127.0.0.1:22/"]
    fleet, hook = checks.outbound_can_be_used()
    assert fleet.id == hook.id == "upgradeconsole.W052"
    assert fleet.msg.startswith("deployer fleet cannot be reached: 10.1.2.3: this is a private")
    assert hook.msg.startswith("UPGRADECONSOLE_ALERT_URLS cannot be reached: 127.0.0.1")
    settings.OUTBOUND_FILE = tmp_path / "outbound.yaml"
    settings.OUTBOUND_FILE.write_text(
        "allow:\n  - {cidr: 10.1.2.3/32, ports: 9700, purpose: deployers}\n"
        "  - {cidr: 127.0.0.1/32, ports: 22, purpose: webhooks}\n"
    )
    assert checks.outbound_can_be_used() == []


def test_keys_that_others_may_read_are_an_error(tmp_path: Path, settings: Any) -> None:
    settings.SEALING_KEYS, settings.SEALING_KEYS_FILE = "", tmp_path / "keys"
    assert checks.sealing_keys_can_be_used() == []
    settings.SEALING_KEYS_FILE.write_text("x")
    settings.SEALING_KEYS_FILE.chmod(0o644)
    (found,) = checks.sealing_keys_can_be_used()
    assert (found.id, found.level) == ("upgradeconsole.E053", ERROR)
    assert "chmod 600" in found.msg


def test_nobody_deploys_a_console_that_is_debugged(settings: Any) -> None:
    assert checks.nobody_debugs() == []
    settings.DEBUG = True
    (found,) = checks.nobody_debugs()
    assert (found.id, found.level) == ("upgradeconsole.E054", ERROR)


@pytest.mark.parametrize(("mode", "warned"), [(0o700, False), (0o750, True), (0o755, True)])
def test_a_data_folder_that_others_can_read_is_named(
    tmp_path: Path, settings: Any, mode: int, warned: bool
) -> None:
    tmp_path.chmod(mode)
    settings.DATA_DIR = tmp_path
    found = [message.id for message in checks.data_folder_is_ours_alone()]
    assert found == (["upgradeconsole.W053"] if warned else [])


def test_mail_that_is_sent_to_nobody_is_named(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    assert [message.id for message in checks.mail_is_sent()] == ["upgradeconsole.W054"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    assert checks.mail_is_sent() == []

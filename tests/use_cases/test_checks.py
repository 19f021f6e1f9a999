"""The system checks name what is set up wrongly, and are silent about a sound installation."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import ERROR

from plans import failpoints
from upgradeconsole import checks


def test_a_broken_deployers_file_is_named_with_its_line(tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "deployers.yaml"
    file.write_text("deployers:\n  fleet:\n    kind: carrier-pigeon\n")
    settings.DEPLOYERS_FILE = file
    (found,) = checks.deployers_can_be_used()
    assert found.id == "upgradeconsole.W001"
    assert "carrier-pigeon" in found.msg
    assert "line 3" in found.msg


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


def test_a_failpoint_warns_and_keeps_nobody_from_testing_but_from_deploying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    monkeypatch.delenv(failpoints.FILE_VARIABLE, raising=False)
    assert checks.no_failpoint_is_set() == checks.nobody_deploys_failpoints() == []
    monkeypatch.setenv(failpoints.VARIABLE, "watch.acted=kill")
    (warned,) = checks.no_failpoint_is_set()
    (refused,) = checks.nobody_deploys_failpoints()
    assert (warned.id, refused.id) == ("upgradeconsole.W005", "upgradeconsole.E001")
    assert warned.level < ERROR <= refused.level
    assert "watch.acted=kill" in warned.msg
    monkeypatch.delenv(failpoints.VARIABLE)
    monkeypatch.setenv(failpoints.FILE_VARIABLE, "/var/traps")
    assert "/var/traps" in checks.nobody_deploys_failpoints()[0].msg


def test_the_shipped_policies_and_dictionary_are_sound() -> None:
    assert checks.policies_can_be_used() == []
    assert checks.dictionary_can_be_used() == []

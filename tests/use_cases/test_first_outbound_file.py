"""What a console may reach on its first day: this machine, as far as its first files go."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as ours

from upgradeconsole import checks
from upgradeconsole.demo.config_files import ready_outbound, render_demo_config
from upgradeconsole.outbound import RulesFile, refusal_of

PLATFORM, RECEIVER = "http://127.0.0.1:9700/x", "http://127.0.0.1:9800/hook"


def test_a_new_console_reaches_platforms_of_this_machine(tmp_path: Path) -> None:
    rules = RulesFile(ready_outbound(tmp_path / "config", demo=False))()
    assert refusal_of(PLATFORM, rules, "deployers") == ""
    assert refusal_of(PLATFORM, rules, "metrics") == ""
    assert "loopback" in refusal_of(RECEIVER, rules, "webhooks")
    assert "loopback" in refusal_of(RECEIVER, rules, "sign_on")
    assert "loopback" in refusal_of("http://127.0.0.1:22/", rules, "deployers")
    assert "private" in refusal_of("http://10.0.0.1:9700/", rules, "deployers")


def test_a_demonstration_also_tells_its_alerts_here(tmp_path: Path) -> None:
    rules = RulesFile(render_demo_config(tmp_path, 9811).outbound)()
    assert refusal_of(RECEIVER, rules, "webhooks") == ""
    assert "private" in refusal_of("http://10.0.0.1:9700/", rules, "webhooks")


def test_a_file_that_is_there_stays_as_the_administrator_wrote_it(tmp_path: Path) -> None:
    file = ready_outbound(tmp_path, demo=True)
    file.write_text("allow: []")
    assert ready_outbound(tmp_path, demo=False) == file
    render_demo_config(tmp_path, 9811)
    assert file.read_text() == "allow: []"


def test_the_example_opens_what_the_other_examples_name(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEET_TOKEN", "any-token-at-all")
    examples = ours.BASE_DIR / "config"
    # As if they were this installation's own.
    settings.BASE_DIR = tmp_path
    settings.OUTBOUND_FILE = examples / "outbound.yaml"
    settings.DEPLOYERS_FILE = examples / "deployers.yaml"
    settings.DICTIONARY_FILE = examples / "monitoring" / "version_upgrade_dashboards.json"
    settings.ALERT_EVENT_URLS = []
    assert checks.outbound_can_be_used() == []
    assert refusal_of("http://127.0.0.1:9701/", RulesFile(settings.OUTBOUND_FILE)(), "deployers")

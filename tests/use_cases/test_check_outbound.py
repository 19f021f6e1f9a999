"""`check_outbound` tells which addresses the console may reach, and the lines that open them."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from batches.rollout.readiness import missing_names
from reports.models import Endpoint

pytestmark = pytest.mark.django_db
DEPLOYERS = """
deployers:
  fleet:
    kind: http
    base_url: http://127.0.0.1:9700
    install: {method: POST, path: /i}
    restore: {method: POST, path: /r}
    observe: {method: GET, path: /o, version: "$.v"}
"""


@pytest.fixture
def installation(tmp_path: Path, settings: Any) -> Path:
    settings.DEPLOYERS_FILE = tmp_path / "deployers.yaml"
    settings.DEPLOYERS_FILE.write_text(DEPLOYERS)
    settings.DICTIONARY_FILE = tmp_path / "dictionary.json"
    settings.DICTIONARY_FILE.write_text(
        '{"kpis": [{"name": "error_rate", "kind": "gauge", "unit": "%", "direction": "lower"}],'
        ' "sources": {"prom": {"kind": "prometheus", "url": "http://localhost:9090"}},'
        ' "mappings": [{"kpi": "error_rate", "source": "prom", "value": {"query": "x"},'
        ' "tenant_label": "tenant"}], "dashboards": []}'
    )
    settings.ALERT_EVENT_URLS = []
    settings.OUTBOUND_FILE = tmp_path / "outbound.yaml"
    return settings.OUTBOUND_FILE


def told() -> str:
    out = io.StringIO()
    call_command("check_outbound", stdout=out)
    return out.getvalue()


def test_every_address_is_judged_by_where_it_leads(installation: Path) -> None:
    Endpoint.objects.create(name="pager", url="http://10.0.0.9/hook")
    out = io.StringIO()
    with pytest.raises(CommandError, match="3 of these cannot be reached"):
        call_command("check_outbound", stdout=out)
    text = out.getvalue()
    assert "deployer fleet, http://127.0.0.1:9700: 127.0.0.1: this is this machine" in text
    assert "metric source prom, http://localhost:9090: localhost is " in text
    assert "endpoint pager, http://10.0.0.9/hook: 10.0.0.9: this is a private network" in text


def test_what_is_opened_may_be_reached(installation: Path) -> None:
    installation.write_text(
        "allow:\n"
        "  - {cidr: 127.0.0.0/8, ports: [9700, 9090], purpose: [deployers, metrics]}\n"
        '  - {cidr: "::1/128", ports: 9090, purpose: metrics}\n'
    )
    assert told().count("may be reached") == 2


def test_a_broken_file_is_told_first(installation: Path) -> None:
    installation.write_text("allow: [")
    with pytest.raises(CommandError, match="line 2"):
        told()


def test_no_plan_is_drafted_for_a_platform_that_cannot_be_reached(installation: Path) -> None:
    (problem,) = missing_names("fleet", None)
    assert problem.startswith("deployer: 'fleet' cannot be reached: 127.0.0.1: ")
    assert "purpose: deployers}" in problem
    installation.write_text("allow: [{cidr: 127.0.0.1/32, ports: 9700, purpose: deployers}]")
    assert missing_names("fleet", None) == []

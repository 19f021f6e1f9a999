"""A rehearsal opens what its own files name, and nothing else; a given file is used as it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from plans.refusal import BadInput
from tests.journeys.test_canary_secret import DEPLOYERS, POLICIES, dictionary
from upgradeconsole.outbound import RulesFile, refusal_of
from upgradeconsole.smoke.inputs import Rehearsal, read_rehearsal
from upgradeconsole.smoke.way_out import VARIABLE, opened, outbound_file


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("FLEET_TOKEN", "any-token-at-all")
    monkeypatch.delenv(VARIABLE, raising=False)
    texts = {
        "policies": ("policies.yaml", POLICIES),
        "deployers": ("deployers.yaml", DEPLOYERS.replace("BASE", "http://127.0.0.1:9811")),
        "dictionary": ("dictionary.json", dictionary("http://localhost:9812")),
        "tenants": ("tenants.csv", "tenant,owner_email,version\nacorn,a@example.org,1.4.2\n"),
    }
    for name, text in texts.values():
        (tmp_path / name).write_text(text)
    return {
        **{option: str(tmp_path / name) for option, (name, _text) in texts.items()},
        **{"policy": "quick", "deployer": "fleet", "plugin": "invoice-export", "to": "1.5.0"},
        **{"soak_scale": 1.0, "timeout": None, "no_takeover": False, "outbound": None},
    }


def read(options: dict[str, object], **more: object) -> Rehearsal:
    return read_rehearsal({**options, **more})


def test_the_addresses_that_the_files_name_are_opened_and_no_other(options, tmp_path):
    rules = RulesFile(outbound_file(read(options), tmp_path / "new"))()
    assert refusal_of("http://127.0.0.1:9811/tenants/x", rules, "deployers") == ""
    assert refusal_of("http://127.0.0.1:9812/metrics", rules, "metrics") == ""
    assert refusal_of("http://127.0.0.1:9811/", rules, "webhooks")
    assert refusal_of("http://127.0.0.1:9811/", rules, "metrics")
    assert refusal_of("http://127.0.0.1:9812/", rules, "deployers")
    assert refusal_of("http://127.0.0.1:5432/", rules, "deployers")
    assert "127.0.0.1 port 9811 (deployers)" in opened(rules)


def test_public_platforms_need_no_line(options, tmp_path):
    for name, old in (("deployers", "http://127.0.0.1:9811"), ("dictionary", "http://localhost")):
        file = Path(str(options[name]))
        file.write_text(file.read_text().replace(old, "https://8.8.8.8").replace(":9812", ""))
    assert RulesFile(outbound_file(read(options), tmp_path / "new"))().openings == ()


def test_a_metadata_address_is_not_opened_by_naming_it(options, tmp_path):
    file = Path(str(options["deployers"]))
    file.write_text(file.read_text().replace("127.0.0.1:9811", "169.254.169.254"))
    rules = RulesFile(outbound_file(read(options), tmp_path / "new"))()
    assert "metadata" in refusal_of("http://169.254.169.254/", rules, "deployers")


def test_a_given_file_is_used_and_judged_with_the_rest(options, tmp_path, monkeypatch):
    given = tmp_path / "given.yaml"
    given.write_text("allow: [{cidr: 10.0.0.0/8, ports: 443, purpose: deployers}]")
    rehearsal = read(options, outbound=str(given))
    assert outbound_file(rehearsal, tmp_path / "new") == given
    given.write_text("allow: [{cidr: 10.0.0.0/8, ports: 443}]")
    with pytest.raises(BadInput, match="purpose"):
        read(options, outbound=str(given))
    with pytest.raises(BadInput, match="--outbound /no/such"):
        read(options, outbound="/no/such")
    monkeypatch.setenv(VARIABLE, str(given))
    unnamed = replace(rehearsal, outbound_file=None)
    assert outbound_file(unnamed, tmp_path / "new") == given
    assert not (tmp_path / "new").exists()

"""`smoke_upgrade` rehearses a whole upgrade on real processes against a fleet of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plans.models import User
from plans.refusal import BadInput
from plans.releases.signature import new_key, sign_release
from upgradeconsole.demo.config_files import render_demo_config
from upgradeconsole.demo.releases import BASELINE, PLUGIN, digest_of
from upgradeconsole.demo.tenants import demo_tenants
from upgradeconsole.smoke.inputs import read_rehearsal
from upgradeconsole.smoke.stage import require_own_database

ROOT = Path(__file__).resolve().parents[2]
TENANTS = 8
# The bad release fails so often, and the good one is allowed so much, that chance has no say.
POLICIES = """
policies:
  quick:
    description: "Two tenants, then six"
    batches:
      - {name: canary, percentage: 25, soak_minutes: 0.05, metrics: [error_rate]}
      - {name: rest, percentage: 75, soak_minutes: 0.05}
    rollback_thresholds: {error_rate: 15}
    limits: {look_seconds: 1}
approvals:
  default: {required_roles: [system_admin, role_admin, compliance]}
"""
BAD = {"error_rates": {"1.5.1": 0.9}}


@dataclass(frozen=True)
class Fleet:
    """A fleet in a process of its own, and the files that name it."""

    url: str
    files: dict[str, str]
    log: Path

    def versions(self) -> dict[str, str]:
        tenants = [tenant["tenant"] for tenant in demo_tenants(TENANTS)]
        return {key: self._get(f"/tenants/{key}")["version"] for key in tenants}

    def applied(self, direction: str) -> list[str]:
        """Return the tenants to which the fleet applied a call, as its own log tells it."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return sorted(e["tenant"] for e in entries if e["direction"] == direction and e["applied"])

    def turn(self, knobs: dict[str, Any]) -> None:
        body = json.dumps(knobs).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/_knobs", body, headers), timeout=5
        ).close()

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return json.load(answer)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    log = tmp_path / "fleet.jsonl"
    argv = [
        *(sys.executable, "-m", "upgradeconsole.demo.fleet", "--port", "0"),
        *("--tenants", str(TENANTS), "--log", str(log), "--latency", "0.05"),
    ]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().split()[-1]
        config = render_demo_config(tmp_path / "config", int(url.rpartition(":")[2]))
        policies = tmp_path / "policies.yaml"
        policies.write_text(POLICIES)
        tenants = tmp_path / "tenants.csv"
        rows = [f"{t['tenant']},{t['owner_email']},{BASELINE}" for t in demo_tenants(TENANTS)]
        tenants.write_text("\n".join(["tenant,owner_email,version", *rows]) + "\n")
        files = {
            "--policies": str(policies),
            "--deployers": str(config.deployers),
            "--dictionary": str(config.dashboards),
            "--tenants": str(tenants),
        }
        yield Fleet(url, files, log)
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def command(fleet: Fleet, *more: str) -> list[str]:
    """Return the command line of a rehearsal."""
    named = [part for option in fleet.files.items() for part in option]
    return [
        *(sys.executable, "manage.py", "smoke_upgrade", "--json", *named),
        *("--policy", "quick", "--deployer", "fleet", "--plugin", PLUGIN, *more),
    ]


def environment(fleet: Fleet) -> dict[str, str]:
    """Return the environment of somebody who names no database; what is left goes with the test."""
    named = ("UPGRADECONSOLE_", "DJANGO_SETTINGS_MODULE")
    own = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    return {**own, "TMPDIR": str(fleet.log.parent)}


def run(fleet: Fleet, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(fleet, *more),
        cwd=ROOT,
        env=environment(fleet),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def started(fleet: Fleet, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(fleet, *more),
        cwd=ROOT,
        env=environment(fleet),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    return json.loads(lines[-1])


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose console works in the folder."""
    wanted = f"UPGRADECONSOLE_DATA={folder}\0".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_good_release_reaches_every_tenant_and_the_fleet_agrees(fleet, tmp_path):
    done = run(fleet, "--to", "1.5.0", "--soak-scale", "0.5", "--keep", str(tmp_path / "k"))
    result = outcome(done)

    assert done.returncode == result["exit"] == 0
    assert result["state"] == "completed"
    assert result["on_target"] == result["tenants"] == TENANTS
    assert set(fleet.versions().values()) == {"1.5.0"}
    assert fleet.applied("install") == sorted(t["tenant"] for t in demo_tenants(TENANTS))
    assert [(batch["name"], batch["tenants"]) for batch in result["batches"]] == [
        ("canary", 2),
        ("rest", 6),
    ]
    assert result["batches"][0]["calls_done_at"] < result["batches"][1]["called_at"]
    assert result["rollback"] is None
    assert Path(result["report"]).read_bytes().startswith(b"%PDF")
    assert "made for this run alone" in done.stderr
    assert "soaks and windows of the policy are multiplied by 0.5" in done.stderr
    assert len(re.findall(r" approved as ", done.stderr)) == 3
    assert processes_of(tmp_path / "k") == []


@pytest.mark.slow
def test_a_bad_release_is_taken_back_from_every_tenant_that_it_touched(fleet):
    fleet.turn(BAD)

    done = run(fleet, "--to", "1.5.1")
    result = outcome(done)

    touched = fleet.applied("install")
    assert done.returncode == result["exit"] == 1
    assert result["state"] == "rolled_back"
    assert len(touched) == result["rolled_back"] == 2
    assert fleet.applied("restore") == touched
    assert set(fleet.versions().values()) == {BASELINE}
    assert result["excluded"] == TENANTS - 2
    assert result["on_target"] == result["needs_hand"] == 0
    rollback = result["rollback"]
    assert rollback["trigger"] == "breach"
    assert "error_rate" in rollback["sentence"]
    assert rollback["triggered_at"] < rollback["first_call_at"] < rollback["verified_at"]
    assert 0 < rollback["seconds"] <= rollback["quote_seconds"]
    report = Path(result["report"])
    assert report.read_bytes().startswith(b"%PDF")
    # Of a rehearsal that nobody wanted to keep only the report is left.
    folder = report.parents[2]
    assert [path.name for path in folder.iterdir()] == ["reports"]
    assert processes_of(folder) == []


@pytest.mark.slow
def test_without_takeover_even_late_hands_do_all_the_work(fleet, tmp_path):
    folder = tmp_path / "kept"
    options = ("--to", "1.5.0", "--no-takeover", "--keep", str(folder))
    with started(fleet, *options) as process:
        said = ""
        while "Batch 1 (canary) began" not in said:
            said = process.stderr.readline()
            if "asked for approval" in said:
                hands = _group_of(folder, "hands-effects")
                os.killpg(hands, signal.SIGSTOP)
        # Longer than the two seconds after which a watch that may would do it.
        time.sleep(4)
        os.killpg(hands, signal.SIGCONT)
        output, _errors = process.communicate(timeout=90)

    result = json.loads(output.splitlines()[-1])
    assert result["exit"] == 0
    assert [batch["executor"] for batch in result["batches"]] == ["hands", "hands"]


def _group_of(folder: Path, name: str) -> int:
    status_file = folder / "supervisor.json"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if status_file.exists():
            child = json.loads(status_file.read_text())["children"].get(name, {})
            if child.get("group"):
                return child["group"]
        time.sleep(0.05)
    raise AssertionError(f"{name} was not started")


@pytest.mark.slow
def test_a_rehearsal_that_is_told_to_end_leaves_no_process(fleet, tmp_path):
    folder = tmp_path / "kept"
    with started(fleet, "--to", "1.5.0", "--keep", str(folder)) as process:
        _group_of(folder, "hands-paperwork")
        assert len(processes_of(folder)) > 4
        process.terminate()
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert output == ""
    assert "its processes have ended" in errors
    assert processes_of(folder) == []


def test_bad_input_is_refused_with_everything_that_is_wrong(fleet, tmp_path):
    tenants = tmp_path / "wrong.csv"
    tenants.write_text("tenant,owner_email\nac orn,x\nbirch,birch@example.org\nbirch,\n")
    wrong = ("--deployer", "nobody", "--policy", "safe", "--tenants", str(tenants))

    done = run(fleet, "--to", "1.5.0", *wrong, "--soak-scale", "0", "--release", "missing.dsse")

    assert done.returncode == 5
    assert done.stdout == ""
    for problem in (
        "--policy safe: the file has quick",
        "--deployer nobody: the file has fleet",
        "line 2: tenant: 'ac orn' is no key",
        "line 2: owner_email: 'x'",
        "line 4: tenant: 'birch' stands on line 3 already",
        "--soak-scale 0",
        "--release missing.dsse: cannot be read",
        "--release needs --trust-key",
    ):
        assert problem in done.stderr
    assert fleet.applied("install") == []


def test_a_release_that_is_handed_in_must_be_signed_for_what_is_rehearsed(fleet, tmp_path):
    key = new_key()
    _statement, envelope = sign_release(PLUGIN, "1.5.0", digest_of("1.5.0"), key.private_pem)
    (tmp_path / "release.json.dsse").write_text(envelope)
    (tmp_path / "key.pem").write_text(key.public_pem)
    options: dict[str, Any] = {
        **{name.removeprefix("--"): value for name, value in fleet.files.items()},
        **{"policy": "quick", "deployer": "fleet", "plugin": PLUGIN, "soak_scale": 1.0},
        "release": str(tmp_path / "release.json.dsse"),
        "trust_key": str(tmp_path / "key.pem"),
        **{"timeout": None, "no_takeover": False},
    }

    fits = read_rehearsal({**options, "to": "1.5.0"})
    with pytest.raises(BadInput, match=r"is signed for invoice-export 1\.5\.0, not for .* 1\.5\.1"):
        read_rehearsal({**options, "to": "1.5.1"})

    assert fits.release is not None
    assert fits.release.key_id == key.key_id


def test_options_that_nobody_knows_are_bad_input_too(fleet):
    assert run(fleet, "--to", "1.5.0", "--faster").returncode == 5


def test_a_database_with_people_of_others_is_not_rehearsed_in(db):
    User.objects.create_user("olga@example.org", name="Olga")

    with pytest.raises(BadInput, match="holds 1 person and 0 plans that no rehearsal made"):
        require_own_database()

    assert User.objects.count() == 1

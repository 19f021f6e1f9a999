"""Somebody else's platform, with files written from the contracts alone: no change of code."""

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.stack import (
    HOST,
    ROOT,
    clean_environ,
    ends_with_us,
    free_port,
    processes_of,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECOND_FLEET = ROOT / "tests" / "second_fleet"
ITS_PORT = "9811"
PLUGIN = "berth-planner"
OLD, GOOD, BAD = "2.0.0", "2.1.0", "2.2.0"
TOKEN = "harbor-secret"
PIERS = [f"pier-{number:03}" for number in range(1, 41)]


@dataclass(frozen=True, slots=True)
class Harbor:
    """The second platform while it runs; `files` name its port."""

    folder: Path
    url: str

    def log(self, what: str) -> list[dict[str, Any]]:
        """Return the lines of one kind that it wrote, oldest first."""
        text = (self.folder / "harbor.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["what"] == what]

    def inventories(self) -> dict[str, dict[str, Any]]:
        """Return what each customer runs."""
        return {pier: self._inventory(pier) for pier in PIERS}

    def releases(self) -> dict[str, str]:
        """Return each customer's release."""
        shown = self.inventories().items()
        return {pier: str(item["running"]["release"]["number"]) for pier, item in shown}

    def _inventory(self, pier: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/customers/{pier}/inventory?plugin={PLUGIN}",
            headers={"X-Harbor-Token": TOKEN},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            item: dict[str, Any] = json.loads(reply.read())["inventory"][0]
        return item

    def answers(self) -> bool:
        """Tell whether it listens."""
        try:
            return bool(self._inventory(PIERS[0]))
        except OSError:
            return False


@pytest.fixture
def harbor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Harbor]:
    """Run the second platform on a free port, and copy its files with that port in them.

    A test may give it more options as its parameter.
    """
    port = free_port()
    for file in SECOND_FLEET.iterdir():
        if file.suffix in {".yaml", ".json", ".csv"}:
            text = file.read_text(encoding="utf-8").replace(ITS_PORT, str(port))
            (tmp_path / file.name).write_text(text, encoding="utf-8")
    program = [sys.executable, str(SECOND_FLEET / "harbor.py"), "--port", str(port)]
    with (tmp_path / "harbor.txt").open("wb") as out:
        process = subprocess.Popen(
            [*program, "--log", str(tmp_path / "harbor.jsonl"), *getattr(request, "param", [])],
            env=clean_environ(HARBOR_TOKEN=TOKEN),
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    running = Harbor(tmp_path, f"http://{HOST}:{port}")
    try:
        wait_until(running.answers, 30, "Harbor listens")
        yield running
    finally:
        process.terminate()
        process.wait(20)


def rehearse(
    harbor: Harbor, version: str, data: Path, *, soak_scale: float
) -> tuple[int, dict[str, Any], str]:
    """Upgrade the whole harbour; return the exit code, the result and what was said.

    The policy soaks for 18, 18 and 15 s, and a look is due each 5 s.
    """
    arguments = {
        "--policies": harbor.folder / "policies.yaml",
        "--policy": "harbor-tide",
        "--deployers": harbor.folder / "deployers.yaml",
        "--deployer": "harbor",
        "--dictionary": harbor.folder / "dictionary.json",
        "--tenants": harbor.folder / "tenants.csv",
        "--plugin": PLUGIN,
        "--to": version,
        "--soak-scale": soak_scale,
        "--timeout": "150",
        "--keep": data,
    }
    done = subprocess.run(
        [
            *(sys.executable, "manage.py", "smoke_upgrade", "--json"),
            *(str(word) for pair in arguments.items() for word in pair),
        ],
        cwd=ROOT,
        env=clean_environ(HARBOR_TOKEN=TOKEN),
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    told = f"{done.stdout}\n{done.stderr}"
    assert done.returncode in {0, 1}, told
    assert not processes_of(data), "the rehearsal left processes"
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), told


def journal_of(data: Path) -> list[tuple[str, str]]:
    """Return tenant and key of every call that the rehearsal's journal holds."""
    database = f"file:{data / 'console.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True)) as connection:
        return sorted(
            connection.execute(
                "SELECT u.tenant_key, c.key FROM batches_deployercall c"
                " JOIN batches_tenantupgrade u ON u.id = c.upgrade_id"
            )
        )


def test_a_good_release_goes_to_every_pier(harbor, tmp_path):
    code, result, told = rehearse(harbor, GOOD, (tmp_path / "data").resolve(), soak_scale=0.35)

    assert (code, result["state"]) == (0, "completed"), told
    assert set(harbor.releases().values()) == {GOOD}
    finished = harbor.log("install.finished")
    assert sorted(line["customer"] for line in finished if line["applied"]) == PIERS
    assert [batch["tenants"] for batch in result["batches"]] == [3, 13, 24]
    assert result["on_target"] == 40
    # One call for each pier and none refused, no restore.
    assert [line["status"] for line in harbor.log("install")] == [202] * 40
    assert harbor.log("restore") == []
    assert Path(result["report"]).read_bytes().startswith(b"%PDF")


def test_a_bad_release_is_taken_back_with_the_settings_as_they_were(harbor, tmp_path):
    before, data = harbor.inventories(), (tmp_path / "data").resolve()

    code, result, told = rehearse(harbor, BAD, data, soak_scale=0.7)

    assert (code, result["state"]) == (1, "rolled_back"), told
    assert harbor.inventories() == before
    installed = {line["customer"] for line in harbor.log("install.finished") if line["applied"]}
    restored = {line["customer"] for line in harbor.log("restore.finished") if line["applied"]}
    # Three piers saw it, the other 37 never did.
    assert len(installed) == 3
    assert restored == installed
    assert {line["customer"] for line in harbor.log("install")} == installed
    assert result["rolled_back"] == 3
    assert result["excluded"] == 37
    assert "error_rate 9 %" in result["rollback"]["sentence"]
    assert result["rollback"]["seconds"] < 60
    fences = [int(line["fence"]) for line in harbor.log("restore")]
    assert min(fences) > max(int(line["fence"]) for line in harbor.log("install"))
    arrived = [
        (line["customer"], line["operation"])
        for what in ("install", "restore")
        for line in harbor.log(what)
    ]
    assert sorted(arrived) == journal_of(data)


@pytest.mark.parametrize("harbor", [["--jam-once", "restore"]], indirect=True)
def test_restores_that_fail_once_are_asked_for_anew(harbor, tmp_path):
    before = harbor.inventories()

    # Harbor answers a key that it knows as before, a broken operation included.
    code, result, told = rehearse(harbor, BAD, (tmp_path / "data").resolve(), soak_scale=0.7)

    assert (code, result["state"]) == (1, "rolled_back"), told
    assert harbor.inventories() == before
    finished = harbor.log("restore.finished")
    assert sorted(line["status"] for line in finished) == ["BROKEN"] * 3 + ["SUCCEEDED"] * 3
    assert len({line["operation"] for line in finished}) == 6

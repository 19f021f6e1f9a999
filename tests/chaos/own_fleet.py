"""A fleet of the tests' own: of any size, and outside the console's folder and supervisor.

What happens to the console's disk or processes does not happen to the platform, which stays the
judge.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.journeys.stack import HOST, ROOT, Stack, ask, ends_with_us, free_port, wait_until
from upgradeconsole.demo.config_files import render_demo_config
from upgradeconsole.demo.tenants import demo_tenants


@dataclass(frozen=True, slots=True)
class OwnFleet:
    """A fleet that runs; its `environ` makes a console use it."""

    url: str
    log: Path
    tenants: list[str]
    environ: dict[str, str] = field(default_factory=dict)

    def take_over(self, stack: Stack) -> None:
        """Let a stack's questions about the platform be asked of this one."""
        stack.fleet_url, stack.fleet_log = self.url, self.log


@contextmanager
def own_fleet(folder: Path, *, tenants: int, latency: float) -> Iterator[OwnFleet]:
    """Run a fleet until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "calls.jsonl"
    log.touch()
    config = render_demo_config(folder / "config", port)
    with (folder / "fleet.txt").open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "upgradeconsole.demo.fleet", "--port", str(port)),
                *("--tenants", str(tenants), "--latency", str(latency)),
                *("--log", str(log)),
            ],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    url = f"http://{HOST}:{port}"
    try:
        wait_until(lambda: _answers(url), 30, "the tests' own fleet answers")
        yield OwnFleet(
            url,
            log,
            [tenant["tenant"] for tenant in demo_tenants(tenants)],
            {
                "UPGRADECONSOLE_DEPLOYERS": str(config.deployers),
                "UPGRADECONSOLE_DICTIONARY": str(config.dashboards),
            },
        )
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return ask("GET", f"{url}/_knobs")[0] == 200
    except OSError:
        return False


def import_all(stack: Stack, fleet: OwnFleet, folder: Path) -> None:
    """Let the console know every tenant of the fleet."""
    rows = ["tenant,name,owner_email,version,labels"]
    rows += [
        f"{tenant['tenant']},{tenant['name']},{tenant['owner_email']},{tenant['version']},"
        for tenant in demo_tenants(len(fleet.tenants))
    ]
    file = folder / "tenants.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = stack.beside(
        "manage.py", "import_tenants", str(file), "--plugin", "invoice-export", seconds=180
    )
    assert done.returncode == 0, done.stderr

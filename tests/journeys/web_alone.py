"""The web process alone, over a data folder that is there: no fleet, no watch, no hands."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.stack import HOST, ROOT, ask, ends_with_us, free_port, wait_until


@contextmanager
def web_alone(data: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve the folder's console; yield its address."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(port)]
    with (data / "web.txt").open("wb") as out:
        web = subprocess.Popen(
            [*daphne, "--no-server-name", "upgradeconsole.asgi:application"],
            cwd=ROOT,
            env={**environ, "UPGRADECONSOLE_URL": url},
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    try:
        wait_until(lambda: _answers(url), 60, f"web answers; see {data}")
        yield url
    finally:
        web.terminate()
        web.wait(20)


def _answers(url: str) -> bool:
    try:
        return ask("GET", f"{url}/livez")[0] == 200
    except OSError:
        return False

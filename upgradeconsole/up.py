"""Start the whole console on one machine: `python -m upgradeconsole.up`.

This process stays small and does no work of its own: it readies the data folder, lets one Django
process migrate and seed, and then supervises.
"""

import argparse
import fcntl
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from upgradeconsole.demo.config_files import DEFAULT_PORT as FLEET_PORT
from upgradeconsole.demo.config_files import ready_outbound, render_demo_config
from upgradeconsole.secret_environ import remember_environment
from upgradeconsole.supervisor import SECONDS_TO_END, ChildSpec, Supervisor

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PORT = 8000
SECONDS_TO_ANSWER = 60.0
UNCHECKED = ("--skip-checks",)
"""The checks ran before; once more they would load every page into processes that have none."""


class CannotStart(Exception):
    """Say why the console does not start, and what to do about it."""


def main(argv: Sequence[str]) -> int:
    """Run the console until it is told to end; return the exit code."""
    began = time.monotonic()
    # Whatever the programs write, their logs hold none of these.
    remember_environment()
    options = _read_options(argv)
    data = _data_folder(options)
    url = f"http://{HOST}:{options.port}"
    try:
        lock = _lock(data, url)
        with lock:
            _wait_for_leftovers(data / "supervisor.json")
            _require_free(options.port, "another port: ./console up --port N")
            os.environ.setdefault("UPGRADECONSOLE_URL", url)
            os.environ["UPGRADECONSOLE_DATA"] = str(data)
            # Read by seed_demo, which writes the demo's own deployers and metric sources.
            os.environ["UPGRADECONSOLE_FLEET_PORT"] = str(options.fleet_port or FLEET_PORT)
            # Log lines at once, and no memory arena per thread.
            os.environ.update({"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"})
            if "UPGRADECONSOLE_OUTBOUND" not in os.environ:
                ready_outbound(data / "config", demo=not options.no_demo)
            logins = data / "demo-logins.txt"
            first_time = not logins.exists()
            _prepare(with_demo=not options.no_demo)
            has_demo = logins.exists()
            if has_demo:
                # A demonstration is tried with passwords alone; every page says so.
                os.environ.setdefault("UPGRADECONSOLE_REQUIRE_MFA", "0")
            threading.Thread(
                target=_announce, args=(options.port, logins, first_time, began), daemon=True
            ).start()
            Supervisor(
                _children(options.port, data, _fleet_port(options, data) if has_demo else None),
                log_dir=data / "logs",
                status_file=data / "supervisor.json",
            ).run()
    except CannotStart as why:
        _say(str(why))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _read_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./console up", description="Start the console.")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the pages; {PORT}")
    parser.add_argument("--no-demo", action="store_true", help="leave an empty database empty")
    parser.add_argument("--data", help="folder of the database, logs and reports; ./data")
    parser.add_argument("--fleet-port", type=int, help=f"of the demo's tenants; {FLEET_PORT}")
    parser.add_argument("--relative-to", default=".", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _data_folder(options: argparse.Namespace) -> Path:
    named = options.data or os.environ.get("UPGRADECONSOLE_DATA")
    data = Path(options.relative_to, named) if named else ROOT / "data"
    # Its files hold the secret key and people's sessions.
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Collected static files are optional; the folder is not.
    (data / "static").mkdir(exist_ok=True)
    return data.resolve()


def _lock(data: Path, url: str) -> IO[str]:
    """Return the open lock file; the kernel drops the lock when this process ends, however."""
    lock = (data / "up.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise CannotStart(
            f"A console already runs on {data}: {holder}. End it first, or use --data DIR."
        ) from None
    lock.seek(0)
    lock.truncate()
    lock.write(f"process {os.getpid()}, {url}")
    lock.flush()
    return lock


def _wait_for_leftovers(status_file: Path) -> None:
    """Wait until the children of a supervisor that was killed have ended, as they do by themselves.

    Raise CannotStart when they have not within the time that they have for it.
    """
    if not status_file.exists():
        return
    children = json.loads(status_file.read_text(encoding="utf-8"))["children"].values()
    groups = [child["group"] for child in children if child["group"]]
    until = time.monotonic() + SECONDS_TO_END + 2
    while any(map(_is_our_group, groups)):
        if time.monotonic() > until:
            raise CannotStart(
                f"Processes of an earlier start are still running; {status_file} names them."
            )
        time.sleep(0.1)
    status_file.unlink()


def _is_our_group(group: int) -> bool:
    """Say whether a holder leads the group: the pid may belong to somebody else by now."""
    try:
        command = Path(f"/proc/{group}/cmdline").read_bytes()
    except OSError:
        return False
    return b"supervisor_child.py" in command


def _require_free(port: int, instead: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} cannot be used ({error.strerror}). Take {instead}."
            ) from error


def _prepare(*, with_demo: bool) -> None:
    arguments = [] if with_demo else ["--no-demo"]
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare", *arguments], cwd=ROOT, check=False
    )
    if done.returncode:
        raise CannotStart("The database could not be made ready; the reason stands above.")


def _fleet_port(options: argparse.Namespace, data: Path) -> int:
    """Return the free port of the demo's tenants: the one asked for now, or that of last time."""
    config = data / "config"
    if options.fleet_port:
        render_demo_config(config, options.fleet_port)
    named = re.search(rf"{HOST}:(\d+)", (config / "deployers.yaml").read_text(encoding="utf-8"))
    port = int(named[1]) if named else FLEET_PORT
    _require_free(port, "another one for the demo: ./console up --fleet-port N")
    return port


def _children(port: int, data: Path, fleet_port: int | None) -> list[ChildSpec]:
    manage = [sys.executable, str(ROOT / "manage.py")]
    application = "upgradeconsole.asgi:application"
    web = [sys.executable, "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(port)]
    web.append("--no-server-name")
    fleet = [
        *(sys.executable, "-m", "upgradeconsole.demo.fleet", "--port", str(fleet_port)),
        *("--state", str(data / "fleet.json"), "--log", str(data / "fleet-calls.jsonl")),
    ]
    return [
        ChildSpec("web", [*web, application]),
        *([ChildSpec("fleet", fleet)] if fleet_port else []),
        # Its successor has ten seconds in all, eight of which the lease of a dead watch may take.
        ChildSpec("watch", [*manage, "watch", *UNCHECKED], longest_back_off=1.0),
        ChildSpec("hands-effects", [*manage, "qcluster", *UNCHECKED]),
        ChildSpec(
            "hands-paperwork", [*manage, "qcluster", *UNCHECKED], {"Q_CLUSTER_NAME": "paperwork"}
        ),
    ]


def _announce(port: int, logins: Path, first_time: bool, began: float) -> None:
    """Say where the console is as soon as it answers there."""
    until = time.monotonic() + SECONDS_TO_ANSWER
    while not _answers(port):
        if time.monotonic() > until:
            _say(f"The console does not answer yet; {logins.parent / 'logs' / 'web.log'} says why.")
            return
        time.sleep(0.1)
    _say(f"Upgrade Console is at http://{HOST}:{port} ({time.monotonic() - began:.1f} s).")
    if logins.exists():
        if first_time:
            _say(f"Log-ins of the demonstration, shown this once:\n{logins.read_text('utf-8')}")
        _say(f"Log-ins are kept in {logins}.")
    _say("Ctrl-C ends it.")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

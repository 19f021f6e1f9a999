"""A PostgreSQL server of one's own for a while: unprivileged, on loopback, gone afterwards."""

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.journeys.stack import free_port

DEBIAN = Path("/usr/lib/postgresql")
USER = "console"
PASSWORD = "only-loopback"
# initdb refuses to run as root; any of these will do.
UNPRIVILEGED = ("postgres", "nobody")
SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 20.0
_PR_SET_PDEATHSIG = 1
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "200",
    # A deadlock shows at once, and the launcher fails when the log tells of one.
    "deadlock_timeout": "100ms",
    "log_lock_waits": "off",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


class NoServer(Exception):
    """PostgreSQL is not installed or did not start; the message says why."""


def programs() -> Path:
    """Return the folder of initdb and postgres, the newest version that is installed."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    found = sorted(
        (folder for folder in DEBIAN.glob("*/bin") if (folder / "initdb").exists()),
        key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0),
    )
    if not found:
        raise NoServer("PostgreSQL is not installed; type: sudo apt-get install postgresql")
    return found[-1]


class Server:
    """One server in a folder; it can be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self._bin = programs()
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the DATABASE_URL of the server's first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the DATABASE_URL of a database."""
        return f"postgres://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Create the cluster."""
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            str(self._bin / "initdb"),
            *("--pgdata", str(self.folder / "data"), "--username", USER),
            *("--pwfile", str(secret), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    str(self._bin / "postgres"),
                    *("-D", str(self.folder / "data"), "-p", str(self.port)),
                    *("-c", f"unix_socket_directories={self.folder}"),
                    *(part.replace("'", "") for part in options),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_ends_with_us,
                **_as_user(self._user),
            )
        until = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise NoServer(f"PostgreSQL did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        ready = subprocess.run(
            [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
        )
        return ready.returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGINT ends every session at once, SIGQUIT is a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def deadlocks(self) -> list[str]:
        """Return what the log says about deadlocks."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "deadlock detected" in line]

    def create_database(self, name: str) -> str:
        """Make an empty database; return its DATABASE_URL."""
        self._run(
            str(self._bin / "createdb"),
            *("-h", str(self.folder), "-p", str(self.port), "-U", USER, name),
            environ={"PGPASSWORD": PASSWORD},
        )
        return self.url_of(name)

    def _run(self, *command: str, environ: dict[str, str] | None = None) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), **(environ or {})},
            **_as_user(self._user),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NoServer(f"{command[0]} failed: {done.stderr.strip()}")


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom to run as; None where this process is no root itself."""
    if os.getuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServer(f"PostgreSQL does not run as root, and there is none of {UNPRIVILEGED}")


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _ends_with_us() -> None:
    """Let the server stop when the run is killed; after the change of user, which clears it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextmanager
def running_server() -> Iterator[Server]:
    """Make and run a server; whatever happens, it is stopped and its folder removed."""
    # Not below root's home: the unprivileged user has to get there.
    folder = Path(tempfile.mkdtemp(prefix="console-postgresql-", dir="/tmp"))
    try:
        server = Server(folder, free_port())
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""`./console` needs python3 alone, says what is missing, and never starts twice on one folder."""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from upgradeconsole import machine
from upgradeconsole.machine import missing_packages

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")

# Notes each call, answers small questions through the real Python, and pretends to install.
FAKE_PYTHON = f"""#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
*" venv "*) for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
*--editable*) : >"${{0%/*}}/powerx"; chmod +x "${{0%/*}}/powerx" ;;
*ensurepip*) exit "${{ENSUREPIP:-0}}" ;;
*" -c "*) exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the script and its locks, and nothing installed."""
    for name in ("console", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def fake_python(checkout: Path) -> Path:
    """Return a folder for PATH that holds a python3 which only pretends."""
    folder = checkout / "fake"
    folder.mkdir()
    python = folder / "python3"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return folder


def console(
    checkout: Path, *arguments: str, at: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    environ.setdefault("CALLS", str(checkout / "calls"))
    return subprocess.run(
        ["/bin/sh", checkout / "console", *arguments],
        env=environ,
        cwd=at,
        capture_output=True,
        text=True,
        check=False,
    )


def start(data: Path, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "upgradeconsole.up", "--data", data, "--port", str(port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command_and_needs_nothing(checkout):
    shown = console(checkout, "help", PATH="/usr/bin:/bin")

    assert shown.returncode == 0
    assert re.findall(r"^\./console (\w+)", shown.stdout, re.M) == [
        *("up", "test", "install", "manage", "bench", "lock", "help")
    ]


def test_an_unknown_command_is_named(checkout):
    refused = console(checkout, "lunch", PATH="/usr/bin:/bin")

    assert refused.returncode == 1
    assert "There is no command 'lunch'." in refused.stderr


def test_a_machine_without_python_is_told_what_to_type(checkout):
    refused = console(checkout, "up", PATH=str(checkout / "nothing"))

    assert refused.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed and was not found." in refused.stderr
    assert "sudo apt-get install python3 python3-venv" in refused.stderr


def test_a_python_that_is_too_old_does_not_count(checkout, fake_python):
    (fake_python / "python3").write_text("#!/bin/sh\nexit 1\n")

    refused = console(checkout, "up", PATH=str(fake_python))

    assert "Python 3.11, 3.12 or 3.13 is needed" in refused.stderr


def test_a_python_without_venv_is_told_the_package_of_its_version(checkout, fake_python):
    refused = console(checkout, "up", PATH=str(fake_python), ENSUREPIP="1")

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert refused.returncode == 1
    assert f"sudo apt-get install python{version}-venv" in refused.stderr
    assert not (checkout / ".venv").exists()


def test_the_second_start_installs_nothing_and_a_changed_lock_installs_again(checkout, fake_python):
    path = f"{fake_python}:/usr/bin:/bin"
    calls = checkout / "calls"

    for installs in (1, 1):
        assert console(checkout, "manage", "check", PATH=path).returncode == 0
        assert calls.read_text().count("--require-hashes -r requirements.lock") == installs
    (checkout / "requirements.lock").write_text(LOCK + "\n")
    console(checkout, "manage", "check", PATH=path)

    assert calls.read_text().count("--require-hashes -r requirements.lock") == 2
    assert calls.read_text().count("manage.py check") == 3


def test_the_tests_libraries_are_the_consoles_and_more(checkout, fake_python):
    path = f"{fake_python}:/usr/bin:/bin"
    calls = checkout / "calls"
    installed = "--require-hashes -r requirements"

    console(checkout, "test", "tests/decisions", PATH=path)
    assert calls.read_text().count(f"{installed}-dev.lock") == 1
    console(checkout, "manage", "check", PATH=path)
    assert calls.read_text().count(installed) == 1
    # The other way round they are not: a console alone has no tools.
    (checkout / "requirements.lock").write_text(LOCK + "\n")
    console(checkout, "manage", "check", PATH=path)
    console(checkout, "test", "tests/decisions", PATH=path)
    assert calls.read_text().count(installed) == 3


def test_install_makes_the_environment_and_looks_what_the_machine_lacks(checkout, fake_python):
    path = f"{fake_python}:/usr/bin:/bin"

    assert console(checkout, "install", PATH=path).returncode == 0

    calls = (checkout / "calls").read_text()
    assert "--require-hashes -r requirements.lock" in calls
    assert "-m upgradeconsole.machine" in calls
    # No data folder of root's, no settings that are not the service's.
    assert "manage.py" not in calls


def test_files_of_a_management_command_are_named_from_where_it_is_typed(checkout, fake_python):
    elsewhere = checkout / "elsewhere"
    elsewhere.mkdir()
    with (fake_python / "python3").open("a") as python:
        python.write('case "$*" in *manage.py*) pwd >>"$CALLS" ;; esac\n')

    console(checkout, "manage", "check", at=elsewhere, PATH=f"{fake_python}:/usr/bin:/bin")

    assert (checkout / "calls").read_text().splitlines()[-1] == str(elsewhere)


def test_the_lock_names_no_index_and_a_hash_for_each_library():
    entries = re.split(r"\n(?=\S)", LOCK.strip())

    assert "://" not in LOCK
    assert not [entry for entry in entries if not re.match(r"[a-z0-9][a-z0-9._-]*==", entry)]
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


def test_the_locks_cover_every_declared_library():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed, extras = project["dependencies"], project["optional-dependencies"]
    for name, declared in {
        "requirements.lock": [*needed, *extras["checkout"]],
        "requirements-dev.lock": [*needed, *extras["checkout"], *extras["dev"]],
    }.items():
        names = {re.match(r"[\w-]+", line)[0].lower() for line in declared}
        locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / name).read_text(), re.M))
        assert names <= locked


def test_a_second_console_on_the_same_data_says_who_has_it(tmp_path):
    with (tmp_path / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 4711, http://127.0.0.1:8000")
        lock.flush()
        refused = start(tmp_path, port=1)

    assert refused.returncode == 1
    assert f"already runs on {tmp_path}: process 4711, http://127.0.0.1:8000" in refused.stdout


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = start(tmp_path, port)

    assert refused.returncode == 1
    assert f"Port {port} cannot be used (Address already in use)" in refused.stdout
    assert not (tmp_path / "console.sqlite3").exists()


def test_programs_that_only_the_tests_need_are_asked_for_by_the_tests_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr(machine, "POSTGRESQL", tmp_path)

    for_up = missing_packages(for_tests=False)
    for_tests = missing_packages(for_tests=True)

    assert [package for package in for_tests if package not in for_up] == [
        *("chromium", "prometheus", "poppler-utils", "postgresql")
    ]

"""Ask whether a known vulnerability is in what a lock names: `python -m tests.audit`.

pip-audit asks OSV (osv.dev), one question for each library, of the console and of its tests. Where
no service answers, nothing is audited and that is said; it is no failure, since the gate also runs
where there is no network.
What is known and accepted stands in security/accepted_vulnerabilities.yaml, with the reason and the
day until which it counts.
"""

import argparse
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OSV = "https://api.osv.dev/v1/query"
ACCEPTED = ROOT / "security" / "accepted_vulnerabilities.yaml"
SECONDS_TO_ANSWER = 5.0
# A service that answers each question, but slowly, must not hold the gate up for ever.
SECONDS_IN_ALL = 300
FINE, FOUND = 0, 1


class AcceptedUnreadable(Exception):
    """The file of accepted vulnerabilities is not as it must be; the text says how."""


def main(argv: Sequence[str]) -> int:
    """Audit and return 0 when nothing is found or nobody answers, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements-dev.lock")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED)
    parser.add_argument("--osv-url", default=OSV)
    given = parser.parse_args(argv)
    try:
        accepted = read_accepted(given.accepted.read_text(), today=datetime.now(UTC).date())
    except AcceptedUnreadable as error:
        return _say(FOUND, f"{given.accepted.name}: {error}")
    if not answers(given.osv_url, SECONDS_TO_ANSWER):
        return _say(FINE, f"{given.osv_url} does not answer: not audited")
    done = _pip_audit(given.lock, given.osv_url, accepted)
    try:
        found = findings(json.loads(done.stdout))
    except ValueError:
        if not answers(given.osv_url, SECONDS_TO_ANSWER):
            return _say(FINE, f"{given.osv_url} stopped to answer: not audited")
        return _say(FOUND, f"pip-audit could not audit {given.lock.name}:", done.stderr.strip())
    told = [f"{name}: accepted, {why}" for name, why in accepted.items()]
    if found:
        return _say(FOUND, *told, *found, "Take a mended version: ./console lock --upgrade")
    return _say(FINE, *told, f"no other known vulnerability in {given.lock.name}")


def read_accepted(text: str, *, today: date) -> dict[str, str]:
    """Return why each vulnerability that still counts as accepted is. Raises AcceptedUnreadable."""
    held = yaml.safe_load(text) or {}
    if not isinstance(held, dict):
        raise AcceptedUnreadable("it must map ids to why and until")
    counting = {}
    for name, entry in held.items():
        if not isinstance(entry, dict) or set(entry) != {"why", "until"}:
            raise AcceptedUnreadable(f"{name}: write why and until, and nothing else")
        if not isinstance(entry["until"], date) or not str(entry["why"] or "").strip():
            raise AcceptedUnreadable(f"{name}: why is a sentence, until a day such as 2027-01-31")
        if today <= entry["until"]:
            counting[str(name)] = f"until {entry['until']}: {entry['why']}"
    return counting


def answers(url: str, seconds: float) -> bool:
    """Tell whether somebody answers there within the time, whatever the answer is."""
    heard = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, data=b"{}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                heard.set()
        except urllib.error.HTTPError as error:
            # A refusal of this empty question is an answer, an error of the service is none.
            error.close()
            if error.code < 500:
                heard.set()
        except OSError:
            return

    # No time-out holds for the look-up of a name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return heard.is_set()


def findings(report: dict[str, Any]) -> list[str]:
    """Return a line for each vulnerability that pip-audit's report names."""
    return [
        f"{library['name']} {library['version']}: {one['id']}"
        f" ({', '.join(one['aliases']) or 'no other name'}),"
        f" mended in {', '.join(one['fix_versions']) or 'no version yet'}"
        for library in report["dependencies"]
        for one in library.get("vulns", ())
    ]


def _pip_audit(
    lock: Path, osv_url: str, accepted: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    # The lock names everything with its hash: pip need not be asked, nor any index.
    argv = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip"]
    argv += ["--vulnerability-service", "osv", "--osv-url", osv_url, "--format", "json"]
    argv += ["--progress-spinner", "off", "--timeout", "10", "--desc", "off", "--aliases", "on"]
    argv += [word for name in accepted for word in ("--ignore-vuln", name)]
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=SECONDS_IN_ALL
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"no end after {SECONDS_IN_ALL} s")


def _say(code: int, *lines: str) -> int:
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

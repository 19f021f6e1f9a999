"""Somebody else's platform, with files written from the contracts alone, needs no change of code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.stack import (
    ROOT,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECOND_FLEET = ROOT / "tests" / "second_fleet"
ITS_PORT = "9811"
PLUGIN = "berth-planner"
OLD, GOOD, BAD = "2.0.0", "2.1.0", "2.2.0"
TOKEN = "harbor-secret"
# 18, 18 and 15 s in the policy: enough for some looks, and no more.
SOAK_SCALE = "0.6"


@dataclass(frozen=True, slots=True)
class Harbor:
    """The second platform while it runs, with files that name its port."""

    folder: Path
    url: str

    def log(self) -> list[dict[str, Any]]:
        """Return what reached it, oldest first."""
        text = (self.folder / "harbor.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def inventory(self, customer: str) -> dict[str, Any]:
        """Return what a customer runs."""
        request = f"{self.url}/api/customers/{customer}/inventory?plugin={PLUGIN}"
        status, answer = _ask_harbor(request)
        assert status == 200, answer
        found: dict[str, Any] = answer["inventory"][0]
        return found

    def releases(self) -> dict[str, str]:
        """Return the release of every customer."""
        return {
            customer: self.inventory(customer)["running"]["release"]["number"]
            for customer in (f"pier-{number:03}" for number in range(1, 41))
        }


def _ask_harbor(url: str) -> tuple[int, Any]:
    import urllib.request

    request = urllib.request.Request(url, headers={"X-Harbor-Token": TOKEN})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.status, json.loads(reply.read())

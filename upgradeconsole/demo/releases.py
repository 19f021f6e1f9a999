"""The demo plugin's versions: what each does to the traffic of a tenant that runs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

PLUGIN: Final = "invoice-export"
BASELINE: Final = "1.4.2"


@dataclass(frozen=True, slots=True)
class VersionBehaviour:
    """Share of requests that fail, and the latency's median and 95th percentile in ms."""

    error_rate: float
    median_ms: float
    p95_ms: float
    note: str = ""


VERSIONS: Final[dict[str, VersionBehaviour]] = {
    BASELINE: VersionBehaviour(0.005, 40, 80, "what every tenant runs at first"),
    "1.5.0": VersionBehaviour(0.005, 40, 80, "good: behaves like 1.4.2"),
    "1.5.1": VersionBehaviour(0.08, 40, 85, "bad: 8 % of the requests fail"),
    "1.5.2": VersionBehaviour(0.02, 40, 82, "worse: 2 % fail where 0.5 % is usual"),
    "1.6.0": VersionBehaviour(0.005, 180, 450, "slow: p95 450 ms, errors as before"),
}


def behaviour_of(version: str) -> VersionBehaviour:
    """Return how the version behaves; one that nobody listed behaves like the baseline."""
    return VERSIONS.get(version, VERSIONS[BASELINE])


def artifact_of(version: str) -> bytes:
    """Return the demo artifact of the version: what a release's digest is taken of."""
    return f"{PLUGIN} {version}\n".encode()


def digest_of(version: str) -> str:
    """Return the SHA-256 of the demo artifact in hex."""
    return hashlib.sha256(artifact_of(version)).hexdigest()

"""What a benchmark found: medians with their spread, beside the goal, as text and as JSON."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One row: the values of all rounds, and what they should not exceed."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Return the value in the middle."""
        return statistics.median(self.values)

    @property
    def kept(self) -> bool | None:
        """Tell whether the median keeps the goal; None without one."""
        return None if self.goal is None else self.median <= self.goal

    def line(self) -> str:
        """Return the row as text."""
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}" if self.values else ""
        goal = "" if self.goal is None else f", goal {self.goal:g}: {'kept' if self.kept else 'NO'}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {self.median:.3g} {self.unit} ({spread}){goal}{note}"


@dataclass(slots=True)
class Found:
    """All rows of one benchmark."""

    benchmark: str
    results: list[Result] = field(default_factory=list)

    def add(
        self,
        name: str,
        unit: str,
        values: Sequence[float],
        goal: float | None = None,
        note: str = "",
    ) -> None:
        """Keep a row and print it."""
        self.results.append(Result(name, unit, tuple(values), goal, note))
        print(self.results[-1].line(), flush=True)

    def write(self, path: str) -> None:
        """Write everything as JSON, where a path is given."""
        if path:
            body = {
                "benchmark": self.benchmark,
                "machine": machine(),
                "results": [asdict(one) for one in self.results],
            }
            Path(path).write_text(json.dumps(body, indent=1), encoding="utf-8")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of all are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """Say where and when it was measured, and how busy the machine was otherwise."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  (whichever git there is)
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "database": "PostgreSQL" if os.environ.get("DATABASE_URL") else "SQLite",
        "revision": revision.stdout.strip(),
    }

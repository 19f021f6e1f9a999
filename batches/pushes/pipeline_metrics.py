"""What a pipeline's event changes in the series of its source. Pure.

Every event counts as SUBJECT_PREDICATE_total, an ending that went badly also as
SUBJECT_failed_total; an ending whose start was told gives SUBJECT_duration_seconds, and the end of
a test suite testsuiterun_pass_ratio. What has a name of its own is also kept as METRIC.NAME.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from batches.pushes.cdevents import PipelineNews

_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9_\-]+")
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Run:
    """What was told of a run before: its start, and how its test cases ended."""

    started_at: datetime | None = None
    passed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One series that changes: a counter by `add`, a gauge to `value`."""

    metric: str
    labels: Mapping[str, str]
    add: float = 0.0
    value: float | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """Return what tells it from others: a gauge stands for the newest version of a tenant."""
        labels = {n: v for n, v in self.labels.items() if self.value is None or n != "version"}
        return (self.metric, *(f"{name}={text}" for name, text in sorted(labels.items())))


def changes_of(news: PipelineNews, run: Run) -> list[Change]:
    """Return what the event changes; nothing where it names no tenant, for whom it would count."""
    if not news.tenant:
        return []
    known = {"tenant": news.tenant, "plugin": news.plugin, "version": news.version}
    labels = {name: text for name, text in known.items() if text}
    counts = {f"{news.subject}_{news.predicate}_total": 1.0}
    gauges: dict[str, float] = {}
    if news.predicate == "finished":
        # Zero is said as well: a counter that is not there would be no data.
        counts[f"{news.subject}_failed_total"] = 1.0 if news.good is False else 0.0
        if run.started_at is not None and news.at >= run.started_at:
            seconds = (news.at - run.started_at).total_seconds()
            gauges[f"{news.subject}_duration_seconds"] = seconds
        ratio = _pass_ratio(news, run)
        if ratio is not None:
            gauges["testsuiterun_pass_ratio"] = ratio
    own = "" if news.subject == "testcaserun" else _slug(news.name)
    ends = ("", f".{own}") if own else ("",)
    return [
        *(Change(name + end, labels, add=n) for name, n in counts.items() for end in ends),
        *(Change(name + end, labels, value=v) for name, v in gauges.items() for end in ends),
    ]


def _pass_ratio(news: PipelineNews, run: Run) -> float | None:
    if news.subject != "testsuiterun":
        return None
    if run.passed + run.failed:
        return run.passed / (run.passed + run.failed)
    return None if news.good is None else float(news.good)


def _slug(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name.lower()).strip("_")[:_LONGEST_NAME]

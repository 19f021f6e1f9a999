"""Ask the metric sources what plans want to know: which look is due, by which mapping, of whom."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from batches.configured import dictionary
from batches.kpis.dictionary import KpiMapping
from batches.looks.recall import Watched
from batches.metric_sources import Selector
from batches.sources.reader import Build, SourceAnswer, SourceReader
from plans.models import Plan


class AskingSources:
    """Reads beside the watch; plans that come due together share one read of a source."""

    def __init__(self, *, on_answer: Callable[[], None], build: Build | None) -> None:
        self._reader = SourceReader(on_answer=on_answer, build=build)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader.stop()

    def finished(self) -> list[SourceAnswer]:
        """Return what the sources have answered since the last time."""
        return self._reader.finished()

    def look_when_due(
        self, plan: Plan, watched: Watched, others: Iterable[Watched], now: datetime
    ) -> None:
        """Ask for every Kpi of the plan when its next look is due; `others` may wait as well."""
        if now < watched.next_look:
            return
        watched.began_at = watched.began_at or now
        watched.next_look = now + timedelta(seconds=watched.look_seconds)
        asked: dict[str, dict[str, KpiMapping]] = defaultdict(dict)
        for kpi in watched.kpis:
            mapping = mapping_of(plan, watched, kpi)
            asked[mapping.source][kpi] = mapping
            watched.unanswered_since.setdefault(kpi, now)
        for source, mappings in asked.items():
            watched.waiting[source] = mappings
            # Plans that come due while the source is being read share the next read.
            if not self._reader.is_reading(source):
                self._reader.read(watched.known.sources[source], _selectors(source, others))


def _selectors(source: str, waiting: Iterable[Watched]) -> list[Selector]:
    """Return what all waiting plans want of a source, each selector once."""
    wanted: dict[Selector, None] = {}
    for watched in waiting:
        for mapping in watched.waiting.get(source, {}).values():
            wanted.update(dict.fromkeys(mapping.selectors))
    return list(wanted)


def mapping_of(plan: Plan, watched: Watched, kpi: str) -> KpiMapping:
    """Return the mapping that the plan keeps, or the candidate that is tried now."""
    mappings = dictionary().mappings_for(kpi)
    bound = plan.metric_bindings.get(kpi)
    for mapping in mappings:
        if mapping.source == bound:
            return mapping
    return mappings[watched.candidates.get(kpi, 0) % len(mappings)]


def covers(answer: SourceAnswer, mapping: KpiMapping) -> bool:
    """Tell whether the read that was answered had asked for this mapping."""
    return answer.series is None or all(s in answer.series for s in mapping.selectors)

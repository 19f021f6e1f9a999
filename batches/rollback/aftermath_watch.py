"""Look at the Kpis of restored tenants after a rollback, until they are back in band.

Beside the observer of live plans and with rows of its own: a plan that is over is not decided about
any more, and a newer plan over the same tenants is not disturbed.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches.configured import dictionary
from batches.kpis.dictionary import KpiMapping
from batches.looks.recall import is_missing
from batches.models import AftermathCursor, AftermathSample, Rollback
from batches.rollback import aftermath
from batches.rollback.aftermath_recall import Followed, forget_old, joined, recalled
from batches.rollback.back_in_band import Aftermath, GuardLooks, judge_aftermath
from batches.runtime.leases import LeaseLost
from batches.runtime.steady_clock import SteadyClock
from batches.sources.increments import LookSample, failed_look, max_age, oldest_reading, take_look
from batches.sources.reader import Build, SourceAnswer, SourceReader
from batches.sources.states import SourceStates
from plans.database_away import DATABASE_AWAY
from plans.drafting.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.refusal import BadInput

logger = logging.getLogger(__name__)
Fence = Callable[[], AbstractContextManager[None]]


class AftermathWatch:
    """The watch's eyes after a rollback."""

    def __init__(
        self, *, on_answer: Callable[[], None] = lambda: None, build: Build | None = None
    ) -> None:
        self._reader = SourceReader(on_answer=on_answer, build=build)
        self._states = SourceStates()
        self._followed: dict[Any, Followed] = {}
        self._fence: Fence = transaction.atomic
        self._clock = SteadyClock()

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader.stop()

    def forget(self) -> None:
        """Read anew what is followed: somebody else may have followed it meanwhile."""
        self._followed.clear()

    def clock_was_moved(self, seconds: float) -> None:
        """Go on looking when due although the wall clock was moved."""
        by = timedelta(seconds=seconds)
        for followed in self._followed.values():
            followed.move(by)
        if seconds < 0:
            # Counters read before would seem to be newer than all that is read now.
            AftermathCursor.objects.filter(rollback__in=list(self._followed)).delete()

    def tick(self, now: datetime, *, fence: Fence, clock: SteadyClock) -> None:
        """Take in what was read, look where a look is due, end what has come to its end.

        Everything that it writes is written under `fence`, which says whether this watch still
        does the chores; `clock` places the moments that were kept on the wall clock of now.
        """
        self._fence, self._clock = fence, clock
        answers = self._reader.finished()
        self._states.note(answers, now)
        open_ones = _watched_now()
        gone = self._followed.keys() - {rollback.pk for rollback in open_ones}
        for rollback_id in gone:
            del self._followed[rollback_id]
        for rollback in open_ones:
            self._alone(rollback, answers, now)

    def _alone(self, rollback: Rollback, answers: list[SourceAnswer], now: datetime) -> None:
        """Follow one rollback; what goes wrong there holds nothing else up."""
        try:
            self._follow(rollback, answers, now)
        except (LeaseLost, *DATABASE_AWAY):
            self._followed.pop(rollback.pk, None)
            raise
        except Exception:
            self._followed.pop(rollback.pk, None)
            logger.exception("What follows rollback %s could not be looked at.", rollback.pk)

    def _follow(self, rollback: Rollback, answers: list[SourceAnswer], now: datetime) -> None:
        until = self._placed(rollback, "until", rollback.aftermath_until) or now
        since = self._placed(rollback, "since", rollback.verified_at or rollback.finished_at) or now
        try:
            followed = self._known(rollback, now)
        except BadInput as broken:
            # A broken file shows nothing; nothing seen is not good.
            if now >= until:
                told = f"Nobody knows whether it is good again: {broken}."
                self._end(rollback, Aftermath("no_data", told), now)
            return
        if not answers and now < min(followed.next_look, until):
            return
        versions = aftermath.restored_tenants(rollback)
        if not versions:
            why = "Not watched to the end: a newer plan has moved the restored tenants on."
            self._end(rollback, Aftermath("not_watched", why), now)
            return
        for answer in answers:
            mappings = followed.waiting.pop(answer.source, None)
            if mappings is not None:
                self._ingest(rollback, followed, mappings, answer, versions, since)
        self._look_when_due(rollback, followed, now)
        found = self._judge(followed, len(versions), since, until, now)
        if found.ending != "watching":
            self._end(rollback, found, now)
            return
        shown = tuple((kpi.verdict, kpi.sentence) for kpi in found.kpis)
        if shown != followed.shown:
            with self._fence():
                aftermath.note_progress(rollback_id=rollback.pk, found=found)
            followed.shown = shown

    def _placed(self, rollback: Rollback, name: str, moment: datetime | None) -> datetime | None:
        """Return where a moment of the watch lies: a clock that is moved neither ends it nor not.

        Asked at each tick, so that the moment is known from before a move.
        """
        return self._clock.placed(f"rollback:{rollback.pk}:aftermath {name}", moment)

    def _end(self, rollback: Rollback, found: Aftermath, now: datetime) -> None:
        reach("aftermath.judged")
        with self._fence():
            aftermath.end(rollback_id=rollback.pk, found=found, now=now)
        self._followed.pop(rollback.pk, None)

    def _known(self, rollback: Rollback, now: datetime) -> Followed:
        known = dictionary()
        followed = self._followed.get(rollback.pk)
        if followed is None or followed.known is not known:
            policy = policy_of(current_revision(rollback.plan))
            followed = recalled(rollback, policy, known, now)
            self._followed[rollback.pk] = followed
        return followed

    # Looks.

    def _look_when_due(self, rollback: Rollback, followed: Followed, now: datetime) -> None:
        if now < followed.next_look:
            return
        followed.next_look = now + timedelta(seconds=followed.look_seconds)
        asked: dict[str, dict[str, KpiMapping]] = defaultdict(dict)
        for kpi in followed.kpis:
            mapping = self._mapping(rollback, followed, kpi)
            asked[mapping.source][kpi] = mapping
        for source, mappings in asked.items():
            followed.waiting[source] = mappings
            if not self._reader.is_reading(source):
                wanted = {
                    selector: None
                    for one in self._followed.values()
                    for mapping in one.waiting.get(source, {}).values()
                    for selector in mapping.selectors
                }
                self._reader.read(followed.known.sources[source], list(wanted))

    @staticmethod
    def _mapping(rollback: Rollback, followed: Followed, kpi: str) -> KpiMapping:
        """Return the mapping that the plan has kept, or the candidate that is tried now."""
        mappings = followed.known.mappings_for(kpi)
        bound = rollback.plan.metric_bindings.get(kpi)
        for mapping in mappings:
            if mapping.source == bound:
                return mapping
        return mappings[followed.candidates.get(kpi, 0) % len(mappings)]

    def _ingest(
        self,
        rollback: Rollback,
        followed: Followed,
        mappings: Mapping[str, KpiMapping],
        answer: SourceAnswer,
        versions: Mapping[str, str],
        since: datetime,
    ) -> None:
        if answer.at < since:
            return
        with self._fence():
            for kpi, mapping in mappings.items():
                if answer.series is not None and any(
                    selector not in answer.series for selector in mapping.selectors
                ):
                    # It came due after the read had begun; its turn comes with the next.
                    continue
                look = self._take(rollback, followed, kpi, mapping, answer, versions, since)
                AftermathSample.objects.create(
                    rollback=rollback,
                    kpi=kpi,
                    at=look.at,
                    source=look.source,
                    ok=look.ok,
                    look=look.to_json(),
                    asked=mapping.asked,
                )
                if is_missing(look):
                    # As while it ran: another source of the Kpi may know more.
                    followed.candidates[kpi] = followed.candidates.get(kpi, 0) + 1
                looks = followed.looks.setdefault(kpi, deque())
                looks.append(look)
                forget_old(looks, followed.longest)

    @staticmethod
    def _take(
        rollback: Rollback,
        followed: Followed,
        kpi: str,
        mapping: KpiMapping,
        answer: SourceAnswer,
        versions: Mapping[str, str],
        since: datetime,
    ) -> LookSample:
        definition = followed.known.kpi(kpi)
        if answer.series is None or definition is None:
            unavailable = answer.unavailable
            return failed_look(
                kpi=kpi,
                source=answer.source,
                at=answer.at,
                cause=unavailable.cause if unavailable else "source_down",
                sentence=unavailable.sentence if unavailable else "",
            )
        row = AftermathCursor.objects.filter(
            rollback=rollback, kpi=kpi, source=answer.source
        ).first()
        before, after = (row.cursors if row is not None else {}), {}
        parts: list[LookSample] = []
        # With a version label only the version that the tenants came from tells of them.
        for version in sorted(set(versions.values())):
            look, after[version] = take_look(
                mapping=mapping,
                definition=definition,
                answers={selector: answer.series[selector] for selector in mapping.selectors},
                at=answer.at,
                upgraded={key: since for key, runs in versions.items() if runs == version},
                control=(),
                target_version=version,
                cursor=before.get(version, {}),
                max_age_seconds=oldest_reading(
                    followed.look_seconds, followed.known.sources.get(answer.source)
                ),
            )
            parts.append(look)
        AftermathCursor.objects.update_or_create(
            rollback=rollback, kpi=kpi, defaults={"source": answer.source, "cursors": after}
        )
        return joined(parts)

    # Judging.

    @staticmethod
    def _judge(
        followed: Followed, tenants: int, since: datetime, until: datetime, now: datetime
    ) -> Aftermath:
        return judge_aftermath(
            [
                GuardLooks(
                    guard.key,
                    guard.guardrail,
                    guard.definition,
                    tuple(followed.looks.get(guard.definition.name, ())),
                    followed.baselines.get(guard.definition.name, {}),
                )
                for guard in followed.guards
            ],
            unusable=followed.unusable,
            tenants=tenants,
            since=since,
            until=until,
            now=now,
            max_age_seconds=max_age(followed.look_seconds),
        )


def _watched_now() -> list[Rollback]:
    """Return the rollbacks whose tenants are watched; that there is none costs little."""
    watched = Rollback.objects.filter(aftermath="watching", finished_at__isnull=False).order_by()
    ids = list(watched.values_list("pk", flat=True))
    if not ids:
        return []
    return list(watched.filter(pk__in=ids).select_related("plan").order_by("finished_at"))

"""Look at the Kpis of restored tenants after a rollback, until they are back in band.

Beside the observer of live plans and with rows of its own: a plan that is over is not decided about
any more, and a newer plan over the same tenants is not disturbed.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches import aftermath
from batches.back_in_band import Aftermath, GuardLooks, judge_aftermath
from batches.configured import dictionary
from batches.dictionary import (
    Dictionary,
    GuardrailUnusable,
    KpiMapping,
    resolve_guardrail,
)
from batches.increments import LookSample, failed_look, max_age, oldest_reading, take_look
from batches.models import AftermathCursor, AftermathSample, Rollback
from batches.recall import Guard
from batches.source_reader import Build, SourceAnswer, SourceReader
from batches.source_states import SourceStates
from batches.verdict import guardrail_key
from plans.database_away import DATABASE_AWAY
from plans.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.policy import UpgradePolicy
from plans.refusal import BadInput

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Followed:
    """One rollback whose tenants are watched; everything can be read back from the database."""

    rollback_id: Any
    known: Dictionary
    guards: list[Guard]
    unusable: dict[str, str]
    look_seconds: float
    next_look: datetime
    looks: dict[str, deque[LookSample]] = field(default_factory=dict)
    waiting: dict[str, dict[str, KpiMapping]] = field(default_factory=dict)
    candidates: dict[str, int] = field(default_factory=dict)
    shown: tuple[tuple[str, str], ...] = ()

    @property
    def kpis(self) -> list[str]:
        """Return the Kpis that guardrails judge, each once."""
        return sorted({guard.definition.name for guard in self.guards})

    @property
    def longest(self) -> float:
        """Return the longest window in seconds."""
        return max((guard.guardrail.window_seconds for guard in self.guards), default=60.0)


class AftermathWatch:
    """The watch's eyes after a rollback."""

    def __init__(
        self, *, on_answer: Callable[[], None] = lambda: None, build: Build | None = None
    ) -> None:
        self._reader = SourceReader(on_answer=on_answer, build=build)
        self._states = SourceStates()
        self._followed: dict[Any, Followed] = {}

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader.stop()

    def forget(self) -> None:
        """Read anew what is followed: the clock was moved, and looks are due by that of now."""
        self._followed.clear()

    def tick(self, now: datetime) -> None:
        """Take in what was read, look where a look is due, end what has come to its end."""
        answers = self._reader.finished()
        self._states.note(answers, now)
        open_ones = list(
            Rollback.objects.filter(aftermath="watching", finished_at__isnull=False)
            .select_related("plan__plugin", "plan__release")
            .order_by("finished_at")
        )
        gone = self._followed.keys() - {rollback.pk for rollback in open_ones}
        for rollback_id in gone:
            del self._followed[rollback_id]
        for rollback in open_ones:
            self._alone(rollback, answers, now)
        aftermath.close_alerts_of_archived(now)

    def _alone(self, rollback: Rollback, answers: list[SourceAnswer], now: datetime) -> None:
        """Follow one rollback; what goes wrong there holds nothing else up."""
        try:
            self._follow(rollback, answers, now)
        except DATABASE_AWAY:
            raise
        except Exception:
            self._followed.pop(rollback.pk, None)
            logger.exception("What follows rollback %s could not be looked at.", rollback.pk)

    def _follow(self, rollback: Rollback, answers: list[SourceAnswer], now: datetime) -> None:
        until = rollback.aftermath_until or now
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
                self._ingest(rollback, followed, mappings, answer, versions)
        self._look_when_due(rollback, followed, now)
        found = self._judge(rollback, followed, len(versions), until, now)
        if found.ending != "watching":
            self._end(rollback, found, now)
            return
        shown = tuple((kpi.verdict, kpi.sentence) for kpi in found.kpis)
        if shown != followed.shown:
            followed.shown = shown
            aftermath.note_progress(rollback_id=rollback.pk, found=found)

    def _end(self, rollback: Rollback, found: Aftermath, now: datetime) -> None:
        reach("aftermath.judged")
        aftermath.end(rollback_id=rollback.pk, found=found, now=now)
        self._followed.pop(rollback.pk, None)

    def _known(self, rollback: Rollback, now: datetime) -> Followed:
        known = dictionary()
        followed = self._followed.get(rollback.pk)
        if followed is None or followed.known is not known:
            policy = policy_of(current_revision(rollback.plan))
            followed = _recalled(rollback, policy, known, now)
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
    ) -> None:
        since = rollback.verified_at or rollback.finished_at
        if since is None or answer.at < since:
            return
        with transaction.atomic():
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
                if not look.ok:
                    followed.candidates[kpi] = followed.candidates.get(kpi, 0) + 1
                looks = followed.looks.setdefault(kpi, deque())
                looks.append(look)
                _forget_old(looks, followed.longest)

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
        return _joined(parts)

    # Judging.

    @staticmethod
    def _judge(
        rollback: Rollback, followed: Followed, tenants: int, until: datetime, now: datetime
    ) -> Aftermath:
        return judge_aftermath(
            [
                GuardLooks(
                    guard.key,
                    guard.guardrail,
                    guard.definition,
                    tuple(followed.looks.get(guard.definition.name, ())),
                )
                for guard in followed.guards
            ],
            unusable=followed.unusable,
            tenants=tenants,
            since=rollback.verified_at or rollback.finished_at or now,
            until=until,
            now=now,
            max_age_seconds=max_age(followed.look_seconds),
        )


def _recalled(
    rollback: Rollback, policy: UpgradePolicy, known: Dictionary, now: datetime
) -> Followed:
    """Return what is known of a rollback's aftermath: a restart goes on where it was."""
    guards: list[Guard] = []
    unusable: dict[str, str] = {}
    for guardrail in policy.guardrails:
        if guardrail.dry_run:
            continue
        definition = known.kpi(guardrail.kpi)
        if definition is None or not known.mappings_for(guardrail.kpi):
            unusable[guardrail.kpi] = f"the dictionary has no source for {guardrail.kpi} any more"
            continue
        try:
            resolved = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable as broken:
            unusable[guardrail.kpi] = str(broken)
            continue
        guards.append(Guard(guardrail_key(guardrail), resolved, definition))
    followed = Followed(
        rollback_id=rollback.pk,
        known=known,
        guards=guards,
        unusable=unusable,
        look_seconds=policy.limits.look_seconds,
        next_look=now,
    )
    for kpi in followed.kpis:
        rows = AftermathSample.objects.filter(rollback=rollback, kpi=kpi).order_by("-at")
        newest = rows.first()
        if newest is None:
            continue
        oldest = newest.at - timedelta(
            seconds=followed.longest + 2 * max_age(followed.look_seconds)
        )
        looks = deque(LookSample.from_json(row.look) for row in rows.filter(at__gte=oldest))
        looks.reverse()
        _forget_old(looks, followed.longest)
        followed.looks[kpi] = looks
    return followed


def _forget_old(looks: deque[LookSample], longest: float) -> None:
    """Keep the longest window and the one look before it, from which its counters go on."""
    edge = looks[-1].at - timedelta(seconds=longest)
    while len(looks) > 1 and looks[1].at <= edge:
        looks.popleft()


def _joined(parts: list[LookSample]) -> LookSample:
    """Return the looks at the tenants of each version as one; a broken one breaks it."""
    broken = next((part for part in parts if not part.ok), None)
    if broken is not None or len(parts) == 1:
        return broken or parts[0]
    causes: dict[str, int] = defaultdict(int)
    for part in parts:
        for cause, n in part.causes.items():
            causes[cause] += n
    first = parts[0]
    return LookSample(
        kpi=first.kpi,
        at=first.at,
        canary={key: point for part in parts for key, point in part.canary.items()},
        causes=dict(causes),
        source=first.source,
    )

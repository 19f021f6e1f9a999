"""Write down how the reads of metric sources go, so that pages and API can show it."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from batches.models import SourceState
from batches.sources.reader import SourceAnswer
from plans.database_away import DATABASE_AWAY

logger = logging.getLogger(__name__)
AGAIN = timedelta(seconds=10)
"""While nothing changes a state is written this often: each commit wakes every watch."""


class SourceStates:
    """What this watch has written about each source."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[tuple[str, str], datetime]] = {}

    def note(self, answers: Sequence[SourceAnswer], now: datetime) -> None:
        """Write the states that changed, or were written some time ago."""
        for answer in {answer.source: answer for answer in answers}.values():
            told = (answer.breaker.state, answer.unavailable.cause if answer.unavailable else "")
            known, at = self._written.get(answer.source, (None, now))
            if known == told and timedelta() <= now - at < AGAIN:
                continue
            try:
                _write(answer, changed=known != told, now=now)
            except DATABASE_AWAY:
                # It is for show; what was read must be taken in nevertheless.
                logger.warning("The state of %s was not written down.", answer.source)
                continue
            self._written[answer.source] = (told, now)


def _write(answer: SourceAnswer, *, changed: bool, now: datetime) -> None:
    failed = answer.unavailable
    values: dict[str, Any] = {
        "state": answer.breaker.state,
        "failures": answer.breaker.failures,
        "cause": failed.cause if failed else "",
        "sentence": failed.sentence[:300] if failed else "",
    }
    if answer.asked:
        values["read_at"] = answer.at
    if failed is None:
        values["answered_at"] = answer.at
    if changed:
        values["since"] = now
    if not SourceState.objects.filter(name=answer.source).update(**values):
        SourceState.objects.update_or_create(
            name=answer.source, defaults={"since": now, "read_at": answer.at} | values
        )

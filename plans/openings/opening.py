"""Tell whether a plan's tenants may be called now: its policy's windows and the freezes over it.

Windows belong to the policy and were approved with the plan. A freeze comes from outside: it closes
an open window and never opens a closed one. Neither ever stops a rollback; nobody asks here then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from plans.openings.windows import moment_words, window_state, zone_of
from plans.policies.policy import Window

MOST_STEPS = 100
"""How many freezes and closed windows are walked over in search of the next opening."""


@dataclass(frozen=True, slots=True)
class FreezeSpan:
    """A freeze as it concerns one plan: from `begins_at` up to and without `ends_at`.

    `ends_at` None = until somebody lifts it. For a plan that was let through, `begins_at` is the
    moment when that override ends.
    """

    pk: str
    name: str
    reason: str
    begins_at: datetime
    ends_at: datetime | None

    def holds(self, at: datetime) -> bool:
        """Tell whether it is in force at the moment."""
        return self.begins_at <= at and not self.is_over(at)

    def is_over(self, at: datetime) -> bool:
        """Tell whether it has ended by itself."""
        return self.ends_at is not None and self.ends_at <= at


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether new calls may start now, until when, and when they may next.

    `freezes` are those that hold the plan now. `for_good`: the policy has ended, no time will come.
    """

    is_open: bool
    sentence: str
    next_opening: datetime | None
    closes_at: datetime | None
    freezes: tuple[FreezeSpan, ...] = ()
    for_good: bool = False


def opening(
    windows: Sequence[Window],
    not_after: datetime | None,
    freezes: Sequence[FreezeSpan],
    at: datetime,
) -> Opening:
    """Return the state at the moment; `freezes` are those over the tenants that come next."""
    at = at.astimezone(UTC)
    window = window_state(windows, not_after, at)
    for_good = not_after is not None and at >= not_after
    holding = tuple(sorted((f for f in freezes if f.holds(at)), key=_longest_first))
    if holding and not for_good:
        return _frozen(windows, not_after, freezes, holding, at)
    if not window.is_open:
        opens = window.next_opening and _next_opening(windows, not_after, freezes, at)
        sentence = window.sentence
        if opens != window.next_opening:
            said = moment_words(opens, zone_of(windows)) if opens else "not before a freeze ends"
            sentence += f" Because of a freeze: {said}."
        return Opening(False, sentence, opens, None, for_good=for_good)
    coming = min((f for f in freezes if f.begins_at > at), key=_beginning, default=None)
    if coming is None or (window.closes_at and window.closes_at <= coming.begins_at):
        return Opening(True, window.sentence, None, window.closes_at)
    begins = moment_words(coming.begins_at, zone_of(windows))
    sentence = f"Open until {begins}, when the freeze '{coming.name}' begins."
    return Opening(True, sentence, None, coming.begins_at)


def _frozen(
    windows: Sequence[Window],
    not_after: datetime | None,
    freezes: Sequence[FreezeSpan],
    holding: tuple[FreezeSpan, ...],
    at: datetime,
) -> Opening:
    first = holding[0]
    opens = _next_opening(windows, not_after, freezes, at)
    sentence = f"Frozen by '{first.name}': {first.reason.rstrip('.')}."
    if len(holding) > 1:
        more = ", ".join(f"'{freeze.name}'" for freeze in holding[1:])
        sentence += f" Also by {more}."
    if opens is not None:
        sentence += f" Opens {moment_words(opens, zone_of(windows))}."
    elif first.ends_at is None:
        sentence += " It lasts until somebody lifts it."
    else:
        sentence += " No opening is in sight."
    return Opening(False, sentence, opens, None, holding)


def _next_opening(
    windows: Sequence[Window],
    not_after: datetime | None,
    freezes: Sequence[FreezeSpan],
    at: datetime,
) -> datetime | None:
    """Return the first moment at which windows and freezes are open, None when none is known."""
    moment: datetime | None = at
    for _step in range(MOST_STEPS):
        if moment is None:
            return None
        window = window_state(windows, not_after, moment)
        if not window.is_open:
            moment = window.next_opening
            continue
        ends = [freeze.ends_at for freeze in freezes if freeze.holds(moment)]
        if not ends:
            return moment
        moment = None if None in ends else max(end for end in ends if end is not None)
    return None


def _beginning(freeze: FreezeSpan) -> datetime:
    return freeze.begins_at


def _longest_first(freeze: FreezeSpan) -> tuple[bool, float, str]:
    """Sort the freeze that lasts longest to the front: it decides when things go on."""
    ends = freeze.ends_at
    return (ends is not None, -ends.timestamp() if ends else 0.0, freeze.name)

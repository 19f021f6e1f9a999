"""Tell whether a policy's windows are open at a moment, until when, and when they open next.

Windows are wall time: a time that the clocks skip begins when they have moved forward, and of a
time that they show twice the first one counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from plans.policies.policy import Window

SEARCH = timedelta(days=14)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether new calls may start now; None = no such moment within the search of 14 days."""

    is_open: bool
    sentence: str
    next_opening: datetime | None
    closes_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Span:
    """From `begins` up to and without `ends`, both UTC; `window` is what it came from."""

    begins: datetime
    ends: datetime
    window: Window

    def holds(self, at: datetime) -> bool:
        return self.begins <= at < self.ends


def window_state(
    windows: Sequence[Window], not_after: datetime | None, at: datetime
) -> WindowState:
    """Return the state at the moment: deny wins, no allow window means always allowed."""
    at = at.astimezone(UTC)
    zone = zone_of(windows)
    if not_after is not None and at >= not_after:
        sentence = f"Closed for good: the policy ends at {moment_words(not_after, zone)}."
        return WindowState(False, sentence, None, None)
    if not windows:
        return _always_open(not_after, zone)
    until = at + SEARCH if not_after is None else min(at + SEARCH, not_after)
    allows = _spans(windows, "allow", at)
    denies = _spans(windows, "deny", at)
    free = _without(_joined(allows) if _has_allow(windows) else [(at, at + SEARCH)], denies)
    open_spans = [(begins, min(ends, until)) for begins, ends in free if begins < until]
    for begins, ends in open_spans:
        if begins <= at < ends:
            return _open_until(ends, at, not_after, zone)
        if begins > at:
            sentence = f"{_why_closed(allows, denies, at)} Opens {moment_words(begins, zone)}."
            return WindowState(False, sentence, begins, None)
    ending = (
        f"It does not open before the policy ends at {moment_words(not_after, zone)}."
        if not_after is not None and not_after <= at + SEARCH
        else f"It does not open within {SEARCH.days} days."
    )
    return WindowState(False, f"{_why_closed(allows, denies, at)} {ending}", None, None)


def zone_of(windows: Sequence[Window]) -> ZoneInfo:
    """Return the zone in which a policy's moments are said: that of its first window."""
    return ZoneInfo(windows[0].timezone) if windows else ZoneInfo("UTC")


def _always_open(not_after: datetime | None, zone: ZoneInfo) -> WindowState:
    if not_after is None:
        return WindowState(True, "Open: the policy has no windows.", None, None)
    sentence = f"Open until {moment_words(not_after, zone)}, when the policy ends."
    return WindowState(True, sentence, None, not_after)


def _open_until(
    ends: datetime, at: datetime, not_after: datetime | None, zone: ZoneInfo
) -> WindowState:
    if ends == not_after:
        return _always_open(not_after, zone)
    if ends >= at + SEARCH:
        return WindowState(True, f"Open for the next {SEARCH.days} days.", None, None)
    return WindowState(True, f"Open until {moment_words(ends, zone)}.", None, ends)


def _has_allow(windows: Iterable[Window]) -> bool:
    return any(window.kind == "allow" for window in windows)


def _why_closed(allows: Sequence[_Span], denies: Sequence[_Span], at: datetime) -> str:
    for span in denies:
        if span.holds(at):
            return f"Closed: now is denied by the window {_window(span.window)}."
    return "Closed: no allow window holds now."


def _spans(windows: Iterable[Window], kind: str, at: datetime) -> list[_Span]:
    """Return every span of the kind that may touch the search, in order of its beginning."""
    spans: list[_Span] = []
    for window in windows:
        if window.kind != kind:
            continue
        zone = ZoneInfo(window.timezone)
        # Two days back: one for a window over midnight, one for the distance between zones.
        first = at.astimezone(zone).date() - timedelta(days=2)
        for offset in range(SEARCH.days + 4):
            day = first + timedelta(days=offset)
            if _DAYS[day.weekday()] not in window.days:
                continue
            begins = _instant(day, window.start, zone)
            last = day if window.end > window.start else day + timedelta(days=1)
            ends = _instant(last, window.end, zone)
            if begins < ends:
                spans.append(_Span(begins, ends, window))
    return sorted(spans, key=lambda span: (span.begins, span.ends))


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Return the moment when the clocks of the zone show the time, or skip over it."""
    local = datetime.combine(day, clock, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # Skipped: with fold=1 the later offset is used, which lies before the jump; look for the jump.
    before = local.replace(fold=1).astimezone(UTC)
    after = moment
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == before.astimezone(zone).utcoffset():
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _joined(spans: Iterable[_Span]) -> list[tuple[datetime, datetime]]:
    """Return spans in order of their beginning as disjoint ones that do not touch."""
    joined: list[tuple[datetime, datetime]] = []
    for span in spans:
        if joined and span.begins <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span.ends))
        else:
            joined.append((span.begins, span.ends))
    return joined


def _without(
    free: list[tuple[datetime, datetime]], denies: Sequence[_Span]
) -> list[tuple[datetime, datetime]]:
    """Return the free spans with the denied ones cut out."""
    for denied_from, denied_to in _joined(denies):
        cut: list[tuple[datetime, datetime]] = []
        for begins, ends in free:
            if denied_to <= begins or ends <= denied_from:
                cut.append((begins, ends))
                continue
            if begins < denied_from:
                cut.append((begins, denied_from))
            if denied_to < ends:
                cut.append((denied_to, ends))
        free = cut
    return free


def moment_words(at: datetime, zone: ZoneInfo) -> str:
    """Return a moment as people of the zone say it, with the zone."""
    local = at.astimezone(zone)
    day = f"{_DAYS[local.weekday()].capitalize()} {local.day} {_MONTHS[local.month - 1]}"
    return f"{day} {local.year} {local:%H:%M} ({zone.key})"


def _window(window: Window) -> str:
    days = "every day" if set(window.days) == set(_DAYS) else ", ".join(window.days)
    end = "24:00" if window.end == time(0, 0) else f"{window.end:%H:%M}"
    return f"{days} {window.start:%H:%M}-{end} ({window.timezone})"

"""When a metric source that fails is left alone, and when it is tried again. Pure.

closed: read when due. open: not read until `retry_at`; whoever asks is told why at once.
half_open: one read tries it; that read alone decides whether the source is back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

State = Literal["closed", "open", "half_open"]

FAILURES: Final = 5
"""So many reads running must fail: one more than a guardrail tolerates by default."""
SHORTEST_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 15.0
"""A source that is back is seen again after this long at most."""
COUNTED: Final = frozenset({"source_down", "timeout", "unauthorized"})
"""Causes that asking again and again makes no better. A bad answer is none: somebody answered."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one source; times are those of a clock that never runs backwards."""

    state: State = "closed"
    failures: int = 0
    retry_at: float = 0.0
    wait: float = 0.0
    why: str = ""

    def asked(self, now: float) -> Breaker | None:
        """Return the state in which to read now, None when the source is left alone."""
        if self.state == "closed":
            return self
        if self.state == "open" and now >= self.retry_at:
            return replace(self, state="half_open")
        return None

    def answered(self, now: float, *, cause: str = "", sentence: str = "") -> Breaker:
        """Return the state after a read; no cause means that it brought something."""
        if cause not in COUNTED:
            return Breaker()
        failures = self.failures + 1
        if self.state == "closed" and failures < FAILURES:
            return replace(self, failures=failures, why=sentence)
        wait = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, 2 * self.wait))
        return Breaker("open", failures, now + wait, wait, sentence)

    def refusal(self, now: float) -> str:
        """Say why the source is not read now."""
        if self.state == "half_open":
            return f"not asked: one read tries it after {self.failures} failed in a row"
        left = max(0.0, self.retry_at - now)
        return (
            f"not asked: {self.failures} reads failed in a row ({self.why});"
            f" tried again in {left:.0f} s"
        )

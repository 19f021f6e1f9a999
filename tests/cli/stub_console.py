"""A console on the loopback that answers as it is told to and remembers what it was asked."""

from dataclasses import dataclass, field
from typing import Any

PLAN = "0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11"
AT = "2026-11-24T02:42:39.120000+00:00"

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class StubConsole:
    """Answers each path from a list, the last answer for ever; remembers what it was asked."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """The idempotency keys of what was asked with one."""

    def will(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def next_answer(self, path: str) -> Answer:
        waiting = self.answers.get(path.partition("?")[0], [(404, {"detail": "no such page"})])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def bodies(self, path: str) -> list[Any]:
        return [body for _, asked, body, _ in self.asked if asked == path]

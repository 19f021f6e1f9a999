"""How much a decision does, as a number that no busy machine changes."""

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(act: Callable[[], object]) -> int:
    """Return how many lines of Python run until `act` ends."""
    count = itertools.count()

    def tracer(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            next(count)
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        act()
    finally:
        sys.settrace(before)
    return next(count)

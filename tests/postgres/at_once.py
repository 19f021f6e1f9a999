"""Let many do something at the very same moment."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections

SECONDS = 60.0


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run each act in a thread of its own, all released together; return results and exceptions."""
    barrier = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(place: int, act: Callable[[], Any]) -> None:
        try:
            barrier.wait(SECONDS)
            results[place] = act()
        except Exception as error:  # noqa: BLE001  (the test looks at each)
            results[place] = error
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(place, act), daemon=True)
        for place, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "somebody waits for ever"
    return results


def won(results: Sequence[Any]) -> list[Any]:
    """Return what those got who succeeded."""
    return [result for result in results if not isinstance(result, Exception)]


def lost(results: Sequence[Any], kind: type[Exception]) -> list[Any]:
    """Return the refusals; every exception has to be one of them."""
    errors = [result for result in results if isinstance(result, Exception)]
    strange = [error for error in errors if not isinstance(error, kind)]
    assert not strange, strange
    return errors

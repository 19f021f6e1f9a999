"""Play a world in its own surroundings: put them in place, run it, and put everything back."""

import logging
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast
from unittest import mock

from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError
from django.utils import timezone
from django_fsm.signals import post_transition

from batches.effects import back, hands_loop, ledger
from batches.runtime import leases, surroundings
from batches.watch import chores as watch_chores
from plans import failpoints
from reports import chores as paperwork
from tests.simulation.virtual_loop import OfEachProcess, ProcessDied
from tests.simulation.world import World

LOOKS = (
    (ledger, "IDLE_LOOK_SECONDS", 0.4),
    (back, "SETTLE_LOOK", 0.5),
    (hands_loop, "JOIN_LOOK_SECONDS", 0.7),
)
"""How far apart the engine's looks are here, longer than in production: each costs queries."""


class _Complaints(logging.Handler):
    """What the console logs as an error is a finding."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ProcessDied | OperationalError):
            return
        if record.name == "batches.alerting.local_alerts" and self._world.database_failed:
            # That the database did not answer is what has to be told in such a world.
            return
        words = f"{record.getMessage()} {type(error).__name__}: {error}"
        self._world.problems.append(words)


@contextmanager
def seeded_entropy(seed: int) -> Iterator[None]:
    """Let ids and names be the same each time the seed is played."""
    source = random.Random(f"entropy {seed}")
    with (
        mock.patch.object(os, "urandom", source.randbytes),
        mock.patch.object(random, "_urandom", source.randbytes),
        mock.patch.object(random, "uniform", source.uniform),
    ):
        yield


def play(world: World) -> None:
    """Run the world in its own surroundings, until its end."""
    shared = world.shared
    old_trap = failpoints.trap(world.reach)
    old_place = surroundings.move_to(cast("surroundings.Surroundings", world.machine))
    shared.before_statement = world.before_statement
    shared.before_commit = world.before_commit
    shared.after_commit = world.after_commit
    # What a process remembers from the world before would make another story of the same seed.
    ContentType.objects.clear_cache()
    chores = dict(watch_chores.CHORES)
    if not world.scenario.paperwork:
        for name in chores.keys() - set(world.scenario.chores):
            del watch_chores.CHORES[name]
    # Its thread writes real files; checkpoints are signed here as anywhere.
    watch_chores.CHORES.pop("anchors", None)
    complaints = _Complaints(world)
    log = logging.getLogger("batches")
    post_transition.connect(world.feed.moved, weak=False)
    with ExitStack() as stack:
        stack.callback(failpoints.trap, old_trap)
        stack.callback(surroundings.move_to, old_place)
        stack.callback(watch_chores.CHORES.update, chores)
        stack.callback(post_transition.disconnect, world.feed.moved)
        stack.callback(log.removeHandler, complaints)
        stack.callback(setattr, log, "propagate", True)
        log.addHandler(complaints)
        log.propagate = False
        stack.enter_context(mock.patch.object(timezone, "now", world.machine.now))
        stack.enter_context(mock.patch.object(leases, "_seen", OfEachProcess()))
        stack.enter_context(mock.patch.object(paperwork, "_asked", OfEachProcess()))
        stack.enter_context(seeded_entropy(world.scenario.seed))
        for owner, name, seconds in LOOKS:
            pace = seconds * world.scenario.slowness
            stack.enter_context(mock.patch.object(owner, name, pace))
        try:
            world.loop.run_until_complete(world.live())
        finally:
            shared.before_statement = lambda sql: None
            shared.before_commit = shared.after_commit = lambda: None
            world.loop.close()

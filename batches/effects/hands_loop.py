"""How one worker of the hands calls the batches of many plans: all in one event loop.

The worker begins with the batch of its task and joins every other batch that is handed out while
it is busy. A task that is delivered for such a batch later finds it called and ends at once.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import connections

from batches.effects.execution import call_batch, effects_lease, new_effect_loop
from batches.effects.loop import EffectLoop
from batches.models import Batch, Lease
from batches.runtime import surroundings
from plans.database_away import DATABASE_AWAY

JOIN_LOOK_SECONDS = 0.2
JOIN_WITHIN = timedelta(seconds=30)
"""A batch handed out longer ago than this is left to the watch."""


def _waiting(begun: Mapping[int, datetime | None]) -> list[Batch]:
    """Return the batches that are handed out and that nobody calls.

    `begun`: when each batch that this worker took was handed out; one that was handed out again
    since (after a pause) is waiting again.
    """
    now = surroundings.here().now()
    handed_out = Batch.objects.filter(
        state="deploying", plan__state="running", handed_out_at__gte=now - JOIN_WITHIN
    )
    waiting = [batch for batch in handed_out if begun.get(batch.pk) != batch.handed_out_at]
    if not waiting:
        return []
    held = set(
        Lease.objects.filter(
            name__in=[effects_lease(batch.plan_id) for batch in waiting], expires_at__gt=now
        ).values_list("name", flat=True)
    )
    return [batch for batch in waiting if effects_lease(batch.plan_id) not in held]


def _waiting_in_thread(begun: Mapping[int, datetime | None]) -> list[Batch]:
    try:
        return _waiting(begun)
    except DATABASE_AWAY:
        # What runs goes on and is written down when the database is back.
        return []
    finally:
        connections.close_all()


async def call_batches(first: Batch, effects: EffectLoop | None = None) -> int:
    """Call a batch and all that join it; return how many this worker called."""
    loop = effects or new_effect_loop()
    called = 0
    failures: list[BaseException] = []
    begun = {first.pk: first.handed_out_at}
    running = {_begin(loop, first)}
    try:
        while running:
            done, running = await asyncio.wait(
                running, timeout=JOIN_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for finished in done:
                if error := finished.exception():
                    # The others go on; the task fails at its end, so that the queue tells of it.
                    failures.append(error)
                else:
                    called += finished.result()
            for other in await asyncio.to_thread(_waiting_in_thread, dict(begun)):
                begun[other.pk] = other.handed_out_at
                running.add(_begin(loop, other))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await loop.close()
    if failures:
        raise failures[0]
    return called


def _begin(loop: EffectLoop, batch: Batch) -> "asyncio.Task[bool]":
    return asyncio.create_task(
        call_batch(loop, batch_id=batch.pk, plan_id=batch.plan_id, executor="hands")
    )

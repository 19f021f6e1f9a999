"""What the hands are asked to do: doors, not rooms."""

import asyncio
import logging

from auditlog.context import set_actor

from batches.execution import call_batch, new_effect_loop
from batches.models import Batch

logger = logging.getLogger(__name__)


def run_batch(batch_id: int) -> None:
    """Call the tenants of a batch, unless somebody is at it already."""
    plan_id = Batch.objects.values_list("plan_id", flat=True).get(pk=batch_id)

    async def run() -> None:
        loop = new_effect_loop()
        try:
            began = await call_batch(loop, batch_id=batch_id, plan_id=plan_id, executor="hands")
            if not began:
                logger.info("Batch %s is called by somebody else already.", batch_id)
        finally:
            await loop.close()

    with set_actor(None):
        asyncio.run(run())

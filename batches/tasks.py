"""What the hands are asked to do: doors, not rooms."""

import logging

from auditlog.context import set_actor

from batches.effects.hands_loop import call_batches
from batches.effects.loop import EffectLoop
from batches.history import recording, retention
from batches.looks import retention as looks_retention
from batches.models import Batch, PlaceboRun
from batches.placebo import runs
from batches.runtime import surroundings
from plans.failpoints import reach
from plans.models import User

logger = logging.getLogger(__name__)


def run_batch(batch_id: int, effects: EffectLoop | None = None) -> None:
    """Call the tenants of a batch, unless somebody is at it already."""
    reach("hands.began")
    batch = Batch.objects.get(pk=batch_id)
    with set_actor(None):
        if not surroundings.here().run(call_batches(batch, effects)):
            logger.info("Batch %s is called by somebody else already.", batch_id)
    reach("hands.ending")


def record_history() -> None:
    """Read every Kpi of all tenants once, for the history, and drop what is too old."""
    with set_actor(None):
        recording.record()
        retention.forget_old(surroundings.here().now())


def forget_looks() -> None:
    """Drop the looks at plans that ended long ago."""
    looks_retention.forget_looks(surroundings.here().now())


def measure_placebo(policy: str, rollouts: int, seed: str, by_id: str) -> None:
    """Lay rollouts of a policy over history, unless it was done with this seed already."""
    if PlaceboRun.objects.filter(seed=seed).exists():
        return
    user = User.objects.get(pk=by_id)
    with set_actor(user):
        runs.measure_placebo(
            policy=policy,
            rollouts=rollouts,
            seed=seed,
            patience=runs.PATIENCE_SECONDS,
            by=user,
            now=surroundings.here().now(),
            via="page",
        )

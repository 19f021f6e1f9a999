"""What changes in the batches of a running plan: soaks, gates, and how the rest is shared out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from plans.changes.change import AGAIN, Change, Direction, Standing, higher, ranked
from plans.drafting.exposure import as_careful
from plans.policies.policy import BatchSpec, UpgradePolicy
from plans.policies.policy_words import span


def batch_changes(
    before: UpgradePolicy, after: UpgradePolicy, standing: Standing
) -> tuple[list[Change], list[str]]:
    """Return what changes in the batches, and what may not since they stand or are over."""
    begun, old, new = standing.begun, before.batches, after.batches
    refused: list[str] = []
    changes: list[Change] = []
    for index, was in enumerate(old[:begun]):
        reads = new[index] if index < len(new) else None
        if reads is None or (was.name, was.percentage) != (reads.name, reads.percentage):
            refused.append(
                f"batches.{was.name}: it has begun or stands in front of a skipped batch, so it"
                f" stays batch {index + 1} with {was.percentage:g} %; change the batches behind it"
            )
            continue
        refused += _begun_refusals(was, reads, over=was.name in standing.over)
        if was.name not in standing.over:
            changes += _one_batch(replace(was, advance=reads.advance), reads)
    if refused:
        return [], refused
    waiting, coming = old[begun:], new[begun:]
    if [(b.name, b.percentage) for b in waiting] == [(b.name, b.percentage) for b in coming]:
        for was, reads in zip(waiting, coming, strict=True):
            changes += _one_batch(was, reads)
    elif not waiting:
        refused.append(f"batches: every batch has begun, none can be added; {AGAIN}")
    elif not coming:
        refused.append("batches: some tenants have no batch yet; keep at least one for them")
    else:
        judged = _list_direction(waiting, coming)
        changes.append(Change("batches", "batches", _listed(waiting), _listed(coming), judged))
    return changes, refused


def _begun_refusals(was: BatchSpec, reads: BatchSpec, *, over: bool) -> Iterable[str]:
    if was.advance != reads.advance:
        yield (
            f"batches.{was.name}.advance: it has begun already, or stands in front of a skipped"
            " batch; change it for a later batch"
        )
    if over and (was.soak_seconds, was.metrics) != (reads.soak_seconds, reads.metrics):
        yield f"batches.{was.name}: it is over; change a batch that is not"


def _one_batch(was: BatchSpec, reads: BatchSpec) -> Iterable[Change]:
    path = f"batches.{was.name}"
    if was.soak_seconds != reads.soak_seconds:
        judged = higher(was.soak_seconds, reads.soak_seconds)
        old, new = span(was.soak_seconds), span(reads.soak_seconds)
        yield Change(f"{path}.soak_minutes", f"soak of {was.name}", old, new, judged)
    if was.advance != reads.advance:
        judged = ranked("automatic", "manual")(was.advance, reads.advance)
        yield Change(f"{path}.advance", f"{was.name} begins", was.advance, reads.advance, judged)
    if was.metrics != reads.metrics:
        judged = "tighter" if set(was.metrics) <= set(reads.metrics) else "looser"
        old, new = (", ".join(metrics) or "none" for metrics in (was.metrics, reads.metrics))
        yield Change(f"{path}.metrics", f"{was.name} watches", old, new, judged)


def _list_direction(before: Sequence[BatchSpec], after: Sequence[BatchSpec]) -> Direction:
    watched = {kpi for batch in after for kpi in batch.metrics}
    if not {kpi for batch in before for kpi in batch.metrics} <= watched:
        return "looser"
    if not as_careful(after, before):
        return "looser"
    return "neutral" if as_careful(before, after) else "tighter"


def _listed(batches: Sequence[BatchSpec]) -> str:
    return ", ".join(
        f"{batch.name} {batch.percentage:g} % (soaks {span(batch.soak_seconds)}"
        f"{', a person lets it begin' if batch.advance == 'manual' else ''})"
        for batch in batches
    )


def merged_batches(
    before: Sequence[BatchSpec], after: Sequence[BatchSpec], paths: Collection[str], begun: int
) -> tuple[BatchSpec, ...]:
    """Return the batches of `before` with the changes of these paths alone."""
    by_name = {batch.name: batch for batch in after}

    def one(was: BatchSpec) -> BatchSpec:
        reads, path = by_name.get(was.name, was), f"batches.{was.name}"
        return replace(
            was,
            soak_seconds=(reads if f"{path}.soak_minutes" in paths else was).soak_seconds,
            advance=(reads if f"{path}.advance" in paths else was).advance,
            metrics=(reads if f"{path}.metrics" in paths else was).metrics,
        )

    if "batches" not in paths:
        return tuple(one(batch) for batch in before)
    # The batches that wait change as a whole; those that have begun keep what is not chosen.
    return (*(one(batch) for batch in before[:begun]), *after[begun:])

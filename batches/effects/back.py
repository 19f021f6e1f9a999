"""Take one tenant back, until the old version is seen and nothing sent before can undo that."""

from batches.deployers.base import Answer, Observed, ObserveFailed
from batches.effects.calls import Calls
from batches.effects.ports import CallEnd, Task
from batches.effects.seen import back, problem_of

PATIENCE_WITH_OPEN_CALLS = 2.0
"""Seconds that a restore waits for an open forward call to end before it is sent beside it."""
SETTLE_LOOK = 0.2


async def restore(calls: Calls, task: Task) -> None:
    """Restore until the old version is observed and no late forward call can undo that."""
    attempt = tries = 0
    reason = task.reason
    if task.late_calls:
        await _settle(calls, task, patience=PATIENCE_WITH_OPEN_CALLS)
    while True:
        attempt, tries = attempt + 1, tries + 1
        call: CallEnd | None = await calls.call(task, attempt, None, reason)
        if call is None:
            # Another holder has the lease now; the intent is theirs to finish.
            return
        answer = call.answer
        seen = await calls.read_back(task, patient=answer.outcome in {"ok", "unknown"})
        seen, call, proven = await _prove(calls, task, seen, call)
        if proven:
            return
        problem = problem_of(task, seen, answer, plugin=calls.job.plugin)
        if await _given_up(calls, task, seen, answer, call, problem):
            return
        reason = f"attempt {attempt} {answer.outcome}: {answer.text}"[:200]
        if call is None:
            reason = "a late forward call undid the restore"
        if isinstance(seen, Observed) and (call is None or answer.outcome in {"ok", "failed"}):
            # A platform that keeps what came of a key would answer the same key as before,
            # done long ago or failed, and change nothing.
            renewed = await calls.ledger.renew(task)
            if renewed is None:
                return
            task, attempt = renewed, 0
        await calls.pause_before(tries, answer)


async def _prove(
    calls: Calls, task: Task, seen: Observed | ObserveFailed, call: CallEnd | None
) -> tuple[Observed | ObserveFailed, CallEnd | None, bool]:
    """Record a tenant that is back; return the last look, the call to record, and whether.

    While a late forward call may still be applied, only what is seen after that tells.
    """
    if not back(task, seen):
        return seen, call, False
    if task.late_calls:
        await calls.finish(task, None, observed=seen, call=call)
        call = None
        await _settle(calls, task)
        seen = await calls.observe(task)
    if proven := back(task, seen):
        await calls.finish(task, "restored", observed=seen, call=call)
    return seen, call, proven


async def _given_up(
    calls: Calls,
    task: Task,
    seen: Observed | ObserveFailed,
    answer: Answer,
    call: CallEnd | None,
    problem: str,
) -> bool:
    """Record a restore that did not succeed; tell whether to leave it at that."""
    stopped = calls.ledger.stop_requested()
    # A restore that was undone afterwards had worked, whatever its answer said.
    refused = answer.permanent and call is not None
    gives_up = not stopped and (refused or calls.out_of_time)
    await calls.finish(
        task,
        "give_up" if gives_up else None,
        observed=seen,
        error=problem,
        call=call,
        exhausted=gives_up,
    )
    return stopped or gives_up


async def _settle(calls: Calls, task: Task, *, patience: float | None = None) -> None:
    """Wait until no earlier forward call can be applied any more.

    `patience` bounds the wait in seconds; an open call usually ends long before its time-out.
    """
    calls.settling += 1
    calls.changed.set()
    try:
        await _until_settled(calls, task, patience)
    finally:
        calls.settling -= 1


async def _until_settled(calls: Calls, task: Task, patience: float | None) -> None:
    began = calls.clock.monotonic()
    known, ends = None, began
    while True:
        settles_at = await calls.ledger.settles_at(task)
        if settles_at is None:
            return
        if settles_at != known:
            # Waited for by the steady clock: the wall clock may be moved meanwhile.
            rest = (settles_at - calls.clock.now()).total_seconds()
            longest = 2 * calls.job.call_timeout
            known, ends = settles_at, calls.clock.monotonic() + min(rest, longest)
        left = ends - calls.clock.monotonic()
        waited = calls.clock.monotonic() - began
        if left <= 0 or (patience is not None and waited >= patience):
            return
        await calls.clock.sleep(min(left, SETTLE_LOOK))

"""Take one tenant forward; an answer that tells nothing is followed by a look, never by a guess."""

from batches.deployers.base import Observed, ObserveFailed
from batches.effects.calls import NOT_SENT, Calls
from batches.effects.ports import CallEnd, Move, Task
from batches.effects.seen import downgrade, installed, problem_of


async def _first_look(calls: Calls, task: Task) -> Observed | ObserveFailed:
    seen: Observed | ObserveFailed = ObserveFailed("not observed")
    for attempt in range(1, calls.job.attempts + 1):
        seen = await calls.observe(task)
        if isinstance(seen, Observed) or seen.permanent or calls.halted:
            return seen
        if attempt < calls.job.attempts:
            await calls.pause_before(attempt, None)
    return seen


async def install(calls: Calls, task: Task) -> None:
    """Take a tenant forward: look, call, look again, as often as the attempts allow."""
    before = await _first_look(calls, task)
    if isinstance(before, ObserveFailed):
        error = f"could not be observed: {before.reason}"
        if calls.halted:
            await calls.finish(task, "lose" if task.touched else "release", error=error)
            return
        move: Move = "lose" if task.touched else "fail"
        await calls.finish(task, move, error=error, exhausted=True)
        return
    if await _needs_no_call(calls, task, before):
        return
    reason = task.reason
    for attempt in range(1, calls.job.attempts + 1):
        if calls.halted:
            await _stopped(calls, task, attempt, before)
            return
        call = await calls.call(task, attempt, before, reason)
        if call is None:
            await _stopped(calls, task, attempt, before)
            return
        answer = call.answer
        seen = await calls.read_back(task, patient=answer.outcome in {"ok", "unknown"})
        if installed(task, seen):
            await calls.finish(task, "confirm", observed=seen, call=call)
            return
        problem = problem_of(task, seen, answer, plugin=calls.job.plugin)
        if _was_not_its_fault(calls, call, attempt):
            await calls.finish(task, "lose", observed=seen, error=problem, call=call)
            return
        if attempt == calls.job.attempts or answer.permanent:
            lost = isinstance(seen, ObserveFailed) or answer.outcome == "unknown"
            await calls.finish(
                task,
                "lose" if lost else "fail",
                observed=seen,
                error=problem,
                call=call,
                exhausted=True,
            )
            return
        await calls.finish(task, None, observed=seen, error=problem, call=call)
        reason = f"attempt {attempt} {answer.outcome}: {answer.text}"[:200]
        await calls.pause_before(attempt, answer)


async def _needs_no_call(calls: Calls, task: Task, before: Observed) -> bool:
    """Record who is on the target already, or on something newer; tell whether that was all."""
    if installed(task, before):
        await calls.finish(task, "confirm", observed=before)
        return True
    wrong_way = downgrade(task, before)
    if wrong_way:
        await calls.finish(task, "fail", observed=before, error=wrong_way, exhausted=True)
    return bool(wrong_way)


def _was_not_its_fault(calls: Calls, call: CallEnd, attempt: int) -> bool:
    """Tell whether the tenant keeps its attempts: it is claimed again by a later run.

    The platform refused our credentials (a person lets the plan go on), or this process stood
    still before its last attempt.
    """
    not_sent = call.answer.text == NOT_SENT and attempt == calls.job.attempts
    return call.answer.unauthorized or not_sent


async def _stopped(calls: Calls, task: Task, attempt: int, before: Observed) -> None:
    """Give the intent back: untouched as if never claimed, touched as unknown."""
    if attempt == 1 and not task.touched:
        await calls.finish(task, "release", observed=before)
    else:
        await calls.finish(task, "lose", observed=before, error="stopped before it was finished")

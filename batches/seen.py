"""What a look at a tenant says about a task: done, undone, or what is wrong. Pure."""

from batches.deployers.base import Answer, Observed, ObserveFailed
from batches.effect_ports import Task


def installed(task: Task, seen: Observed | ObserveFailed) -> bool:
    """Tell whether the target is there: its version, and its artifact where the platform tells."""
    return (
        isinstance(seen, Observed)
        and seen.version == task.version
        and digest_fits(task.digest, seen.digest)
    )


def back(task: Task, seen: Observed | ObserveFailed) -> bool:
    """Tell whether the version before is there again."""
    return isinstance(seen, Observed) and seen.version == task.version


def problem_of(task: Task, seen: Observed | ObserveFailed, answer: Answer) -> str:
    """Return what is wrong with a tenant after a call, in a clause."""
    if isinstance(seen, ObserveFailed):
        return f"could not be read back: {seen.reason}"
    if seen.version == task.version:
        return f"runs {seen.version} with digest {seen.digest}, not {task.digest}"
    told = f"{answer.outcome}{f' {answer.status}' if answer.status else ''}"
    return f"still {seen.version} after a call that ended {told}: {answer.text}"[:480]


def digest_fits(wanted: str, seen: str | None) -> bool:
    """Tell whether the artifact is the wanted one, or nobody tells."""
    if not wanted or not seen:
        return True
    return seen.removeprefix("sha256:") == wanted.removeprefix("sha256:")

"""What a look at a tenant says about a task: done, undone, or what is wrong. Pure."""

from batches.deployers.base import Answer, Observed, ObserveFailed
from batches.effects.ports import Task
from plans.drafting.version_order import is_older

SHOWN_OF_DIGEST = 12


def installed(task: Task, seen: Observed | ObserveFailed) -> bool:
    """Tell whether the target is there: its version, and its artifact where the platform tells."""
    return (
        isinstance(seen, Observed)
        and seen.version == task.version
        and digest_fits(task.digest, seen.digest)
    )


def back(task: Task, seen: Observed | ObserveFailed) -> bool:
    """Tell whether the version before is there again.

    By its name alone: that it has another digest than before is told, and keeps nobody from being
    back. No signature ever stands in the way of a rollback.
    """
    return isinstance(seen, Observed) and seen.version == task.version


def foreign_digest(task: Task, seen: Observed | ObserveFailed | None) -> bool:
    """Tell whether the wanted version is there by its name, and is another artifact."""
    if not isinstance(seen, Observed) or seen.version != task.version:
        return False
    return not digest_fits(task.digest, seen.digest)


def downgrade(task: Task, before: Observed) -> str:
    """Return why the first call would be a downgrade, in a clause; empty when it would not.

    What the tenant runs may have changed since the plan was made; only its recorded way back may
    be older. Who was called before is not asked: there the plan itself may be what is seen.
    """
    if task.touched or task.version == task.way_back:
        return ""
    if not is_older(task.version, before.version):
        return ""
    return (
        f"runs {before.version}, which is newer than {task.version}: not called, since a plan takes"
        " nobody to an older version"
    )


def problem_of(
    task: Task, seen: Observed | ObserveFailed, answer: Answer, *, plugin: str = ""
) -> str:
    """Return what is wrong with a tenant after a call, in a clause."""
    if isinstance(seen, ObserveFailed):
        return f"could not be read back: {seen.reason}"
    if seen.version == task.version:
        shown, signed = short_digest(seen.digest or ""), short_digest(task.digest)
        return (
            f"runs {plugin or 'the plugin'} {seen.version} with another digest than was signed:"
            f" {shown}, signed {signed}"
        )
    told = f"{answer.outcome}{f' {answer.status}' if answer.status else ''}"
    return f"still {seen.version} after a call that ended {told}: {answer.text}"[:480]


def digest_fits(wanted: str, seen: str | None) -> bool:
    """Tell whether the artifact is the wanted one, or nobody tells."""
    if not wanted or not seen:
        return True
    return seen.removeprefix("sha256:") == wanted.removeprefix("sha256:")


def short_digest(digest: str) -> str:
    """Return enough of a digest to tell it from another one."""
    plain = digest.removeprefix("sha256:")
    return plain if len(plain) <= SHOWN_OF_DIGEST else f"{plain[:SHOWN_OF_DIGEST]}…"

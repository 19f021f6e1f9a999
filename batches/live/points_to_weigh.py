"""What about a plan an approver should weigh before they sign it: pure, from policy and sizes.

Each point is a fact that makes this plan riskier than a careful one, in one sentence. Of a plan
without any it is said what was looked at, so that nobody takes silence for a check.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from plans.policies.policy import UpgradePolicy

LARGE_FIRST_SHARE = 0.25
"""A first batch above this share of the tenants is no canary any more."""

FEW = 4
"""With fewer tenants than this no first batch is small."""

LOOKED_AT = (
    "Looked at: whether the release is trusted, how many go first, the soaks, what takes it back by"
    " itself and in which time, and whether a plan that you may see had to take this release back."
)


@dataclass(frozen=True, slots=True)
class Before:
    """One time that the same release was taken back; `plan_id` leads to its plan."""

    plan_id: str
    external_id: str
    tenants: int
    said: str


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to weigh; `plan_id` is the plan that it speaks of, if any."""

    sentence: str
    plan_id: str = ""


def points_to_weigh(
    policy: UpgradePolicy,
    sizes: Sequence[int],
    *,
    version: str,
    standing: str,
    running: Sequence[str],
    before: Sequence[Before],
    first_over: int | None,
    rehearsal: bool = False,
) -> list[Point]:
    """Return what to weigh, the gravest first; `sizes` are the tenants of each batch in its order.

    `standing`: why nothing of the release may be installed, empty while it is trusted. `running`:
    the versions that its tenants are known to run now. `first_over`: the number of the first batch
    after which all could not be back in time. A `rehearsal` is taken back by the console itself.
    """
    told = (
        [Point(f"Approved or not, it does not start: {standing.rstrip('.')}.")] if standing else []
    )
    told += [
        Point(
            f"{version} was taken back before, from {_count(one.tenants)} of {one.external_id}:"
            f" {one.said}",
            one.plan_id,
        )
        for one in before
    ]
    sentences = [
        *_way_back(policy, first_over, rehearsal),
        *_already(version, running),
        *_beginning(policy, sizes),
        *_soaks(policy, sizes),
    ]
    return told + [Point(sentence) for sentence in sentences]


def _way_back(policy: UpgradePolicy, first_over: int | None, rehearsal: bool) -> list[str]:
    told = []
    if first_over is not None:
        told.append(
            f"From batch {first_over} on, all could not be taken back in time: it does not begin"
            " before restores prove faster or the policy changes."
        )
    if not rehearsal and not _metrics_take_back(policy):
        told.append("No metric takes anything back by itself: a person has to.")
    idle = sorted({rule.kpi for rule in policy.guardrails if rule.dry_run})
    if idle:
        told.append(f"A dry run only, shown and never acted on: {', '.join(idle)}.")
    if policy.on.failure_rate != "rollback":
        told.append("When too many tenants fail it holds for a person; nothing is taken back.")
    if policy.rollback.scope == "batch":
        told.append("A breach takes the newest batch back alone; a person decides about the rest.")
    return told


def _already(version: str, running: Sequence[str]) -> list[str]:
    if version not in running:
        return []
    who = "Its tenants" if len(running) == 1 else "Some of its tenants"
    return [f"{who} run {version} already, as far as is known; a rollback leaves them on it."]


def _metrics_take_back(policy: UpgradePolicy) -> bool:
    if policy.evidence is not None and policy.evidence.action == "rollback":
        return True
    return any(rule.action == "rollback" and not rule.dry_run for rule in policy.guardrails)


def _beginning(policy: UpgradePolicy, sizes: Sequence[int]) -> list[str]:
    total = sum(sizes)
    if not sizes or total < FEW:
        return []
    if len(sizes) == 1:
        return [f"All {total} tenants get it in one batch; nobody goes first."]
    if sizes[0] > LARGE_FIRST_SHARE * total:
        share = 100 * sizes[0] / total
        return [f"The first batch is large: {sizes[0]} of {total} tenants ({share:.0f} %)."]
    return []


def _soaks(policy: UpgradePolicy, sizes: Sequence[int]) -> list[str]:
    """Return which batches are not watched before the next one begins; the last has no next."""
    asked = policy.batches[: len(sizes)]
    followed = asked if len(sizes) > len(policy.batches) else asked[:-1]
    bare = [spec.name for spec in followed if not spec.soak_seconds]
    if not bare:
        return []
    verb = "does" if len(bare) == 1 else "do"
    return [f"{', '.join(bare)} {verb} not soak: nothing is watched before the next batch begins."]


def _count(tenants: int) -> str:
    return f"{tenants} tenant{'' if tenants == 1 else 's'}"

"""What is known of a rollback whose tenants are watched, read back after a restart."""

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batches.kpis.dictionary import Dictionary, KpiMapping
from batches.looks.recall import Guard, baselines_of, guards_of
from batches.models import AftermathSample, Rollback
from batches.rollback.back_in_band import judged_after
from batches.sources.increments import LookSample, max_age
from plans.policies.policy import UpgradePolicy


@dataclass(slots=True)
class Followed:
    """One rollback whose tenants are watched; everything can be read back from the database."""

    rollback_id: Any
    known: Dictionary
    guards: list[Guard]
    unusable: dict[str, str]
    look_seconds: float
    next_look: datetime
    looks: dict[str, deque[LookSample]] = field(default_factory=dict)
    waiting: dict[str, dict[str, KpiMapping]] = field(default_factory=dict)
    candidates: dict[str, int] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    shown: tuple[tuple[str, str], ...] = ()

    @property
    def kpis(self) -> list[str]:
        """Return the Kpis that guardrails judge, each once."""
        return sorted({guard.definition.name for guard in self.guards})

    def move(self, by: timedelta) -> None:
        """Shift what is remembered along with a wall clock that was moved."""
        self.next_look += by
        for kpi, looks in self.looks.items():
            self.looks[kpi] = deque(replace(look, at=look.at + by) for look in looks)

    @property
    def longest(self) -> float:
        """Return the longest window in seconds."""
        return max((guard.guardrail.window_seconds for guard in self.guards), default=60.0)


def recalled(
    rollback: Rollback, policy: UpgradePolicy, known: Dictionary, now: datetime
) -> Followed:
    """Return what is known of a rollback's aftermath: a restart goes on where it was."""
    guards, unusable = guards_of(
        (
            guardrail
            for guardrail in policy.guardrails
            if judged_after(guardrail) and not known.is_of_new_version_only(guardrail.kpi)
        ),
        known,
    )
    followed = Followed(
        rollback_id=rollback.pk,
        known=known,
        guards=guards,
        unusable=unusable,
        look_seconds=policy.limits.look_seconds,
        next_look=now,
        baselines=baselines_of(rollback.plan_id),
    )
    for kpi in followed.kpis:
        rows = AftermathSample.objects.filter(rollback=rollback, kpi=kpi).order_by("-at")
        newest = rows.first()
        if newest is None:
            continue
        oldest = newest.at - timedelta(
            seconds=followed.longest + 2 * max_age(followed.look_seconds)
        )
        looks = deque(LookSample.from_json(row.look) for row in rows.filter(at__gte=oldest))
        looks.reverse()
        forget_old(looks, followed.longest)
        followed.looks[kpi] = looks
    return followed


def forget_old(looks: deque[LookSample], longest: float) -> None:
    """Keep the longest window and the one look before it, from which its counters go on."""
    edge = looks[-1].at - timedelta(seconds=longest)
    while len(looks) > 1 and looks[1].at <= edge:
        looks.popleft()


def joined(parts: list[LookSample]) -> LookSample:
    """Return the looks at the tenants of each version as one; a broken one breaks it."""
    broken = next((part for part in parts if not part.ok), None)
    if broken is not None or len(parts) == 1:
        return broken or parts[0]
    causes: dict[str, int] = defaultdict(int)
    for part in parts:
        for cause, n in part.causes.items():
            causes[cause] += n
    first = parts[0]
    return LookSample(
        kpi=first.kpi,
        at=first.at,
        canary={key: point for part in parts for key, point in part.canary.items()},
        causes=dict(causes),
        source=first.source,
        absent={key: cause for part in parts for key, cause in part.absent.items()},
    )

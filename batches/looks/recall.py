"""What the observer knows of a plan, built from the database: a restart goes on where it was."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batches.drills.rehearsing import is_blind
from batches.evidence.rules import EvidenceTest, evidence_test
from batches.guardrails.verdict import GuardrailRuling, GuardState, guardrail_key
from batches.kpis.dictionary import (
    Dictionary,
    GuardrailUnusable,
    KpiDefinition,
    KpiMapping,
    resolve_guardrail,
)
from batches.models import GuardrailState, KpiBaseline, KpiSample, Rollback
from batches.sources.increments import LookSample, max_age
from plans.models import Plan
from plans.policies.policy import Guardrail, UpgradePolicy

OWN = "own_history"
RECENT_LOOKS = 60
"""How many measured values of a guardrail are kept at hand for its small chart."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One guardrail of the plan's policy, in the dictionary's unit."""

    key: str
    guardrail: Guardrail
    definition: KpiDefinition


@dataclass(slots=True)
class Watched:
    """What is known of one plan; all of it can be read back from the database.

    `unusable`: guardrails that cannot be judged with this dictionary, and why; nothing passes then.
    `blind`: a rehearsal of missing data, whose looks bring nothing.
    `began_at`: when the first look was asked for, since nobody can miss data before.
    `since`: what was seen before does not count. `read_back`: nothing was judged with it yet.
    `judged_with`: who was upgraded and what was known of them at the last judging.
    """

    plan_id: Any
    revision: int
    known: Dictionary
    guards: list[Guard]
    unusable: dict[str, str]
    kpis: tuple[str, ...]
    watched: frozenset[str]
    next_look: datetime
    look_seconds: float
    began_at: datetime | None = None
    since: datetime | None = None
    read_back: bool = True
    judged_with: tuple[list[str], dict[str, dict[str, float]]] | None = None
    unanswered_since: dict[str, datetime] = field(default_factory=dict)
    rolling_back: bool = False
    blind: bool = False
    evidence: EvidenceTest | None = None
    looks: dict[str, deque[LookSample]] = field(default_factory=dict)
    states: dict[str, GuardState] = field(default_factory=dict)
    rulings: dict[str, GuardrailRuling] = field(default_factory=dict)
    recent: dict[str, deque[list[float | None]]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    ask_history_at: dict[str, datetime] = field(default_factory=dict)
    missing_since: dict[str, datetime] = field(default_factory=dict)
    missing_words: dict[str, str] = field(default_factory=dict)
    candidates: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, dict[str, KpiMapping]] = field(default_factory=dict)

    def move(self, by: timedelta) -> None:
        """Shift what is remembered along with a wall clock that was moved."""
        self.next_look += by
        self.began_at = self.began_at and self.began_at + by
        for times in (self.unanswered_since, self.missing_since, self.ask_history_at):
            for kpi in times:
                times[kpi] += by
        for kpi, looks in self.looks.items():
            self.looks[kpi] = deque(replace(look, at=look.at + by) for look in looks)

    def carry_on(self, before: "Watched") -> None:
        """Take over what stands in no row: since when nobody has answered."""
        self.began_at = before.began_at
        self.unanswered_since = {
            kpi: since for kpi, since in before.unanswered_since.items() if kpi in self.kpis
        }

    def missing(self, now: datetime) -> dict[str, tuple[datetime, str]]:
        """Return since when, and why, each watched Kpi has had no data."""
        found = {
            kpi: (since, self.missing_words.get(kpi) or "no reason given")
            for kpi, since in self.missing_since.items()
            if kpi in self.watched
        }
        longest = max_age(self.look_seconds)
        for kpi, since in self.unanswered_since.items():
            if kpi in self.watched and (now - since).total_seconds() > longest:
                found.setdefault(kpi, (since, "nobody answered"))
        for kpi, why in self.unusable.items():
            found.setdefault(kpi, (self.began_at or now, why))
        return found

    def all_seen_at(self) -> datetime | None:
        """Return the earliest of the watched Kpis' newest looks; None while one has no data."""
        newest: list[datetime] = []
        for kpi in self.watched & set(self.kpis):
            looks = self.looks.get(kpi)
            if not looks or is_missing(looks[-1]):
                return None
            newest.append(looks[-1].at)
        return min(newest, default=None)

    def stale(self, now: datetime) -> list[str]:
        """Return, in words, at which judged Kpis nobody has looked lately; nothing passes then."""
        oldest = now - timedelta(seconds=max_age(self.look_seconds))
        judged = {guard.definition.name for guard in self.guards if guard.guardrail.critical}
        return [
            f"{kpi} was not looked at for {max_age(self.look_seconds):g} s"
            for kpi in sorted(judged)
            if (looks := self.looks.get(kpi)) and looks[-1].at < oldest
        ]


def guards_of(
    guardrails: Iterable[Guardrail], known: Dictionary
) -> tuple[list[Guard], dict[str, str]]:
    """Return the guardrails in the dictionary's unit, and by Kpi why others cannot be judged."""
    guards: list[Guard] = []
    unusable: dict[str, str] = {}
    for guardrail in guardrails:
        definition = known.kpi(guardrail.kpi)
        if definition is None or not known.mappings_for(guardrail.kpi):
            unusable[guardrail.kpi] = f"the dictionary has no source for {guardrail.kpi} any more"
            continue
        try:
            resolved = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable as broken:
            unusable[guardrail.kpi] = str(broken)
            continue
        guards.append(Guard(guardrail_key(guardrail), resolved, definition))
    return guards, unusable


def kept_seconds(guards: Iterable[Guard]) -> float:
    """Return for how long looks are kept at hand: as far as the longest window reaches back."""
    return max((guard.guardrail.window_seconds for guard in guards), default=60.0)


def recalled(plan: Plan, policy: UpgradePolicy, known: Dictionary) -> Watched:
    """Return what is known of a plan.

    What was seen before the plan's last rollback says nothing about the tenants that are left.
    """
    guards, unusable = guards_of(policy.guardrails, known)
    evidence = evidence_test(policy, known)
    if evidence is not None:
        unusable.update(evidence.unusable)
    charted = {panel.kpi for _title, panels in known.dashboards for panel in panels}
    # Looks are kept by the dictionary's own name, whatever alias a policy or a panel uses.
    wanted = frozenset(map(known.name_of, policy.watched_kpis))
    names = wanted | set(map(known.name_of, charted))
    watched = Watched(
        plan_id=plan.pk,
        revision=plan.revision,
        known=known,
        guards=guards,
        unusable=unusable,
        kpis=tuple(sorted(name for name in names if known.mappings_for(name))),
        watched=wanted,
        next_look=plan.created_at,
        look_seconds=policy.limits.look_seconds,
        blind=is_blind(plan),
        evidence=evidence,
    )
    last = Rollback.objects.filter(plan=plan).order_by("-triggered_at").first()
    cut = (last.finished_at or last.triggered_at) if last is not None else plan.created_at
    watched.since = cut
    for row in GuardrailState.objects.filter(plan=plan, updated_at__gte=cut):
        watched.states[row.key] = GuardState.from_json(row.state)
        watched.recent[row.key] = deque(row.recent, maxlen=RECENT_LOOKS)
    compared = {guard.definition.name for guard in guards if guard.guardrail.against == OWN}
    if compared:
        watched.baselines = baselines_of(plan.pk)
    longest = kept_seconds(guards)
    for kpi in watched.kpis:
        _recall_looks(watched, kpi, longest, cut)
    return watched


def baselines_of(plan_id: Any) -> dict[str, dict[str, float]]:
    """Return each Kpi's means of the plan's tenants from before their upgrade, as written down."""
    return {row.kpi: dict(row.means) for row in KpiBaseline.objects.filter(plan_id=plan_id)}


def _recall_looks(watched: Watched, kpi: str, longest: float, cut: datetime) -> None:
    rows = KpiSample.objects.filter(plan_id=watched.plan_id, kpi=kpi, at__gte=cut).order_by("-at")
    newest = rows.first()
    looks: deque[LookSample] = deque()
    watched.looks[kpi] = looks
    if newest is None:
        return
    oldest = newest.at - timedelta(seconds=longest)
    for row in rows.filter(at__gte=oldest):
        looks.appendleft(LookSample.from_json(row.look))
    if not newest.ok:
        last_good = rows.filter(ok=True).first()
        since = rows.filter(ok=False, at__gt=last_good.at) if last_good else rows.filter(ok=False)
        first = since.order_by("at").first()
        if first is not None:
            watched.missing_since[kpi] = first.at
            watched.missing_words[kpi] = newest.cause


def is_missing(look: LookSample) -> bool:
    """Tell whether the look brought nothing although there was something to see."""
    return not look.ok or (look.lost > 0 and not look.canary)

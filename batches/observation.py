"""Look at the Kpis of live plans, judge them, keep samples and rulings.

Reads happen beside the watch (source_reader); what came back is taken in at the next tick, plan by
plan, each in one transaction.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from django.db import transaction

from batches.configured import dictionary
from batches.decide import BreachFacts, MissingFacts
from batches.dictionary import KpiDefinition, KpiMapping, resolve_guardrail
from batches.increments import LookSample, failed_look, max_age, take_look
from batches.metric_sources import Selector
from batches.models import (
    Batch,
    GuardrailState,
    KpiCursor,
    KpiSample,
    Ruling,
    TenantUpgrade,
)
from batches.source_reader import SourceAnswer, SourceReader
from batches.verdict import (
    GuardrailRuling,
    GuardState,
    guardrail_key,
    judge,
    measure,
    promotable,
)
from plans import events
from plans.models import Plan
from plans.policy import Guardrail, UpgradePolicy

LOOKED_AT = ("running", "paused", "rolling_back")


@dataclass(frozen=True, slots=True)
class _Guard:
    key: str
    guardrail: Guardrail
    definition: KpiDefinition


@dataclass(slots=True)
class _Watched:
    """What the observer knows of one plan; all of it can be read back from the database."""

    plan_id: Any
    revision: int
    guards: list[_Guard]
    kpis: tuple[str, ...]
    watched: frozenset[str]
    next_look: datetime
    look_seconds: float
    looks: dict[str, deque[LookSample]] = field(default_factory=dict)
    states: dict[str, GuardState] = field(default_factory=dict)
    rulings: dict[str, GuardrailRuling] = field(default_factory=dict)
    missing_since: dict[str, datetime] = field(default_factory=dict)
    missing_words: dict[str, str] = field(default_factory=dict)
    candidates: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, dict[str, KpiMapping]] = field(default_factory=dict)


class Observer:
    """The watch's eyes."""

    def __init__(self, *, on_answer: Callable[[], None] = lambda: None) -> None:
        self._reader = SourceReader(on_answer=on_answer)
        self._plans: dict[Any, _Watched] = {}

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader.stop()

    # What the decisions ask.

    def breaches(self, plan: Plan, policy: UpgradePolicy) -> list[BreachFacts]:
        """Return the guardrails that are broken now and want something done."""
        watched = self._watched(plan, policy)
        return [
            BreachFacts(ruling.guardrail, ruling.kpi, ruling.action, ruling.sentence)
            for ruling in watched.rulings.values()
            if ruling.verdict == "breached" and ruling.action in {"rollback", "pause"}
        ]

    def missing(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> list[MissingFacts]:
        """Return the watched Kpis whose data is missing, and since when."""
        watched = self._watched(plan, policy)
        return [
            MissingFacts(
                kpi,
                since,
                f"{kpi} has had no data since {since:%H:%M:%S} UTC"
                f" ({watched.missing_words.get(kpi) or 'no reason given'})",
            )
            for kpi, since in sorted(watched.missing_since.items())
            if kpi in watched.watched
        ]

    def promotable(self, plan: Plan, policy: UpgradePolicy) -> tuple[bool, str]:
        """Tell whether the soaking batch may pass, and why or why not."""
        watched = self._watched(plan, policy)
        return promotable(
            [watched.states.get(guard.key, GuardState()) for guard in watched.guards],
            [guard.guardrail for guard in watched.guards],
        )

    def ruling_of(self, plan: Plan, key: str) -> Ruling | None:
        """Return the newest ruling of a guardrail."""
        return Ruling.objects.filter(plan=plan, guardrail=key).order_by("-pk").first()

    # Looks.

    def _watched(self, plan: Plan, policy: UpgradePolicy) -> _Watched:
        watched = self._plans.get(plan.pk)
        if watched is None or watched.revision != plan.revision:
            watched = self._recalled(plan, policy)
            self._plans[plan.pk] = watched
        return watched

    def _recalled(self, plan: Plan, policy: UpgradePolicy) -> _Watched:
        """Build what is known of a plan from the database: a restart goes on where it stood."""
        known = dictionary()
        guards = []
        for guardrail in policy.guardrails:
            definition = known.kpi(guardrail.kpi)
            if definition is not None:
                resolved = resolve_guardrail(guardrail, definition)
                guards.append(_Guard(guardrail_key(guardrail), resolved, definition))
        charted = {panel.kpi for _title, panels in known.dashboards for panel in panels}
        names = {*policy.watched_kpis, *charted}
        watched = _Watched(
            plan_id=plan.pk,
            revision=plan.revision,
            guards=guards,
            kpis=tuple(sorted(name for name in names if known.mappings_for(name))),
            watched=policy.watched_kpis,
            next_look=plan.created_at,
            look_seconds=policy.limits.look_seconds,
        )
        for row in GuardrailState.objects.filter(plan=plan):
            watched.states[row.key] = GuardState.from_json(row.state)
        longest = max((g.guardrail.window_seconds for g in guards), default=60.0)
        for kpi in watched.kpis:
            self._recall_looks(watched, kpi, longest)
        return watched

    @staticmethod
    def _recall_looks(watched: _Watched, kpi: str, longest: float) -> None:
        rows = KpiSample.objects.filter(plan_id=watched.plan_id, kpi=kpi).order_by("-at")
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
            since = (
                rows.filter(ok=False, at__gt=last_good.at) if last_good else rows.filter(ok=False)
            )
            first = since.order_by("at").first()
            if first is not None:
                watched.missing_since[kpi] = first.at
                watched.missing_words[kpi] = newest.cause

    def look_when_due(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> None:
        """Ask the sources for every Kpi of the plan when its next look is due."""
        if str(plan.state) not in LOOKED_AT:
            return
        watched = self._watched(plan, policy)
        if now < watched.next_look:
            return
        watched.next_look = now + timedelta(seconds=policy.limits.look_seconds)
        known = dictionary()
        asked: dict[str, dict[str, KpiMapping]] = defaultdict(dict)
        for kpi in watched.kpis:
            mapping = self._mapping(plan, watched, kpi)
            asked[mapping.source][kpi] = mapping
        for source, mappings in asked.items():
            watched.waiting[source] = mappings
            # Plans that come due while the source is being read share the next read.
            if not self._reader.is_reading(source):
                self._reader.read(known.sources[source], self._selectors(source))

    def _selectors(self, source: str) -> list[Selector]:
        """Return what all waiting plans want of a source, each selector once."""
        wanted: dict[Selector, None] = {}
        for watched in self._plans.values():
            for mapping in watched.waiting.get(source, {}).values():
                wanted.update(dict.fromkeys(mapping.selectors))
        return list(wanted)

    @staticmethod
    def _mapping(plan: Plan, watched: _Watched, kpi: str) -> KpiMapping:
        """Return the mapping that the plan keeps, or the candidate that is tried now."""
        mappings = dictionary().mappings_for(kpi)
        bound = plan.metric_bindings.get(kpi)
        for mapping in mappings:
            if mapping.source == bound:
                return mapping
        return mappings[watched.candidates.get(kpi, 0) % len(mappings)]

    # Answers.

    def ingest_finished(self, now: datetime) -> None:
        """Take in what the sources answered since the last tick."""
        for answer in self._reader.finished():
            for plan_id in list(self._plans):
                watched = self._plans[plan_id]
                mappings = watched.waiting.pop(answer.source, None)
                if mappings is not None and not self._ingest(watched, mappings, answer, now):
                    del self._plans[plan_id]

    def _ingest(
        self,
        watched: _Watched,
        mappings: dict[str, KpiMapping],
        answer: SourceAnswer,
        now: datetime,
    ) -> bool:
        """Keep and judge one answer for one plan; False when the plan is not looked at any more."""
        with transaction.atomic():
            plan = Plan.objects.select_related("release").get(pk=watched.plan_id)
            if str(plan.state) not in LOOKED_AT:
                return False
            upgrades = list(
                TenantUpgrade.objects.filter(plan=plan).values_list(
                    "tenant_key", "state", "upgraded_at"
                )
            )
            upgraded = {key: at for key, state, at in upgrades if state == "upgraded" and at}
            control = [key for key, _state, _at in upgrades if key not in upgraded]
            for kpi, mapping in mappings.items():
                if not self._covered(mapping, answer):
                    # This plan came due after the read had begun; its turn comes with the next.
                    continue
                look = self._take(plan, watched, kpi, mapping, answer, upgraded, control)
                self._remember(watched, kpi, look)
            if str(plan.state) != "rolling_back":
                self._judge(plan, watched, set(mappings), len(upgraded), now)
        return True

    @staticmethod
    def _covered(mapping: KpiMapping, answer: SourceAnswer) -> bool:
        return answer.series is None or all(s in answer.series for s in mapping.selectors)

    def _take(
        self,
        plan: Plan,
        watched: _Watched,
        kpi: str,
        mapping: KpiMapping,
        answer: SourceAnswer,
        upgraded: dict[str, datetime],
        control: Sequence[str],
    ) -> LookSample:
        definition = dictionary().kpi(kpi)
        if definition is None:
            raise KeyError(kpi)
        cursor = KpiCursor.objects.filter(plan=plan, kpi=kpi, source=answer.source).first()
        if answer.series is None:
            unavailable = answer.unavailable
            look = failed_look(
                kpi=kpi,
                source=answer.source,
                at=answer.at,
                cause=unavailable.cause if unavailable else "source_down",
                sentence=unavailable.sentence if unavailable else "",
            )
        else:
            look, after = take_look(
                mapping=mapping,
                definition=definition,
                answers={s: answer.series[s] for s in mapping.selectors},
                at=answer.at,
                upgraded=upgraded,
                control=control,
                target_version=plan.release.version,
                cursor=cursor.cursor if cursor is not None else {},
                max_age_seconds=max_age(watched.look_seconds),
            )
            KpiCursor.objects.update_or_create(
                plan=plan,
                kpi=kpi,
                defaults={"source": answer.source, "at": answer.at, "cursor": after},
            )
        self._bind(plan, watched, kpi, mapping, look)
        missing = _is_missing(look)
        KpiSample.objects.create(
            plan=plan,
            kpi=kpi,
            at=look.at,
            source=look.source,
            ok=not missing,
            cause=(look.sentence or look.cause)[:300] if missing else "",
            look=look.to_json(),
        )
        return look

    @staticmethod
    def _bind(
        plan: Plan, watched: _Watched, kpi: str, mapping: KpiMapping, look: LookSample
    ) -> None:
        """Keep the first mapping whose source answers; try the next one when it does not."""
        if kpi in plan.metric_bindings:
            return
        if look.ok and (look.canary or look.control or "first_reading" in look.causes):
            plan.metric_bindings = {**plan.metric_bindings, kpi: mapping.source}
            Plan.objects.filter(pk=plan.pk).update(metric_bindings=plan.metric_bindings)
        elif not look.ok:
            watched.candidates[kpi] = watched.candidates.get(kpi, 0) + 1

    def _remember(self, watched: _Watched, kpi: str, look: LookSample) -> None:
        looks = watched.looks.setdefault(kpi, deque())
        looks.append(look)
        longest = max((g.guardrail.window_seconds for g in watched.guards), default=60.0)
        while looks and look.at - looks[0].at > timedelta(seconds=longest):
            looks.popleft()
        if _is_missing(look):
            watched.missing_since.setdefault(kpi, look.at)
            watched.missing_words[kpi] = look.sentence or look.cause
        else:
            watched.missing_since.pop(kpi, None)

    # Rulings.

    def _judge(
        self, plan: Plan, watched: _Watched, kpis: set[str], canary: int, now: datetime
    ) -> None:
        batch = (
            Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
            .order_by("-number")
            .first()
        )
        soak_started = batch.calls_done_at if batch is not None else None
        for guard in watched.guards:
            if guard.definition.name not in kpis:
                continue
            measurement = measure(
                guard.guardrail,
                guard.definition,
                list(watched.looks.get(guard.definition.name, ())),
                canary=canary,
                now=now,
                max_age_seconds=max_age(watched.look_seconds),
            )
            before = watched.states.get(guard.key, GuardState())
            state, ruling = judge(
                before, measurement, guard.guardrail, now=now, soak_started=soak_started
            )
            # The policy's own wording names the guardrail, whatever unit the Kpi is kept in.
            self._keep(plan, batch, guard, before, state, ruling, watched, now)

    def _keep(
        self,
        plan: Plan,
        batch: Batch | None,
        guard: _Guard,
        before: GuardState,
        state: GuardState,
        ruling: GuardrailRuling,
        watched: _Watched,
        now: datetime,
    ) -> None:
        known = watched.rulings.get(guard.key)
        first = known is None and not Ruling.objects.filter(plan=plan, guardrail=guard.key).exists()
        watched.states[guard.key] = state
        watched.rulings[guard.key] = _named(ruling, guard.key)
        GuardrailState.objects.update_or_create(
            plan=plan,
            key=guard.key,
            defaults={
                "kpi": guard.definition.name,
                "verdict": ruling.verdict,
                "sentence": ruling.sentence,
                "value": ruling.value,
                "state": state.to_json(),
                "updated_at": now,
            },
        )
        changed = ruling.verdict != before.verdict or (
            known is not None and known.cause != ruling.cause
        )
        if not (changed or first):
            return
        Ruling.objects.create(
            plan=plan,
            batch=batch,
            guardrail=guard.key,
            kpi=guard.definition.name,
            verdict=ruling.verdict,
            action=ruling.action,
            sentence=ruling.sentence,
            value=ruling.value,
            threshold=ruling.threshold,
            unit=ruling.unit,
            n=ruling.n,
            window_seconds=ruling.window_seconds,
            tenants=ruling.tenants,
            worst_tenant=ruling.worst[0] if ruling.worst else "",
            worst_value=ruling.worst[1] if ruling.worst else None,
            inputs_digest=_inputs_digest(watched.looks.get(guard.definition.name, ())),
            at=now,
        )
        events.record(
            stream=plan,
            kind=f"ruling_{ruling.verdict}",
            sentence=f"{ruling.sentence}.",
            actor=None,
            via="watch",
            now=now,
            payload={
                "guardrail": guard.key,
                "verdict": ruling.verdict,
                "value": ruling.value,
                "threshold": ruling.threshold,
                "unit": ruling.unit,
                "n": ruling.n,
            },
        )


def _named(ruling: GuardrailRuling, key: str) -> GuardrailRuling:
    return replace(ruling, guardrail=key)


def _is_missing(look: LookSample) -> bool:
    """Tell whether the look brought nothing although there was something to see."""
    return not look.ok or (look.lost > 0 and not look.canary)


def _inputs_digest(looks: Sequence[LookSample] | deque[LookSample]) -> str:
    """Return the digest of the looks on which a ruling stands."""
    return hashlib.sha256(rfc8785.dumps([look.to_json() for look in looks])).hexdigest()

"""Look at the Kpis of live plans, judge them, keep samples and rulings.

Reads happen beside the watch (source_reader); what came back is taken in at the next tick, plan by
plan, each in one transaction.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from batches import surroundings
from batches.canonical_json import canonical_json
from batches.configured import dictionary
from batches.decide import BreachFacts, MissingFacts
from batches.dictionary import KpiMapping
from batches.increments import LookSample, failed_look, max_age, oldest_reading, take_look
from batches.leases import LeaseLost
from batches.metric_sources import MetricUnavailable, Selector
from batches.models import (
    Batch,
    GuardrailState,
    KpiCursor,
    KpiSample,
    Ruling,
    TenantUpgrade,
)
from batches.recall import Guard, Watched, is_missing, recalled
from batches.source_reader import Build, SourceAnswer, SourceReader
from batches.source_states import SourceStates
from batches.verdict import (
    GuardrailRuling,
    GuardState,
    judge,
    measure,
    promotable,
)
from batches.watch_duties import Fence
from plans import events
from plans.commit_notice import notify
from plans.drafting import current_revision, policy_of
from plans.models import Plan
from plans.policy import UpgradePolicy

INGEST_SECONDS = 0.3
"""How long one tick takes answers in before it goes on to decide."""
LOOKED_AT = ("running", "paused", "rolling_back")


class Observer:
    """The watch's eyes."""

    def __init__(
        self, *, on_answer: Callable[[], None] = lambda: None, build: Build | None = None
    ) -> None:
        self._reader = SourceReader(on_answer=on_answer, build=build)
        self._states = SourceStates()
        self._on_answer = on_answer
        self._plans: dict[Any, Watched] = {}
        self._unread: dict[tuple[Any, str], tuple[dict[str, KpiMapping], SourceAnswer]] = {}

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader.stop()

    def clock_was_moved(self, seconds: float) -> None:
        """Go on looking when due although the wall clock was moved."""
        by = timedelta(seconds=seconds)
        for watched in self._plans.values():
            watched.move(by)
        if seconds < 0:
            # Counters read before would seem to be newer than all that is read now.
            KpiCursor.objects.filter(plan__in=list(self._plans)).delete()

    # What the decisions ask.

    def breaches(self, plan: Plan, policy: UpgradePolicy) -> list[BreachFacts]:
        """Return the guardrails that are broken now and want something done."""
        watched = self._watched(plan, policy)
        return [
            BreachFacts(ruling.guardrail, ruling.kpi, ruling.action, ruling.sentence)
            for ruling in watched.rulings.values()
            if ruling.verdict == "breached" and ruling.action in {"rollback", "pause", "warn"}
        ]

    def missing(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> list[MissingFacts]:
        """Return the watched Kpis whose data is missing, and since when."""
        watched = self._watched(plan, policy)
        return [
            MissingFacts(kpi, since, f"{kpi} has had no data since {since:%H:%M:%S} UTC ({why})")
            for kpi, (since, why) in sorted(watched.missing(now).items())
        ]

    def promotable(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> tuple[bool, str]:
        """Tell whether the soaking batch may pass, and why or why not."""
        watched = self._watched(plan, policy)
        unseen = [*watched.unusable.values(), *watched.stale(now)]
        if unseen:
            return False, "; ".join(unseen)
        return promotable(
            [watched.states.get(guard.key, GuardState()) for guard in watched.guards],
            [guard.guardrail for guard in watched.guards],
        )

    def ruling_of(self, plan: Plan, key: str) -> Ruling | None:
        """Return the newest ruling of a guardrail."""
        return Ruling.objects.filter(plan=plan, guardrail=key).order_by("-pk").first()

    # Looks.

    def _watched(self, plan: Plan, policy: UpgradePolicy) -> Watched:
        known = dictionary()
        rolling_back = str(plan.state) == "rolling_back"
        watched = self._plans.get(plan.pk)
        if (
            watched is None
            or watched.revision != plan.revision
            or watched.known is not known
            or (watched.rolling_back and not rolling_back)
        ):
            before, watched = watched, recalled(plan, policy, known)
            if before is not None and before.revision != plan.revision:
                # Whoever adjusts a plan must not start the clock of missing data anew.
                watched.carry_on(before)
            self._plans[plan.pk] = watched
        watched.rolling_back = rolling_back
        return watched

    def look_when_due(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> None:
        """Ask the sources for every Kpi of the plan when its next look is due."""
        if str(plan.state) not in LOOKED_AT:
            return
        watched = self._watched(plan, policy)
        if now < watched.next_look:
            return
        watched.began_at = watched.began_at or now
        watched.next_look = now + timedelta(seconds=policy.limits.look_seconds)
        asked: dict[str, dict[str, KpiMapping]] = defaultdict(dict)
        for kpi in watched.kpis:
            mapping = self._mapping(plan, watched, kpi)
            asked[mapping.source][kpi] = mapping
            watched.unanswered_since.setdefault(kpi, now)
        for source, mappings in asked.items():
            watched.waiting[source] = mappings
            # Plans that come due while the source is being read share the next read.
            if not self._reader.is_reading(source):
                self._reader.read(watched.known.sources[source], self._selectors(source))

    def _selectors(self, source: str) -> list[Selector]:
        """Return what all waiting plans want of a source, each selector once."""
        wanted: dict[Selector, None] = {}
        for watched in self._plans.values():
            for mapping in watched.waiting.get(source, {}).values():
                wanted.update(dict.fromkeys(mapping.selectors))
        return list(wanted)

    @staticmethod
    def _mapping(plan: Plan, watched: Watched, kpi: str) -> KpiMapping:
        """Return the mapping that the plan keeps, or the candidate that is tried now."""
        mappings = dictionary().mappings_for(kpi)
        bound = plan.metric_bindings.get(kpi)
        for mapping in mappings:
            if mapping.source == bound:
                return mapping
        return mappings[watched.candidates.get(kpi, 0) % len(mappings)]

    # Answers.

    def forget(self, plan_id: Any) -> None:
        """Forget what is known of a plan, or of all (None): somebody else may have looked since."""
        if plan_id is None:
            self._plans.clear()
        else:
            self._plans.pop(plan_id, None)

    def ingest_finished(self, now: datetime, *, fence: Fence) -> None:
        """Take in what the sources answered, each plan within its fence, for as long as a tick may.

        What is left comes first at the next tick, which follows at once: a look at very many
        tenants must not keep rollbacks and deadlines of other plans waiting.
        """
        answers = self._reader.finished()
        for answer in answers:
            for plan_id, watched in self._plans.items():
                mappings = watched.waiting.pop(answer.source, None)
                if mappings is not None:
                    # An older answer that nobody had time for is dropped: this one says it all.
                    older = self._unread.pop((plan_id, answer.source), ({}, answer))[0]
                    self._unread[plan_id, answer.source] = (older | mappings, answer)
        until = surroundings.here().monotonic() + INGEST_SECONDS
        while self._unread and surroundings.here().monotonic() < until:
            plan_id, source = next(iter(self._unread))
            mappings, answer = self._unread.pop((plan_id, source))
            if self._ingest_fenced(plan_id, mappings, answer, now, until, fence) and mappings:
                self._unread = {(plan_id, source): (mappings, answer), **self._unread}
        self._states.note(answers, now)
        if self._unread:
            self._on_answer()

    def _ingest_fenced(
        self,
        plan_id: Any,
        mappings: dict[str, KpiMapping],
        answer: SourceAnswer,
        now: datetime,
        until: float,
        fence: Fence,
    ) -> bool:
        """Take one answer in for one plan, if this watch still decides about it."""
        watched = self._plans.get(plan_id)
        if watched is None:
            return False
        goes_on = False
        try:
            with fence(plan_id):
                seen = _unseen(answer) if watched.blind else answer
                goes_on = self._ingest(watched, mappings, seen, now, until)
        except LeaseLost:
            goes_on = False
        finally:
            # What is known runs ahead of what was written; next time it is read again.
            if not goes_on:
                self._plans.pop(plan_id, None)
        return goes_on

    def _ingest(
        self,
        watched: Watched,
        mappings: dict[str, KpiMapping],
        answer: SourceAnswer,
        now: datetime,
        until: float,
    ) -> bool:
        """Keep and judge one answer for one plan; False when the plan is not looked at any more.

        Kpis are taken out of `mappings`; those for which there was no time until `until` stay.
        """
        plan = Plan.objects.select_related("release").get(pk=watched.plan_id)
        if str(plan.state) not in LOOKED_AT:
            return False
        if plan.revision != watched.revision:
            # Adjusted since the sources were asked: this very look is judged by the new rules.
            watched = self._watched(plan, policy_of(current_revision(plan)))
        upgrades = list(
            TenantUpgrade.objects.filter(plan=plan).values_list(
                "tenant_key", "state", "upgraded_at"
            )
        )
        # Nobody was upgraded later than now: such a moment is of a clock that was moved since.
        upgraded = {
            key: min(at, answer.at) for key, state, at in upgrades if state == "upgraded" and at
        }
        control = [key for key, _state, _at in upgrades if key not in upgraded]
        done: set[str] = set()
        while mappings and (not done or surroundings.here().monotonic() < until):
            kpi = next(iter(mappings))
            mapping = mappings.pop(kpi)
            done.add(kpi)
            if not self._covered(mapping, answer):
                # This plan came due after the read had begun; its turn comes with the next.
                continue
            if dictionary().kpi(kpi) is None:
                # The dictionary was changed while the source was read.
                continue
            look = self._take(plan, watched, kpi, mapping, answer, upgraded, control)
            self._remember(watched, kpi, look)
        if str(plan.state) != "rolling_back":
            self._judge(plan, watched, done, len(upgraded), now)
        notify()
        return True

    @staticmethod
    def _covered(mapping: KpiMapping, answer: SourceAnswer) -> bool:
        return answer.series is None or all(s in answer.series for s in mapping.selectors)

    def _take(
        self,
        plan: Plan,
        watched: Watched,
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
                max_age_seconds=oldest_reading(
                    watched.look_seconds, watched.known.sources.get(answer.source)
                ),
            )
            KpiCursor.objects.update_or_create(
                plan=plan,
                kpi=kpi,
                defaults={"source": answer.source, "at": answer.at, "cursor": after},
            )
        self._bind(plan, watched, kpi, mapping, look)
        missing = is_missing(look)
        KpiSample.objects.create(
            plan=plan,
            kpi=kpi,
            at=look.at,
            source=look.source,
            ok=not missing,
            cause=(look.sentence or look.cause)[:300] if missing else "",
            look=look.to_json(),
            asked=mapping.asked,
        )
        return look

    @staticmethod
    def _bind(
        plan: Plan, watched: Watched, kpi: str, mapping: KpiMapping, look: LookSample
    ) -> None:
        """Keep the first mapping whose source answers; try the next one when it does not."""
        if kpi in plan.metric_bindings:
            return
        if look.ok and (look.canary or look.control or "first_reading" in look.causes):
            plan.metric_bindings = {**plan.metric_bindings, kpi: mapping.source}
            Plan.objects.filter(pk=plan.pk).update(metric_bindings=plan.metric_bindings)
        elif not look.ok:
            watched.candidates[kpi] = watched.candidates.get(kpi, 0) + 1

    def _remember(self, watched: Watched, kpi: str, look: LookSample) -> None:
        watched.unanswered_since.pop(kpi, None)
        looks = watched.looks.setdefault(kpi, deque())
        looks.append(look)
        longest = max((g.guardrail.window_seconds for g in watched.guards), default=60.0)
        while looks and look.at - looks[0].at > timedelta(seconds=longest):
            looks.popleft()
        if is_missing(look):
            watched.missing_since.setdefault(kpi, look.at)
            watched.missing_words[kpi] = look.sentence or look.cause
        else:
            watched.missing_since.pop(kpi, None)

    # Rulings.

    def _judge(
        self, plan: Plan, watched: Watched, kpis: set[str], canary: int, now: datetime
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
        guard: Guard,
        before: GuardState,
        state: GuardState,
        ruling: GuardrailRuling,
        watched: Watched,
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
            revision=watched.revision,
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


def _unseen(answer: SourceAnswer) -> SourceAnswer:
    """Return the answer as a rehearsal of missing data sees it."""
    gone = MetricUnavailable("source_down", "left out on purpose by the drill")
    return replace(answer, series=None, unavailable=gone)


def _named(ruling: GuardrailRuling, key: str) -> GuardrailRuling:
    return replace(ruling, guardrail=key)


def _inputs_digest(looks: Sequence[LookSample] | deque[LookSample]) -> str:
    """Return the digest of the looks on which a ruling stands."""
    return hashlib.sha256(canonical_json([look.to_json() for look in looks])).hexdigest()

"""Look at the Kpis of live plans, judge them, keep samples and rulings.

Reads happen beside the watch (source_reader); what came back is taken in at the next tick, plan by
plan, each in one transaction.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batches.configured import dictionary
from batches.decisions.decision_facts import BreachFacts, MissingFacts
from batches.evidence import watching
from batches.guardrails.measured_words import shown
from batches.guardrails.rulings import judge_looks
from batches.guardrails.verdict import GuardrailRuling, GuardState, promotable
from batches.kpis.dictionary import KpiMapping
from batches.looks.recall import Watched, recalled
from batches.looks.taking_looks import remember, take, tenants_now, unseen
from batches.models import Batch, KpiCursor, Ruling
from batches.runtime import surroundings
from batches.runtime.leases import LeaseLost
from batches.runtime.watch_duties import Fence
from batches.sources.asking import AskingSources, covers
from batches.sources.reader import Build, SourceAnswer
from batches.sources.states import SourceStates
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.trail.commit_notice import notify

INGEST_SECONDS = 0.3
"""How long one tick takes answers in before it goes on to decide."""
LOOKED_AT = ("running", "paused", "rolling_back")


@dataclass(frozen=True, slots=True)
class BadTenant:
    """One tenant that is far over a guardrail's limit by itself."""

    guardrail: str
    kpi: str
    tenant: str
    value: float | None
    threshold: float
    unit: str

    @property
    def sentence(self) -> str:
        """Return it in words."""
        measured = "" if self.value is None else f" {shown(self.value, self.unit)}"
        return (
            f"{self.kpi}{measured} in {self.tenant} alone, far over its limit of"
            f" {shown(self.threshold, self.unit)}"
        )


class Observer:
    """The watch's eyes."""

    def __init__(
        self, *, on_answer: Callable[[], None] = lambda: None, build: Build | None = None
    ) -> None:
        self._asking = AskingSources(on_answer=on_answer, build=build)
        self._states = SourceStates()
        self._on_answer = on_answer
        self._plans: dict[Any, Watched] = {}
        self._unread: dict[tuple[Any, str], tuple[dict[str, KpiMapping], SourceAnswer]] = {}

    def start(self) -> None:
        """Begin to read."""
        self._asking.start()

    def stop(self) -> None:
        """Stop reading."""
        self._asking.stop()

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
        scopes = {guard.key: guard.guardrail.scope for guard in watched.guards}
        return [
            BreachFacts(
                ruling.guardrail,
                ruling.kpi,
                ruling.action,
                ruling.sentence,
                scope=scopes[ruling.guardrail],
                tenants=tuple(sorted(ruling.breached_by)),
            )
            for ruling in watched.rulings.values()
            if ruling.verdict == "breached" and ruling.action in {"rollback", "pause", "warn"}
        ]

    def bad_tenants(self, plan: Plan, policy: UpgradePolicy) -> list[BadTenant]:
        """Return tenants that are far over a limit which all together keep, the worst first."""
        watched = self._watched(plan, policy)
        shown_only = {guard.key for guard in watched.guards if guard.guardrail.dry_run}
        return [
            tenant
            for key, ruling in watched.rulings.items()
            if key not in shown_only
            for tenant in _bad_tenants(ruling)
        ]

    def unjudged(self, plan: Plan, policy: UpgradePolicy) -> frozenset[str]:
        """Return the guardrails of which it is not known yet how they stand now.

        After a start of the watch that is each of them until its first look: nothing that was said
        of one may fall silent before.
        """
        watched = self._watched(plan, policy)
        return frozenset(guard.key for guard in watched.guards) - watched.rulings.keys()

    def missing(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> list[MissingFacts]:
        """Return the watched Kpis whose data is missing, and since when."""
        watched = self._watched(plan, policy)
        return [
            MissingFacts(kpi, since, f"{kpi} has had no data since {since:%H:%M:%S} UTC ({why})")
            for kpi, (since, why) in sorted(watched.missing(now).items())
        ]

    def all_seen_at(self, plan: Plan, policy: UpgradePolicy) -> datetime | None:
        """Return the moment by which every watched Kpi had data again; None while one has none."""
        return self._watched(plan, policy).all_seen_at()

    def promotable(self, plan: Plan, policy: UpgradePolicy, now: datetime) -> tuple[bool, str]:
        """Tell whether the soaking batch may pass, and why or why not."""
        watched = self._watched(plan, policy)
        unseen = [*watched.unusable.values(), *watched.stale(now)]
        if unseen:
            return False, "; ".join(unseen)
        rules = [guard.guardrail for guard in watched.guards]
        compares = any(rule.against == "control" for rule in rules)
        return promotable(
            [watched.states.get(guard.key, GuardState()) for guard in watched.guards],
            rules,
            last=compares and _holds_back(plan),
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
        if str(plan.state) in LOOKED_AT:
            watched = self._watched(plan, policy)
            self._asking.look_when_due(plan, watched, self._plans.values(), now)

    # Answers.

    def forget(self, plan_id: Any) -> None:
        """Forget what is known of a plan, or of all (None): somebody else may have looked since."""
        if plan_id is None:
            self._plans.clear()
        else:
            self._plans.pop(plan_id, None)

    def keep_only(self, plans: Collection[Any]) -> None:
        """Forget the plans that are not among these: they have ended."""
        for plan_id in self._plans.keys() - set(plans):
            del self._plans[plan_id]
        for plan_id, source in list(self._unread):
            if plan_id not in self._plans:
                del self._unread[plan_id, source]

    def ingest_finished(self, now: datetime, *, fence: Fence) -> None:
        """Take in what the sources answered, each plan within its fence, for as long as a tick may.

        What is left comes first at the next tick, which follows at once: a look at very many
        tenants must not keep rollbacks and deadlines of other plans waiting.
        """
        answers = self._asking.finished()
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
                seen = unseen(answer) if watched.blind else answer
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
        tenants = tenants_now(plan, answer.at)
        done: set[str] = set()
        while mappings and (not done or surroundings.here().monotonic() < until):
            kpi = next(iter(mappings))
            mapping = mappings.pop(kpi)
            done.add(kpi)
            if not covers(answer, mapping):
                # This plan came due after the read had begun; its turn comes with the next.
                continue
            if dictionary().kpi(kpi) is None:
                # The dictionary was changed while the source was read.
                continue
            look = take(plan, watched, kpi, mapping, answer, tenants)
            remember(watched, kpi, look)
        if str(plan.state) != "rolling_back":
            known = watching.kept_of(plan, watched)
            judge_looks(plan, watched, done, tenants, now, anew=known.over)
            watching.take_in(
                plan,
                watched,
                done,
                known,
                canary=len(tenants.upgraded),
                control=len(tenants.control),
                now=now,
            )
        notify()
        return True


def _holds_back(plan: Plan) -> bool:
    """Tell whether the batch under way is the hold-back: nobody comes after it."""
    return Batch.objects.filter(plan=plan, state="soaking", hold_back=True).exists()


def _bad_tenants(ruling: GuardrailRuling) -> list[BadTenant]:
    def how_far(pair: tuple[str, float | None]) -> tuple[float, str]:
        tenant, value = pair
        return (-abs(value - ruling.threshold) if value is not None else 0.0), tenant

    return [
        BadTenant(
            guardrail=ruling.guardrail,
            kpi=ruling.kpi,
            tenant=tenant,
            value=value,
            threshold=ruling.threshold,
            unit=ruling.unit,
        )
        for tenant, value in sorted(ruling.stands_out.items(), key=how_far)
    ]

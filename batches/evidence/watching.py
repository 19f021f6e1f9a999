"""Take each look into the evidence test of its plan, and say to the watch what follows from it.

What is written stands in the transaction and under the fence of the look itself; a look counts
once, whoever takes it in.
"""

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from batches.canonical_json import canonical_json
from batches.decisions.decision_facts import BreachFacts
from batches.decisions.plan_rows import PlanRows, rows_of, taken_back_at
from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import PlanEvidence
from batches.evidence.rules import EvidenceTest
from batches.evidence.ruling import KEY, surroundings_of
from batches.evidence.steps import (
    AtHand,
    Standing,
    Step,
    is_over,
    numbers_of,
    take_step,
)
from batches.evidence.tenant_history import usual_of
from batches.looks.recall import Watched
from batches.models import Batch, EvidenceLook, EvidenceState, Ruling
from plans.models import Event, Plan
from plans.policies.policy import UpgradePolicy
from plans.trail import events

BY_HAND: Final = ("plan_resumed", "hold_released")
"""Whoever does this after the evidence had reached 100 % takes it on: the test begins anew."""
REACHED: Final = 100.0
INCIDENT: Final = "fleet_incident"
INCONCLUSIVE: Final = "evidence_inconclusive"


@dataclass(frozen=True, slots=True)
class EvidenceFacts:
    """What the decisions ask of the evidence; without a test nothing of it keeps anything."""

    breaches: tuple[BreachFacts, ...] = ()
    incident: str = ""
    inconclusive: str = ""
    may_pass: bool = True
    sentence: str = ""

    def and_then(self, promotable: tuple[bool, str]) -> tuple[bool, str]:
        """Return whether the batch may pass by the guardrails and by the evidence."""
        if not promotable[0] or not self.sentence:
            return promotable
        return (True, promotable[1]) if self.may_pass else (False, self.sentence)


# Looks.


@dataclass(frozen=True, slots=True)
class Kept:
    """The row of a plan's test, if it has one, and whether what it had tested is over."""

    row: EvidenceState | None = None
    over: bool = False

    @property
    def standing(self) -> Standing | None:
        """Return where the test stands; None where it begins."""
        row = self.row
        if row is None:
            return None
        return Standing(
            state=PlanEvidence.from_json(row.state),
            verdict=row.verdict,
            cause=row.cause,
            sentence=row.sentence,
            began_at=row.began_at,
            reached_at=row.reached_at,
        )


def kept_of(plan: Plan, watched: Watched) -> Kept:
    """Return what is kept of the plan's test; nothing where its policy has none."""
    if watched.evidence is None:
        return Kept()
    row = EvidenceState.objects.filter(plan=plan).first()
    if row is None:
        return Kept()
    return Kept(row, _is_over(plan, row, taken_back_at([plan.pk]).get(plan.pk)))


def take_in(
    plan: Plan,
    watched: Watched,
    kpis: Collection[str],
    known: Kept,
    *,
    canary: int,
    control: int,
    now: datetime,
) -> None:
    """Take the newest look at each of these Kpis into the test of the plan, if it has one.

    `known` is what `kept_of` has returned in this transaction.
    """
    test = watched.evidence
    if test is None:
        return
    batch = (
        Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        .order_by("-number")
        .first()
    )
    around = surroundings_of(test, usuals(plan, test, now), canary=canary, control=control)
    hand = AtHand(
        kpis=kpis,
        looks=watched.looks,
        around=around,
        now=now,
        soak_started=batch.calls_done_at if batch is not None else None,
        batch=batch.number if batch is not None else None,
    )
    step = take_step(known.standing, test, hand, anew=known.over)
    if step is None:
        return
    rows = (
        EvidenceLook(plan=plan, kpi=look.kpi, at=look.at, **asdict(numbers_of(test, look, state)))
        for look, state in step.taken
    )
    EvidenceLook.objects.bulk_create(rows, ignore_conflicts=True)
    row = _keep(plan, known.row, step, estimated=bool(around.usual), now=now)
    if step.changed:
        _say(plan, batch, watched, row, step, now=now)


def usuals(plan: Plan, test: EvidenceTest, now: datetime) -> dict[str, tuple[Usual, str]]:
    """Return per Kpi what was usual before the plan, and why it is too little where it is."""
    return {
        kpi: usual_of(plan, kpi, bound=tested.slow_above, now=now)
        for kpi, tested in test.kpis.items()
    }


def _keep(
    plan: Plan, row: EvidenceState | None, step: Step, *, estimated: bool, now: datetime
) -> EvidenceState:
    """Write where the test stands."""
    kept, standing, ruling = row or EvidenceState(plan=plan), step.standing, step.ruling
    kept.began_at, kept.reached_at = standing.began_at, standing.reached_at
    kept.state = standing.state.to_json()
    kept.percent = ruling.percent
    kept.verdict, kept.action, kept.cause = ruling.verdict, ruling.action, ruling.cause
    kept.kpi, kept.sentence, kept.may_pass = ruling.kpi, ruling.sentence, ruling.may_pass
    kept.estimated, kept.updated_at = estimated, now
    kept.save()
    return kept


def state_digest(state: PlanEvidence) -> str:
    """Return the digest of all that the test knew when it ruled."""
    return hashlib.sha256(canonical_json(state.to_json())).hexdigest()


def _say(
    plan: Plan,
    batch: Batch | None,
    watched: Watched,
    kept: EvidenceState,
    step: Step,
    *,
    now: datetime,
) -> None:
    """Add the ruling and its event: the verdict or its reason has changed."""
    Ruling.objects.create(
        plan=plan,
        batch=batch,
        guardrail=KEY,
        kpi=kept.kpi,
        verdict=kept.verdict,
        action=kept.action,
        sentence=step.sentence,
        value=kept.percent,
        threshold=REACHED,
        unit="%",
        n=step.requests,
        inputs_digest=state_digest(step.standing.state),
        revision=watched.revision,
        at=now,
    )
    events.record(
        stream=plan,
        kind=f"ruling_{kept.verdict}",
        sentence=f"{step.sentence}.",
        actor=None,
        via="watch",
        now=now,
        payload={
            "guardrail": KEY,
            "verdict": kept.verdict,
            "value": kept.percent,
            "threshold": REACHED,
            "unit": "%",
            "n": step.requests,
        },
    )


def _is_over(plan: Plan, row: EvidenceState, taken_back: datetime | None) -> bool:
    """Tell whether what was tested is over: taken back, or taken on by a person."""
    taken_on = None
    if row.reached_at is not None:
        acts = Event.objects.filter(stream__key=plan.stream_key, kind__in=BY_HAND)
        taken_on = acts.order_by("-at").values_list("at", flat=True).first()
    return is_over(row.began_at, row.reached_at, taken_back=taken_back, taken_on=taken_on)


# What the decisions ask.


def evidence_facts(
    plan: Plan, policy: UpgradePolicy, now: datetime, rows: PlanRows | None = None
) -> EvidenceFacts:
    """Return what follows from the evidence now; `rows`: what was read of the plan already."""
    if policy.evidence is None:
        return EvidenceFacts()
    rows = rows or rows_of(plan.pk, policy, now)
    row = rows.evidence
    if row is None or _is_over(plan, row, rows.taken_back_at):
        return _kept_back(rows, policy, "the evidence test has not looked yet", now)
    if row.verdict == "breached":
        breach = BreachFacts(KEY, row.kpi, row.action, row.sentence)
        return EvidenceFacts((breach,), may_pass=row.may_pass, sentence=row.sentence)
    if row.may_pass:
        return EvidenceFacts(sentence=row.sentence)
    incident = row.sentence if row.cause == INCIDENT else ""
    return replace(_kept_back(rows, policy, row.sentence, now), incident=incident)


def _kept_back(rows: PlanRows, policy: UpgradePolicy, why: str, now: datetime) -> EvidenceFacts:
    """Return that a batch may not pass, unless somebody let it although nothing was proven.

    A soak lasts `limits.hold_minutes` longer than planned at most; then a person decides.
    """
    live = rows.live
    if live is None or str(live.state) == "deploying" or live.calls_done_at is None:
        return EvidenceFacts(may_pass=False, sentence=why)
    if INCONCLUSIVE in live.acknowledged:
        return EvidenceFacts(sentence=f"a person let it pass although {why}")
    longest = timedelta(seconds=live.soak_seconds) + timedelta(minutes=policy.limits.hold_minutes)
    told = ""
    if now - live.calls_done_at > longest:
        told = f"the soak has ended without a verdict: {why}"
    return EvidenceFacts(may_pass=False, sentence=why, inconclusive=told)


def evidence_shown(plan: Plan, policy: UpgradePolicy) -> dict[str, Any] | None:
    """Return the evidence as pages and REST show it, None where the policy has no test."""
    rules = policy.evidence
    if rules is None:
        return None
    row = EvidenceState.objects.filter(plan=plan).first()
    told: dict[str, Any] = {
        "percent": 0.0,
        "verdict": "undecided",
        "sentence": f"Not judged yet. At 100 %: {rules.action}.",
        "kpi": "",
        "kpis": list(rules.kpis),
        "action": rules.action,
        "cause": "",
        "risk": rules.max_false_rollback_risk,
        "reached_at": None,
        "updated_at": None,
        "estimated": False,
    }
    if row is not None:
        told |= {
            "percent": round(row.percent, 1),
            "verdict": row.verdict,
            "sentence": row.sentence,
            "kpi": row.kpi,
            "cause": row.cause,
            "reached_at": row.reached_at,
            "updated_at": row.updated_at,
            "estimated": row.estimated,
        }
    return told

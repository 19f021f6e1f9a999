"""Take each look into the evidence test of its plan, and say to the watch what follows from it.

What is written stands in the transaction and under the fence of the look itself; a look counts
once, whoever takes it in.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from batches.canonical_json import canonical_json
from batches.decision_facts import BreachFacts
from batches.evidence import percent
from batches.evidence_calibration import Usual
from batches.evidence_history import usual_of
from batches.evidence_intervals import ratio_interval
from batches.evidence_rules import EvidenceTest
from batches.evidence_ruling import (
    KEY,
    EvidenceRuling,
    Surroundings,
    reached_sentence,
    recent,
    rule,
)
from batches.kpi_points import LookSample
from batches.models import Batch, EvidenceLook, EvidenceState, Rollback, Ruling
from batches.plan_evidence import PlanEvidence, Sums, counts_of, with_look
from batches.recall import Watched
from plans import events
from plans.models import Event, Plan
from plans.policy import UpgradePolicy

BY_HAND: Final = ("plan_resumed", "hold_released")
"""Whoever does this after the evidence had reached 100 % takes it on: the test begins anew."""
STARTED_ANEW: Final = ("plan", "batch")
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


def take_in(
    plan: Plan, watched: Watched, kpis: Collection[str], *, canary: int, control: int, now: datetime
) -> None:
    """Take the newest look at each of these Kpis into the test of the plan, if it has one."""
    test = watched.evidence
    if test is None:
        return
    row = EvidenceState.objects.filter(plan=plan).first()
    before = _standing(plan, row)
    state, anew = before or PlanEvidence(), row is not None and before is None
    batch = (
        Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        .order_by("-number")
        .first()
    )
    soak_started = batch.calls_done_at if batch is not None else None
    around = _around(plan, test, canary, control, now)
    taken: list[EvidenceLook] = []
    for kpi in test.kpis:
        looks = watched.looks.get(kpi)
        if kpi not in kpis or not looks:
            continue
        usual = around.usual.get(kpi, Usual())
        after = with_look(
            state,
            test,
            looks[-1],
            usual,
            soak_started=soak_started,
            batch=batch.number if batch is not None else state.band_batch,
        )
        if after is not state:
            state = after
            taken.append(_look_row(plan, test, looks[-1], state))
    if not taken:
        return
    EvidenceLook.objects.bulk_create(taken, ignore_conflicts=True)
    ruling = rule(state, test, around)
    known = None if anew else row
    if ruling.word == "rollback":
        ruling = _in_full(ruling, state, test, around, watched, known)
    changed = known is None or _told(known.verdict, known.cause) != _told(
        ruling.verdict, ruling.cause
    )
    kept = _keep(plan, row, known, state, ruling, estimated=bool(around.usual), now=now)
    if changed:
        _say(plan, batch, watched, kept, state, anew=anew, now=now)


def _told(verdict: str, cause: str) -> tuple[str, str]:
    """Return what makes a new ruling: what a soak still waits for alone does not."""
    return verdict, "" if verdict == "undecided" else cause


def _around(
    plan: Plan, test: EvidenceTest, canary: int, control: int, now: datetime
) -> Surroundings:
    known = {
        kpi: usual_of(plan, kpi, bound=tested.slow_above, now=now)
        for kpi, tested in test.kpis.items()
    }
    return Surroundings(
        canary=canary,
        control=control,
        usual={kpi: usual for kpi, (usual, _short) in known.items() if usual.estimated},
        short={kpi: short for kpi, (_usual, short) in known.items() if short},
    )


def _look_row(
    plan: Plan, test: EvidenceTest, look: LookSample, state: PlanEvidence
) -> EvidenceLook:
    counts, _usual = counts_of(look, test.kpis[look.kpi], Usual(), seconds=0)
    log_e = state.processes[look.kpi].log_e
    sums = state.band[look.kpi]
    band = ratio_interval(*sums, risk=test.risk)
    return EvidenceLook(
        plan=plan,
        kpi=look.kpi,
        at=look.at,
        log_e=log_e,
        percent=percent(log_e, test.risk),
        together=state.percent(test.risk),
        together_log_e=state.log_e,
        canary_errors=counts.canary_errors,
        canary_requests=counts.canary_requests,
        control_errors=counts.control_errors,
        control_requests=counts.control_requests,
        ratio=band.estimate,
        ratio_lower=band.lower,
        ratio_upper=band.upper,
        ratio_tolerated=_tolerated(test, sums),
    )


def _tolerated(test: EvidenceTest, sums: Sums) -> float | None:
    """Return the ratio that is tolerated at the control's own rate; None where it has no errors."""
    if sums.control_errors <= 0 or sums.control_requests <= 0:
        return None
    tolerance = test.tolerance
    return tolerance.ratio + tolerance.points * sums.control_requests / sums.control_errors


def _in_full(
    ruling: EvidenceRuling,
    state: PlanEvidence,
    test: EvidenceTest,
    around: Surroundings,
    watched: Watched,
    known: EvidenceState | None,
) -> EvidenceRuling:
    """Return the ruling with the whole sentence; why it was reached is said once and stays."""
    if known is not None and known.verdict == ruling.verdict:
        return replace(ruling, sentence=known.sentence)
    seen = recent(list(watched.looks.get(state.blame, ())), test.kpis[state.blame])
    return replace(ruling, sentence=reached_sentence(state, test, around, seen))


def _keep(
    plan: Plan,
    row: EvidenceState | None,
    known: EvidenceState | None,
    state: PlanEvidence,
    ruling: EvidenceRuling,
    *,
    estimated: bool,
    now: datetime,
) -> EvidenceState:
    """Write where the test stands; `known` is what it goes on from, None where it begins."""
    kept = row or EvidenceState(plan=plan)
    reached_before = None if known is None else known.reached_at
    kept.began_at = now if known is None else known.began_at
    kept.reached_at = None if state.reached_at is None else reached_before or now
    kept.state = state.to_json()
    kept.percent = ruling.percent
    kept.verdict, kept.action, kept.cause = ruling.verdict, ruling.action, ruling.cause
    kept.kpi, kept.sentence, kept.may_pass = ruling.kpi, ruling.sentence, ruling.may_pass
    kept.estimated, kept.updated_at = estimated, now
    kept.save()
    return kept


def _say(
    plan: Plan,
    batch: Batch | None,
    watched: Watched,
    kept: EvidenceState,
    state: PlanEvidence,
    *,
    anew: bool,
    now: datetime,
) -> None:
    """Add the ruling and its event: the verdict or its reason has changed."""
    sentence = f"the evidence test begins anew; {kept.sentence}" if anew else kept.sentence
    process = state.processes.get(kept.kpi)
    n = int(process.canary_requests) if process is not None else 0
    Ruling.objects.create(
        plan=plan,
        batch=batch,
        guardrail=KEY,
        kpi=kept.kpi,
        verdict=kept.verdict,
        action=kept.action,
        sentence=sentence,
        value=kept.percent,
        threshold=REACHED,
        unit="%",
        n=n,
        inputs_digest=hashlib.sha256(canonical_json(kept.state)).hexdigest(),
        revision=watched.revision,
        at=now,
    )
    events.record(
        stream=plan,
        kind=f"ruling_{kept.verdict}",
        sentence=f"{sentence}.",
        actor=None,
        via="watch",
        now=now,
        payload={
            "guardrail": KEY,
            "verdict": kept.verdict,
            "value": kept.percent,
            "threshold": REACHED,
            "unit": "%",
            "n": n,
        },
    )


def _standing(plan: Plan, row: EvidenceState | None) -> PlanEvidence | None:
    """Return the evidence that still holds; None where it begins, or begins anew."""
    if row is None or _is_over(plan, row):
        return None
    return PlanEvidence.from_json(row.state)


def _is_over(plan: Plan, row: EvidenceState) -> bool:
    """Tell whether what was tested is over: taken back, or taken on by a person."""
    last = (
        Rollback.objects.filter(plan=plan, scope__in=STARTED_ANEW)
        .order_by("-triggered_at")
        .values("triggered_at", "finished_at")
        .first()
    )
    if last is not None and (last["finished_at"] or last["triggered_at"]) > row.began_at:
        return True
    if row.reached_at is None:
        return False
    return Event.objects.filter(
        stream__key=plan.stream_key, kind__in=BY_HAND, at__gt=row.reached_at
    ).exists()


# What the decisions ask.


def evidence_facts(plan: Plan, policy: UpgradePolicy, now: datetime) -> EvidenceFacts:
    """Return what follows from the evidence now."""
    if policy.evidence is None:
        return EvidenceFacts()
    row = EvidenceState.objects.filter(plan=plan).first()
    if row is None or _is_over(plan, row):
        return _kept_back(plan, policy, "the evidence test has not looked yet", now)
    if row.verdict == "breached":
        breach = BreachFacts(KEY, row.kpi, row.action, row.sentence)
        return EvidenceFacts((breach,), may_pass=row.may_pass, sentence=row.sentence)
    if row.may_pass:
        return EvidenceFacts(sentence=row.sentence)
    incident = row.sentence if row.cause == INCIDENT else ""
    return replace(_kept_back(plan, policy, row.sentence, now), incident=incident)


def _kept_back(plan: Plan, policy: UpgradePolicy, why: str, now: datetime) -> EvidenceFacts:
    """Return that a batch may not pass, unless somebody let it although nothing was proven.

    A soak lasts `limits.hold_minutes` longer than planned at most; then a person decides.
    """
    live = Batch.objects.filter(plan=plan, state__in=("soaking", "held")).first()
    if live is None or live.calls_done_at is None:
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

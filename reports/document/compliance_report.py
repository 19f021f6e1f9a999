"""Put a compliance report together: facts in, sections out.

No clock, no database, no settings: the same facts give the same document.
"""

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from reports.document.adjustments import adjustments_section
from reports.document.blocks import (
    Cell,
    Document,
    Pairs,
    Section,
    Tone,
    Verdict,
    count,
    quantity,
    utc,
    words,
)
from reports.document.course import (
    batches_section,
    needs_hand_section,
    outcome_counts,
    tenant_annex,
)
from reports.document.facts import ReportFacts
from reports.document.grants import broken_sentence, grants_annex
from reports.document.intent import (
    people_section,
    plan_section,
    policy_annex,
    policy_section,
    separation,
)
from reports.document.metrics import metrics_section
from reports.document.proof import integrity_section, interventions_section, negatives_section
from reports.document.rollbacks import rollback_sentence, rollback_tone, rollbacks_section
from reports.document.rulings import rulings_section
from reports.document.set_aside import set_aside_section

OUTCOME_TONES: dict[str, Tone] = {
    "completed": "good",
    "stopped": "warn",
    "rolled_back": "warn",
    "needs_hand": "bad",
}


def report_json(facts: ReportFacts) -> str:
    """Return the facts as the JSON that is attached to the PDF."""
    return json.dumps(asdict(facts), default=_timestamp, ensure_ascii=False, sort_keys=True)


def compose(facts: ReportFacts, *, data_digest: str) -> Document:
    """Return the whole report; `data_digest` is the SHA-256 of report_json(facts)."""
    numbered = (
        plan_section(facts),
        people_section(facts),
        policy_section(facts),
        adjustments_section(facts),
        batches_section(facts),
        metrics_section(facts),
        rulings_section(facts),
        rollbacks_section(facts),
        set_aside_section(facts),
        needs_hand_section(facts),
        interventions_section(facts),
        negatives_section(facts),
        integrity_section(facts, data_digest=data_digest),
    )
    sections = tuple(
        Section(s.anchor, f"{number}. {s.title}", s.blocks, s.new_page)
        for number, s in enumerate(numbered, start=1)
    )
    release = facts.release
    versions = " and ".join(facts.from_versions) or "an unknown version"
    return Document(
        title=f"{release.plugin} {release.version}",
        subtitle=f"Upgrade from {versions} over {count(facts.planned_tenants, 'tenant')}",
        external_id=facts.external_id,
        plan_id=facts.plan_id,
        outcome=_outcome(facts),
        tone="bad" if _still_bad(facts) else OUTCOME_TONES.get(facts.state, "plain"),
        summary=summary(facts),
        verdicts=verdicts(facts),
        pairs=Pairs(
            (
                ("Plan", Cell(facts.external_id)),
                ("Plan number", Cell(facts.plan_id, mono=True)),
                ("Owner", Cell(str(facts.owner) or "none named")),
                ("Policy", Cell(f"{facts.policy_name}, sha256:{facts.policy_digest}", mono=True)),
                ("Started, ended", Cell(f"{utc(facts.started_at)} · {utc(facts.ended_at)}")),
                ("Data cut-off", Cell(utc(facts.cut_off))),
            )
        ),
        sections=(
            *sections,
            *filter(None, (policy_annex(facts), tenant_annex(facts), grants_annex(facts))),
        ),
        generator=facts.generator,
        cut_off=utc(facts.cut_off),
        data_digest=data_digest,
    )


def _still_bad(facts: ReportFacts) -> bool:
    return bool(facts.rollbacks) and facts.rollbacks[-1].aftermath == "still_bad"


def _outcome(facts: ReportFacts) -> str:
    """Name the ending; a rollback that cured nothing is one of its own."""
    return f"{words(facts.state)}, still bad" if _still_bad(facts) else words(facts.state)


def digest(report: str) -> str:
    """Return the SHA-256 of the attached JSON."""
    return hashlib.sha256(report.encode()).hexdigest()


def success_percent(facts: ReportFacts) -> float | None:
    """Return tenants on target of tenants attempted, in percent; None when none was attempted."""
    attempted = len(facts.touched)
    if attempted == 0:
        return None
    return 100 * sum(1 for t in facts.touched if t.state == "upgraded") / attempted


def summary(facts: ReportFacts) -> str:
    """Say in two or three sentences what became of the plan."""
    touched = len(facts.touched)
    parts = [f"The plan is {words(facts.state)}."]
    parts += [f"GLASS BROKEN: {broken_sentence(one)}" for one in facts.broken_glass]
    if not touched:
        return " ".join([*parts, "No tenant was touched.", _found(facts)]).rstrip()
    parts.append(
        f"Of {count(facts.planned_tenants, 'planned tenant')}, {touched:,} "
        f"{'was' if touched == 1 else 'were'} touched: {outcome_counts(facts.touched)}."
    )
    parts.append(_found(facts))
    parts += [f"Rollback ({words(r.trigger)}): {rollback_sentence(r)}" for r in facts.rollbacks]
    parts += [facts.rollbacks[-1].aftermath_sentence] if facts.rollbacks else []
    if facts.release.irreversible:
        parts.append("The release cannot be taken back: nothing was, and nothing could be.")
    elif not facts.rollbacks:
        parts.append("No rollback happened.")
    return " ".join(filter(None, parts))


def _found(facts: ReportFacts) -> str:
    """Say how many were on the target without a call of this plan; empty when nobody was."""
    found = sum(1 for t in facts.tenants if t.touched_at is None and t.state == "upgraded")
    if not found:
        return ""
    ran = count(found, "tenant ran", "tenants ran")
    return f"{ran} {facts.release.version} before the plan came and stayed there."


def verdicts(facts: ReportFacts) -> tuple[Verdict, ...]:
    """Return what a reader wants to know first, each measured against its promise."""
    return (_success(facts), _taken_back(facts), _separated(facts), _chained(facts))


def _success(facts: ReportFacts) -> Verdict:
    limit = facts.limits.success_rate
    detail = f"at least {quantity(limit, '%')} promised"
    percent = success_percent(facts)
    if percent is None:
        return Verdict("Success rate", "none", "no tenant was attempted", "plain")
    tone: Tone = "good" if percent >= limit else "bad"
    return Verdict("Success rate", f"{percent:.1f} %", detail, tone)


def _taken_back(facts: ReportFacts) -> Verdict:
    if facts.release.irreversible:
        return Verdict("Rollback", "no way back", "the release cannot be taken back", "bad")
    if not facts.rollbacks:
        return Verdict("Rollback", "none", "nothing had to be taken back", "good")
    worst = max(
        facts.rollbacks,
        key=lambda r: float("inf") if r.measured_seconds is None else r.measured_seconds,
    )
    tone = rollback_tone(worst)
    detail = f"of {worst.limit_seconds:.0f} s allowed"
    if worst.measured_seconds is None:
        return Verdict("Rollback", "incomplete", detail, tone)
    return Verdict("Rollback", f"{worst.measured_seconds:.1f} s", detail, tone)


def _separated(facts: ReportFacts) -> Verdict:
    if facts.broken_glass:
        return Verdict("Duties", "glass broken", "approvers were passed over, section 2", "bad")
    tones = [tone for _text, tone in separation(facts)]
    if "bad" in tones:
        return Verdict("Duties", "not separated", "see section 2", "bad")
    if "good" in tones:
        return Verdict("Duties", "separated", "authors and approvers differ", "good")
    return Verdict("Duties", "not approved", "the plan was never started", "plain")


def _chained(facts: ReportFacts) -> Verdict:
    events = count(len(facts.trail.events), "event")
    if facts.trail.intact:
        return Verdict("Trail", "verified", f"{events}, every link", "good")
    return Verdict("Trail", "BROKEN", facts.trail.finding, "bad")


def _timestamp(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"A report holds no {type(value).__name__}.")
    return value.isoformat()

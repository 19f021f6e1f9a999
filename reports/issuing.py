"""Issue a report for every plan that has ended: find what is due, make it once, keep the file."""

import hashlib
import logging
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, Exists, F, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.template.loader import render_to_string

from batches.models import Rollback
from plans.lifecycle import PLAN
from plans.models import Plan
from plans.trail import events
from reports.document.compliance_report import compose, digest, report_json
from reports.document.facts import ReportFacts
from reports.handing_out import HasNotEnded, file_stamp
from reports.models import UpgradeReport
from reports.pdf import PACKAGED_STYLESHEET, Attachment, PdfFailed, render_pdf
from reports.reading.facts import checkpoint_line, plan_facts, trail_lines
from reports.trail.anchoring import take_and_tell

logger = logging.getLogger(__name__)
PDF_SECONDS = 120.0
CLAIM_SECONDS = 180
WAITS = (5, 15, 60, 120, 300)
"""Seconds before a failed report is tried again; the last one for ever after."""
ENDED = Coalesce("ended_at", "updated_at", output_field=DateTimeField())
AFTERMATH = (
    Rollback.objects.filter(plan=OuterRef("pk"), aftermath_at__isnull=False)
    .order_by("-aftermath_at")
    .values("aftermath_at")[:1]
)
# What followed a rollback is known minutes after it; then the report is issued once more.
ENDING = Greatest(ENDED, Coalesce(Subquery(AFTERMATH), ENDED, output_field=DateTimeField()))
# An archived plan has ended, too: nobody may outrun its report by putting it away at once.
ENDINGS = frozenset({*PLAN.endings, "archived"})


def due_reports(now: datetime) -> list[uuid.UUID]:
    """Return the plans whose report is to be made now; each is given out once per claim.

    Due is every plan in an ending state that was ever handed in and has no report of this very
    ending: a plan that was taken back after completion gets a second one, and so does one of
    which it became known how its Kpis are since the rollback.
    """
    noted = [
        UpgradeReport(plan_id=pk, ending=ending, state=state, next_at=now)
        for pk, ending, state in _ended_without_report()
    ]
    if noted:
        UpgradeReport.objects.bulk_create(noted, ignore_conflicts=True)
    # Completed, then taken back before the first report was made: the next one tells both.
    later = UpgradeReport.objects.filter(plan=OuterRef("plan"), ending__gt=OuterRef("ending"))
    _waiting(now).filter(Exists(later)).delete()
    claimed = []
    until = now + timedelta(seconds=CLAIM_SECONDS)
    waiting = _waiting(now).order_by("next_at")
    for pk, plan_id, next_at in list(waiting.values_list("pk", "plan_id", "next_at")):
        # Compare-and-set: of two watches that saw the same row, one gets it.
        row = UpgradeReport.objects.filter(pk=pk, issued_at=None, next_at=next_at)
        if row.update(next_at=until):
            claimed.append(plan_id)
    return claimed


def anything_due(now: datetime) -> bool:
    """Tell whether due_reports would find something; only reads."""
    return _waiting(now).exists() or _ended_without_report().exists()


def _waiting(now: datetime) -> "QuerySet[UpgradeReport]":
    # While a completed plan is taken back it has no ending to report.
    return UpgradeReport.objects.filter(issued_at=None, next_at__lte=now, plan__state__in=ENDINGS)


def _ended_without_report() -> Any:
    known = UpgradeReport.objects.filter(plan=OuterRef("pk"), ending__gte=OuterRef("ending"))
    return (
        Plan.objects.filter(state__in=ENDINGS, submitted_at__isnull=False)
        .annotate(ending=ENDING)
        .filter(~Exists(known))
        .order_by()
        .values_list("pk", "ending", "state")
    )


def issue_report(*, plan_id: uuid.UUID | str, now: datetime) -> UpgradeReport:
    """Make the report of the plan's last ending; the same ending gives the same report again.

    Raises HasNotEnded while the plan goes on. When the PDF cannot be made, the reason is kept
    with the report, which is tried again later.
    """
    plan = Plan.objects.get(pk=plan_id)
    if str(plan.state) not in ENDINGS:
        raise HasNotEnded(
            f"This plan is {PLAN.states[str(plan.state)].lower()}; its report comes when it ends."
        )
    report, _is_new = UpgradeReport.objects.get_or_create(
        plan=plan,
        kind="compliance",
        ending=_ending_of(plan),
        defaults={"state": str(plan.state), "next_at": now},
    )
    if report.ready:
        return report
    began = time.monotonic()
    try:
        made = _make(plan, now)
    except PdfFailed as error:
        return _failed(report, str(error), now)
    seconds = time.monotonic() - began
    # What happened while it was being made stands before it in the trail, in time as well.
    issued_at = now + timedelta(seconds=seconds)
    return _issued(report, plan, made, seconds=seconds, now=issued_at)


def _ending_of(plan: Plan) -> datetime:
    """Return the moment of the plan's last ending, or of what followed its rollback."""
    ended: datetime = plan.ended_at or plan.updated_at
    known = Rollback.objects.filter(plan=plan).aggregate(last=Max("aftermath_at"))["last"]
    return max(ended, known) if known is not None else ended


@dataclass(frozen=True, slots=True)
class _Made:
    pdf: bytes
    data_digest: str


def _sign_trail(now: datetime) -> None:
    """Take a checkpoint, so that the report holds one over all that it tells."""
    try:
        take_and_tell(why="report", now=now)
    except OSError as error:
        # The report says that it has no signed checkpoint, or an older one; the watch alerts.
        logger.error("No checkpoint could be signed for a report: %s", error)


def _make(plan: Plan, now: datetime) -> _Made:
    _sign_trail(now)
    facts = plan_facts(plan.pk, cut_off=now)
    data = report_json(facts)
    data_digest = digest(data)
    html = render_to_string(
        "reports/pdf/upgrade_report.html",
        {
            "document": compose(facts, data_digest=data_digest),
            "stylesheet": PACKAGED_STYLESHEET,
        },
    )
    pdf = render_pdf(
        html,
        timeout=PDF_SECONDS,
        made_at=now,
        attachments=(
            Attachment("report.json", "The data of this report", data),
            Attachment("trail.jsonl", "The plan's trail, event by event", trail_lines(facts)),
            *_signed_checkpoint(facts),
        ),
    )
    return _Made(pdf, data_digest)


def _signed_checkpoint(facts: ReportFacts) -> list[Attachment]:
    line = checkpoint_line(facts)
    told = "A signed checkpoint, and the proof that it knows this trail"
    return [Attachment("checkpoint.json", told, line)] if line else []


def _issued(
    report: UpgradeReport, plan: Plan, made: _Made, *, seconds: float, now: datetime
) -> UpgradeReport:
    sha256 = hashlib.sha256(made.pdf).hexdigest()
    # The hash is part of the name: of two processes that made it at once, both files are whole.
    name = f"{plan.pk}/{file_stamp(report.ending)}-{sha256[:12]}.pdf"
    _keep(Path(settings.REPORTS_DIR) / name, made.pdf)
    with transaction.atomic():
        Plan.objects.locked(plan.pk)
        first = UpgradeReport.objects.filter(pk=report.pk, issued_at=None).update(
            sha256=sha256,
            data_digest=made.data_digest,
            file=name,
            size=len(made.pdf),
            issued_at=now,
            state=str(plan.state),
            seconds=seconds,
            attempts=F("attempts") + 1,
            error="",
        )
        if first:
            events.record(
                stream=plan,
                kind="report_issued",
                sentence=f"The compliance report was issued: {len(made.pdf):,} bytes,"
                f" SHA-256 {sha256}.",
                actor=None,
                via="hands",
                now=now,
                payload={
                    "report": str(report.pk),
                    "sha256": sha256,
                    "data_digest": made.data_digest,
                },
            )
    return UpgradeReport.objects.get(pk=report.pk)


def _failed(report: UpgradeReport, why: str, now: datetime) -> UpgradeReport:
    logger.error("The report of plan %s could not be made: %s", report.plan_id, why)
    wait = WAITS[min(report.attempts, len(WAITS) - 1)]
    UpgradeReport.objects.filter(pk=report.pk, issued_at=None).update(
        error=why[:700],
        attempts=F("attempts") + 1,
        next_at=now + timedelta(seconds=wait),
    )
    return UpgradeReport.objects.get(pk=report.pk)


def _keep(path: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    Path(temporary).replace(path)

"""Hand out an issued report, or say why there is none yet."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from plans.lifecycle import PLAN
from plans.models import Plan
from plans.refusal import Refused
from reports.models import UpgradeReport


class HasNotEnded(Refused):
    """The plan still goes on; its report comes when it ends."""

    default_code = "not_ended"


class InTheMaking(Refused):
    """The plan has ended; its report is being made."""

    status = 202
    default_code = "report_in_the_making"


class CouldNotBeMade(Refused):
    """The report was tried and failed; it is tried again."""

    status = 503
    default_code = "report_could_not_be_made"


class NotAsIssued(Refused):
    """The file is gone or is not the one that was issued."""

    status = 500
    default_code = "report_not_as_issued"


def report_of(plan: Plan) -> UpgradeReport:
    """Return the issued report of the plan's last ending.

    Raises HasNotEnded, InTheMaking or CouldNotBeMade with a sentence for people.
    """
    state = str(plan.state)
    if state not in PLAN.endings and state != "archived":
        raise HasNotEnded(
            f"This plan is {PLAN.states[state].lower()}; its report comes when it ends."
        )
    if plan.submitted_at is None:
        raise HasNotEnded("This plan was never handed in; there is nothing to report.")
    report = UpgradeReport.objects.filter(plan=plan).order_by("-ending").first()
    stale = report is not None and plan.ended_at is not None and report.ending < plan.ended_at
    if report is not None and not stale and not report.ready:
        # What followed the rollback is being added; until then the report before it stands.
        before = UpgradeReport.objects.filter(plan=plan, issued_at__isnull=False)
        report = before.filter(ending__gte=plan.ended_at or report.ending).first() or report
    if report is None or stale or (not report.ready and not report.error):
        raise InTheMaking("The report is being made; it takes some seconds.")
    if not report.ready:
        raise CouldNotBeMade(f"The report could not be made yet: {report.error}")
    return report


def file_path(report: UpgradeReport) -> Path:
    """Return where the file of an issued report is kept."""
    return Path(settings.REPORTS_DIR) / report.file


def content(report: UpgradeReport) -> bytes:
    """Return the bytes of an issued report; raise NotAsIssued unless they are the issued ones."""
    try:
        found = file_path(report).read_bytes()
    except FileNotFoundError as error:
        raise NotAsIssued(f"The file of this report is gone: {report.file}.") from error
    if hashlib.sha256(found).hexdigest() != report.sha256:
        raise NotAsIssued(
            f"The file {report.file} was changed after it was issued; its SHA-256 is not"
            f" {report.sha256}. It is not handed out."
        )
    return found


def download_name(report: UpgradeReport, external_id: str) -> str:
    """Return the name under which the file is handed out: safe in every file system."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in external_id)
    return f"upgrade-report-{safe.strip('.-') or report.plan_id}-{file_stamp(report.ending)}.pdf"


def file_stamp(at: datetime) -> str:
    """Return a moment as part of a file's name."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

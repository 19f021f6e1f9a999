"""The access review as a PDF to sign: who could do what for which tenants, with the CSV inside."""

from datetime import datetime

from django.template.loader import render_to_string

from plans.models import CONSOLE_ROLES
from plans.people.access_review import ASKED, AccessReview, Held, acts_of, as_csv
from plans.refusal import Refused
from reports.document.blocks import Cell, Table
from reports.pdf import PACKAGED_STYLESHEET, Attachment, PdfFailed, render_pdf

PDF_SECONDS = 60.0


class NotTypeset(Refused):
    """The PDF could not be made; the CSV says the same."""

    status = 503
    default_code = "pdf_failed"


def access_pdf(review: AccessReview, *, asked_by: str, now: datetime) -> bytes:
    """Return the PDF; raise NotTypeset, which says why and names the CSV instead."""
    html = render_to_string(
        "reports/pdf/access_review.html",
        {
            "review": review,
            "asked_by": asked_by,
            "made_at": now,
            "held": _held(review),
            "roles": _roles(review),
            "stylesheet": PACKAGED_STYLESHEET,
        },
    )
    try:
        return render_pdf(
            html,
            timeout=PDF_SECONDS,
            made_at=now,
            attachments=(Attachment("access.csv", "The same, all columns", as_csv(review)),),
        )
    except PdfFailed as error:
        raise NotTypeset(f"The PDF could not be made: {error} The CSV says the same.") from error


def _held(review: AccessReview) -> Table:
    return Table(
        caption=f"Held on {_minute(review.at)}",
        head=("Who", "Holds", "Tenants", "Since", "Until", "Given by"),
        widths=(24, 20, 18, 11, 11, 16),
        rows=tuple(_row(line) for line in review.held),
    )


def _row(line: Held) -> tuple[Cell, ...]:
    second = f", confirmed by {line.confirmed_by}" if line.confirmed_by else ""
    why = f": {line.why}" if line.why else ""
    return (
        Cell(f"{line.name} <{line.email}>"),
        Cell(f"{line.held} ({line.kind_words.lower()})"),
        Cell(f"{line.tenants} ({line.tenants_today} today)"),
        Cell(f"{line.since:%Y-%m-%d}"),
        Cell(_until(line)),
        Cell(f"{line.given_by}{second}{why}"),
    )


def _until(line: Held) -> str:
    if line.kind == ASKED:
        return "not confirmed"
    if line.ended_at is not None:
        return f"ended {line.ended_at:%Y-%m-%d}"
    return f"{line.until:%Y-%m-%d}" if line.until is not None else "no end"


def _roles(review: AccessReview) -> Table:
    held = {line.held for line in review.held if line.kind == "console"}
    return Table(
        caption="What the console roles that are held may do",
        head=("Role", "May"),
        widths=(20, 80),
        rows=tuple(
            (Cell(label), Cell(", ".join(acts_of(role))))
            for role, label in CONSOLE_ROLES
            if label in held
        ),
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"

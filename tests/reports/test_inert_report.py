"""Hostile text in every field is text in the PDF too: no link, no script, nothing fetched."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from plans.people.access_review import access_review
from reports.access_pdf import access_pdf
from reports.handing_out import content
from reports.issuing import issue_report
from tests.reports.scene import after, taken_back
from tests.web.access_scene import OWN
from tests.web.hostile_text import ELSEWHERE, SHORT, fill

pytestmark = pytest.mark.django_db


def asked_of(file: bytes, tmp_path: Path, *argv: str) -> str:
    """Return what poppler says of a PDF; it shares nothing with what made it."""
    path = tmp_path / "hostile.pdf"
    path.write_bytes(file)
    tool, *options = argv
    done = subprocess.run(
        [tool, *options, str(path), *(["-"] if tool == "pdftotext" else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_report_and_a_review_show_hostile_text_as_it_is(scene, tmp_path):
    plan = taken_back(scene)
    fill(SimpleNamespace(plans={OWN: plan}, ada=scene.ada))
    report = content(issue_report(plan_id=plan.pk, now=after(42)))
    review = access_pdf(access_review(at=after(50)), asked_by=SHORT, now=after(50))

    for file, text in ((report, "<script>hit=1</script>"), (review, SHORT)):
        # Long lines break anywhere, so spaces say nothing.
        assert squeezed(text) in squeezed(asked_of(file, tmp_path, "pdftotext", "-raw"))
        links = asked_of(file, tmp_path, "pdfinfo", "-url")
        assert ELSEWHERE not in links
        assert "javascript:" not in links
        assert asked_of(file, tmp_path, "pdfinfo", "-js").strip() == ""

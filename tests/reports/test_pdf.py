"""The PDF process: reads back right, reaches nothing, and fails in words."""

import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.template.loader import render_to_string

from reports.document.compliance_report import compose, digest, report_json
from reports.document.facts import ReportFacts
from reports.pdf import (
    PACKAGED_STYLESHEET,
    Attachment,
    PdfEngineMissing,
    PdfFailed,
    render_pdf,
)
from tests.reports.sample_facts import NINE, large_facts, rolled_back_facts


@pytest.fixture(autouse=True)
def _poppler_is_there() -> None:
    if shutil.which("pdftotext") is None:
        pytest.fail("pdftotext is missing; install it: apt-get install poppler-utils")


def page_of(facts: ReportFacts) -> str:
    document = compose(facts, data_digest=digest(report_json(facts)))
    return render_to_string(
        "reports/pdf/upgrade_report.html",
        {"document": document, "stylesheet": PACKAGED_STYLESHEET},
    )


def read_back(pdf: bytes, tmp_path: Path) -> str:
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf)
    return subprocess.run(
        ["pdftotext", "-layout", str(file), "-"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def report() -> bytes:
    facts = rolled_back_facts()
    return render_pdf(
        page_of(facts),
        timeout=60,
        made_at=facts.cut_off,
        attachments=[Attachment("report.json", "The facts", report_json(facts))],
    )


def test_numbers_and_names_can_be_read_back_from_the_pdf(report, tmp_path):
    text = read_back(report, tmp_path)
    for expected in (
        "37.4 s of 180 s",
        "40 tenants read back on the version before",
        "acme-payments 1.5.0",
        "error_rate is 9.4 %",
        "tenant-00039",
        "Sona Hakobyan",
        "at most 5 %",
    ):
        assert expected in text


def test_each_page_has_a_number_the_plan_and_the_digest(report, tmp_path):
    pages = read_back(report, tmp_path).rstrip("\f").split("\f")
    assert len(pages) > 5
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
        assert "Plan CHG-20417 · 0b3f3e9e-4d57-4d0e-8a0a-5f1f2f7b9f10" in page
        assert digest(report_json(rolled_back_facts())) in page


def test_the_facts_travel_inside_the_pdf(report, tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(report)
    out = tmp_path / "report.json"
    subprocess.run(
        ["pdfdetach", "-save", "1", "-o", str(out), str(file)],  # noqa: S607
        check=True,
    )
    assert out.read_text() == report_json(rolled_back_facts())


def test_the_pdf_is_tagged_titled_and_made_to_be_archived(report):
    def told(*options: str) -> str:
        return subprocess.run(
            ["pdfinfo", *options, "-"],  # noqa: S607
            input=report,
            check=True,
            capture_output=True,
        ).stdout.decode()

    info = told()
    assert "Tagged:          yes" in info
    assert "Title:           Compliance report: acme-payments 1.5.0, plan CHG-20417" in info
    assert 'pdfaid:part="3" pdfaid:conformance="A"' in told("-meta")


def test_the_same_facts_give_the_same_bytes(report):
    facts = rolled_back_facts()
    again = render_pdf(
        page_of(facts),
        timeout=60,
        made_at=facts.cut_off,
        attachments=[Attachment("report.json", "The facts", report_json(facts))],
    )
    assert again == report


@pytest.mark.parametrize(
    "address",
    ["file:///etc/hostname", "ftp://127.0.0.1/x", "packaged:../../secret_key"],
)
def test_a_page_that_asks_for_a_file_is_refused(address):
    with pytest.raises(PdfFailed, match="may not load"):
        render_pdf(f'<img src="{address}">', timeout=60, made_at=NINE)


def test_a_page_that_asks_for_the_network_is_refused_and_nothing_is_fetched():
    fetched: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(PdfFailed, match="may not load"):
            render_pdf(
                f'<link rel="stylesheet" href="http://127.0.0.1:{server.server_port}/a.css">',
                timeout=60,
                made_at=NINE,
            )
    finally:
        server.shutdown()
        server.server_close()
    assert fetched == []


def test_markup_in_a_fact_stays_text():
    page = page_of(replace(rolled_back_facts(), note='<img src="file:///etc/passwd">'))
    assert '<img src="file' not in page


def test_a_process_that_takes_too_long_is_ended():
    began = time.monotonic()
    with pytest.raises(PdfFailed, match=r"not ready within 0\.2 s"):
        render_pdf("<p>x</p>", timeout=0.2, made_at=NINE)
    assert time.monotonic() - began < 5


def test_a_machine_without_fonts_is_told_what_to_install(tmp_path):
    config = tmp_path / "fonts.conf"
    config.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig><dir>{tmp_path}/none</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
    )
    with pytest.raises(PdfEngineMissing, match=r"apt install libpango-1\.0-0 .* fonts-dejavu-core"):
        render_pdf("<p>x</p>", timeout=60, made_at=NINE, environ={"FONTCONFIG_FILE": str(config)})


def test_the_child_gets_no_secret_from_the_environment():
    pdf = render_pdf(
        "<p>x</p>",
        timeout=60,
        made_at=NINE,
        environ={"SECRET_KEY": "x", "LD_PRELOAD": "/nowhere.so", "PATH": "/usr/bin"},
    )
    assert pdf.startswith(b"%PDF-1.7")


@pytest.mark.slow
def test_fault_33_ten_thousand_tenants_are_ready_in_ten_seconds():
    facts = large_facts(10_000)
    spent = _cpu_seconds()
    pdf = render_pdf(page_of(facts), timeout=60, made_at=facts.cut_off)
    assert len(pdf) > 100_000
    # Of the processor, not of the clock: tests run beside others.
    assert _cpu_seconds() - spent < 10


def _cpu_seconds() -> float:
    """Return what this process and the renderers that it waited for have used."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system

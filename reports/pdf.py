"""Turn HTML into a PDF in a process of its own.

The typesetter is native code fed with text that other people wrote: it gets no network, no
files, no secrets from the environment, a bounded memory and a bounded time, and when it dies
it takes nobody along. `python -m reports.pdf` is that process: a JSON job on stdin
(`{"html", "attachments": [{"name", "description", "text"}], "made_at"}`), the PDF on
stdout. The same job gives the same bytes.
"""

import ctypes
import ctypes.util
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGED_STYLESHEET = "packaged:report_print.css"
STYLESHEET_FILE = ROOT / "static" / "css" / "report_print.css"
# Tagged for screen readers, made to be archived, and allowed to carry attachments.
VARIANT = "pdf/a-3a"
MEMORY_LIMIT = 3 * 1024**3
ENGINE_MISSING, JOB_WRONG = 3, 4
APT_LINE = "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core"
PASSED_ON = ("PATH", "LANG", "LC_ALL", "HOME", "XDG_CACHE_HOME", "FONTCONFIG_FILE")
LONGEST_COMPLAINT = 600


class PdfFailed(Exception):
    """The PDF could not be made; the text says what happened."""


class PdfEngineMissing(PdfFailed):
    """The typesetter's system libraries or fonts are not installed."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that travels inside the PDF."""

    name: str
    description: str
    text: str


def render_pdf(
    html: str,
    *,
    timeout: float,
    made_at: datetime,
    attachments: Sequence[Attachment] = (),
    environ: Mapping[str, str] | None = None,
) -> bytes:
    """Return the PDF of a page.

    Raises PdfEngineMissing when libraries or fonts are not installed, PdfFailed when the
    process ran out of time or memory, or died.
    """
    given = os.environ if environ is None else environ
    job = json.dumps(
        {
            "html": html,
            "attachments": [asdict(attachment) for attachment in attachments],
            "made_at": made_at.isoformat(),
        }
    )
    with subprocess.Popen(
        [sys.executable, "-m", "reports.pdf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={name: given[name] for name in PASSED_ON if name in given},
        start_new_session=True,
    ) as child:
        try:
            pdf, complaint = child.communicate(job.encode(), timeout=timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise PdfFailed(f"The PDF was not ready within {timeout:g} s.") from error
    said = complaint.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
    if child.returncode == ENGINE_MISSING:
        raise PdfEngineMissing(said)
    if child.returncode != 0:
        raise PdfFailed(f"The PDF process ended with {child.returncode}: {said or 'no message'}")
    return pdf


def installed_fonts() -> int:
    """Return how many fonts fontconfig finds; 0 without fontconfig.

    Asked before the typesetter is loaded: without a single font it would not raise but crash.
    """
    library = ctypes.util.find_library("fontconfig")
    if library is None:
        return 0
    fontconfig = ctypes.CDLL(library)
    fontconfig.FcInitLoadConfigAndFonts.restype = ctypes.c_void_p
    fontconfig.FcConfigGetFonts.restype = ctypes.POINTER(ctypes.c_int)
    fontconfig.FcConfigGetFonts.argtypes = (ctypes.c_void_p, ctypes.c_int)
    fonts = fontconfig.FcConfigGetFonts(fontconfig.FcInitLoadConfigAndFonts(), 0)
    return int(fonts[0]) if fonts else 0


def typeset(html: str, attachments: Sequence[Attachment], *, made_at: datetime) -> bytes:
    """Return the PDF; runs in the child only. Raises PdfEngineMissing."""
    if installed_fonts() == 0:
        raise PdfEngineMissing(f"No font is installed. Run: {APT_LINE}")
    try:
        import weasyprint
        from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse
    except OSError as error:
        raise PdfEngineMissing(
            f"The PDF libraries are not installed ({error}). Run: {APT_LINE}"
        ) from error

    class OnlyWhatIsPackaged(URLFetcher):
        """Hands out data: addresses and our stylesheet; anything else ends the job."""

        def fetch(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
            if url == PACKAGED_STYLESHEET:
                return URLFetcherResponse(
                    url, STYLESHEET_FILE.read_bytes(), {"Content-Type": "text/css"}
                )
            if url.startswith("data:"):
                return super().fetch(url, headers)
            raise FatalURLFetchingError(f"A report may not load {url[:200]}.")

    document = weasyprint.HTML(string=html, url_fetcher=OnlyWhatIsPackaged())
    pdf = document.write_pdf(
        pdf_variant=VARIANT,
        # Column widths stand in the table itself, where a style attribute would break our CSP.
        presentational_hints=True,
        pdf_identifier=hashlib.sha256(html.encode()).digest()[:16],
        attachments=[
            weasyprint.Attachment(
                string=attachment.text,
                name=attachment.name,
                description=attachment.description,
                created=made_at,
                modified=made_at,
                relationship="Data",
            )
            for attachment in attachments
        ],
    )
    return bytes(pdf)


def main() -> int:
    """Read the job, write the PDF; return the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    try:
        job = json.load(sys.stdin)
        attachments = [Attachment(**entry) for entry in job["attachments"]]
        made_at = datetime.fromisoformat(job["made_at"])
        html = str(job["html"])
    except (ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"The job on stdin cannot be read: {error!r}\n")
        return JOB_WRONG
    try:
        sys.stdout.buffer.write(typeset(html, attachments, made_at=made_at))
    except PdfEngineMissing as error:
        sys.stderr.write(f"{error}\n")
        return ENGINE_MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())

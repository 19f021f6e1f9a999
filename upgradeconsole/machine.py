"""Name the Debian packages that this machine lacks: `python -m upgradeconsole.machine [--tests]`.

WeasyPrint loads its libraries when the first PDF is made, and ends the process with a segmentation
fault where no font is installed at all; so both are looked for beforehand.
"""

import ctypes
import shutil
import sys
from pathlib import Path

PDF_LIBRARIES = {
    "libpango-1.0-0": "libpango-1.0.so.0",
    "libpangoft2-1.0-0": "libpangoft2-1.0.so.0",
    "libharfbuzz-subset0": "libharfbuzz-subset.so.0",
}
FONT_PACKAGE = "fonts-dejavu-core"
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
TEST_PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "prometheus": ("prometheus",),
    "poppler-utils": ("pdfinfo",),
}
# Debian keeps these out of the path, by version.
POSTGRESQL = Path("/usr/lib/postgresql")


def missing_packages(*, for_tests: bool) -> list[str]:
    """Return the packages to install, in the order in which they should be named."""
    missing = [package for package, library in PDF_LIBRARIES.items() if not _loads(library)]
    if not any(_has_font(folder) for folder in FONT_FOLDERS):
        missing.append(FONT_PACKAGE)
    if for_tests:
        missing += [
            package
            for package, programs in TEST_PROGRAMS.items()
            if not any(map(shutil.which, programs))
        ]
        if not shutil.which("initdb") and not any(POSTGRESQL.glob("*/bin/initdb")):
            missing.append("postgresql")
    return missing


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_font(folder: Path) -> bool:
    return any(next(folder.rglob(pattern), None) for pattern in ("*.ttf", "*.otf"))


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing_packages(for_tests="--tests" in sys.argv[1:])))

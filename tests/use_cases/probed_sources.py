"""A page of metrics that the console probes, and a dictionary that names it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.adapters.metric_servers import MetricPage

FOREST = ("acorn", "birch", "cedar", "dogwood", "elm", "fir")


def page_text(tenants: Sequence[str] = FOREST, *, total: str = "requests_total") -> str:
    """Return what a healthy fleet says of these tenants."""
    return "".join(
        f'errors_total{{tenant="{key}"}} 1\n{total}{{tenant="{key}"}} 200\n'
        f'pass_ratio{{tenant="{key}"}} 0.98\n'
        for key in tenants
    )


def dictionary_text(url: str, **changes: Any) -> str:
    """Return a dictionary of a ratio and a gauge that are read from the page."""
    body: dict[str, Any] = {
        "kpis": [
            {
                "name": "error_rate",
                "kind": "ratio",
                "unit": "%",
                "direction": "lower",
                "aliases": ["5xx_rate"],
            },
            {
                "name": "pass_rate",
                "kind": "gauge",
                "unit": "%",
                "direction": "higher",
                "range": [0, 100],
            },
        ],
        "sources": {"fleet": {"kind": "prometheus_text", "url": url, "timeout_seconds": 2}},
        "mappings": [
            {
                "kpi": "error_rate",
                "source": "fleet",
                "bad": {"metric": "errors_total"},
                "total": {"metric": "requests_total"},
            },
            {
                "kpi": "pass_rate",
                "source": "fleet",
                "value": {"metric": "pass_ratio"},
                "native_unit": "1",
            },
        ],
        "dashboards": [],
    }
    return json.dumps(body | changes, indent=1)


@contextmanager
def probed_page(settings: Any, folder: Path) -> Iterator[MetricPage]:
    """Serve a healthy page and let the installation's dictionary name it."""
    with MetricPage() as page:
        page.text = page_text()
        settings.DICTIONARY_FILE = folder / "probed-dictionary.json"
        settings.DICTIONARY_FILE.write_text(dictionary_text(f"{page.url}/metrics"))
        yield page


def point_at(settings: Any, url: str) -> None:
    """Let the dictionary name another address."""
    settings.DICTIONARY_FILE.write_text(dictionary_text(url))

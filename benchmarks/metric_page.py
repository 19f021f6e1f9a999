"""A page of Prometheus text for many tenants: four Kpis whose counters rise with each read.

`python -m benchmarks.metric_page --tenants 10000` prints its port and serves until killed.
"""

import argparse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDS = ("0.05", "0.1", "0.2", "0.5", "+Inf")
DICTIONARY = """
{"kpis": [
   {"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"},
   {"name": "cache_misses", "kind": "ratio", "unit": "%", "direction": "lower"},
   {"name": "latency_ms", "kind": "histogram", "unit": "ms", "direction": "lower"},
   {"name": "pass_rate", "kind": "gauge", "unit": "%", "direction": "higher", "range": [0, 100]}],
 "sources": {"page": {"kind": "prometheus_text", "url": "URL/metrics"}},
 "mappings": [
   {"kpi": "error_rate", "source": "page", "bad": {"metric": "errors_total"},
    "total": {"metric": "requests_total"}, "tenant_label": "tenant"},
   {"kpi": "cache_misses", "source": "page", "bad": {"metric": "misses_total"},
    "total": {"metric": "lookups_total"}, "tenant_label": "tenant"},
   {"kpi": "latency_ms", "source": "page", "buckets": {"metric": "latency_seconds_bucket"},
    "native_unit": "s", "tenant_label": "tenant"},
   {"kpi": "pass_rate", "source": "page", "value": {"metric": "pass_ratio"}, "native_unit": "1",
    "tenant_label": "tenant"}],
 "dashboards": []}
"""
POLICY = """
  watched:
    batches: [{name: all, percentage: 100, soak_minutes: 1440}]
    limits: {look_seconds: LOOK, parallelism: 100, call_timeout_seconds: 5}
    guardrails:
      - {kpi: error_rate, at_most: 5, window: 60s}
      - {kpi: cache_misses, at_most: 50, window: 60s}
      - {kpi: latency_ms, at_most: 200, window: 60s}
      - {kpi: pass_rate, at_least: 90}
"""


class Page(BaseHTTPRequestHandler):
    """Answers with counters that stand 100 requests higher at each read."""

    protocol_version = "HTTP/1.1"
    tenants = 0
    reads = 0

    def do_GET(self) -> None:
        """Send the page."""
        Page.reads += 1
        n = 100 * Page.reads
        counts = (0.6, 0.8, 0.95, 0.99, 1.0)
        lines = []
        for number in range(Page.tenants):
            tenant = f'tenant="t{number}"'
            lines.append(
                f"requests_total{{{tenant}}} {n}\nerrors_total{{{tenant}}} {Page.reads}\n"
                f"lookups_total{{{tenant}}} {n}\nmisses_total{{{tenant}}} {n // 10}\n"
                f"pass_ratio{{{tenant}}} 0.98\n"
            )
            lines += [
                f'latency_seconds_bucket{{{tenant},le="{bound}"}} {int(n * count)}\n'
                for bound, count in zip(BOUNDS, counts, strict=True)
            ]
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=100)
    Page.tenants = parser.parse_args().tenants
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    print(server.server_address[1], flush=True)
    server.serve_forever()

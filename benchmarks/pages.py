"""Server time and queries of the pages of a large plan, and the time of its report's PDF.

`./console bench pages [--tenants 10000] [--rounds 5] [--json FILE]`.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks import scene
from benchmarks.results import Found

GOAL_MS = 300
GOAL_PDF_SECONDS = 10
FIVE_BATCHES = """
  five:
    batches:
      - {name: one, percentage: 1, soak_minutes: 1440}
      - {name: two, percentage: 9, soak_minutes: 1440}
      - {name: three, percentage: 20, soak_minutes: 1440}
      - {name: four, percentage: 30, soak_minutes: 1440}
      - {name: five, percentage: 40, soak_minutes: 1440}
    limits: {parallelism: 100, call_timeout_seconds: 5}
"""


def five_passed() -> object:
    """Return a completed plan of five batches over all tenants, without calling anybody."""
    from django.utils import timezone

    from batches.models import Batch, TenantUpgrade
    from plans.models import Plan

    plan = scene.started("large", policy="five")
    now = timezone.now()
    TenantUpgrade.objects.filter(plan=plan).update(
        state="upgraded",
        version_before=scene.OLD,
        version_observed=scene.NEW,
        touched_at=now,
        upgraded_at=now,
        observed_at=now,
        attempts=1,
    )
    Batch.objects.filter(plan=plan).update(
        state="passed", opened_at=now, calling_since=now, calls_done_at=now, ended_at=now
    )
    Plan.objects.filter(pk=plan.pk).update(state="completed", ended_at=now)
    return plan


def main() -> None:
    """Measure pages and the PDF."""
    parser = argparse.ArgumentParser(prog="bench pages")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    found = Found("pages")
    with tempfile.TemporaryDirectory() as name:
        scene.prepare(
            Path(name), base="http://127.0.0.1:9", tenants=options.tenants, policies=FIVE_BATCHES
        )
        plan = five_passed()
        from django.db import connection
        from django.test import Client
        from django.test.utils import CaptureQueriesContext

        from plans.models import User

        client = Client()
        client.force_login(User.objects.get(name="Author"))
        for what, url in (
            ("list of plans", "/plans/"),
            ("page of the plan", f"/plans/{plan.pk}/"),
            ("its changing parts", f"/plans/{plan.pk}/parts/"),
            ("its snapshot", f"/plans/{plan.pk}/snapshot.json"),
        ):
            client.get(url)
            took, cost = [], []
            for _round in range(options.rounds):
                began, cpu = time.monotonic(), time.thread_time()
                assert client.get(url).status_code == 200
                took.append(1000 * (time.monotonic() - began))
                cost.append(1000 * (time.thread_time() - cpu))
            with CaptureQueriesContext(connection) as asked:
                client.get(url)
            label = f"{what}, {options.tenants} tenants"
            found.add(label, "ms", took, GOAL_MS, f"{len(asked)} queries, CPU {min(cost):.0f} ms")
        from django.utils import timezone

        from reports.issuing import due_reports, issue_report

        due_reports(timezone.now())
        began, cpu = time.monotonic(), time.process_time()
        issue_report(plan_id=plan.pk, now=timezone.now())
        seconds = [time.monotonic() - began]
        typesetting = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = (
            f"CPU {time.process_time() - cpu:.1f} s, and {typesetting.ru_utime:.1f} s"
            " in the typesetting process"
        )
        found.add(f"report PDF, {options.tenants} tenants", "s", seconds, GOAL_PDF_SECONDS, told)
    found.write(options.json)


if __name__ == "__main__":
    main()

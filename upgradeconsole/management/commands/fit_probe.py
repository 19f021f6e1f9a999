"""`manage.py fit_probe`: ask the metric sources whether the Kpi dictionary fits them."""

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from batches.fit.probing import probe
from batches.models import KpiFit
from plans.counted_words import counted
from plans.management.console_command import ConsoleCommand
from plans.refusal import BadInput, Refused

FITS, DOES_NOT_FIT, BAD = 0, 1, 5


class Command(ConsoleCommand):
    """Probe Kpis; what is found is kept and counts at submit like a probe of the page."""

    help = (
        "Probe the mappings of the Kpi dictionary at their sources: is there data, of which"
        " tenants, in which unit? Exit: 0 all can be used, 1 some cannot, 5 bad input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the Kpis and the form of the answer."""
        parser.add_argument("kpi", nargs="*", help="names or aliases; without any: all")
        parser.add_argument("--json", action="store_true", help="tell it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Probe, tell, and exit with what was found."""
        try:
            rows = probe(kpis=options["kpi"] or None, by=None, now=timezone.now(), via="command")
        except BadInput as bad:
            raise CommandError("\n".join(bad.problems), returncode=BAD) from bad
        except Refused as refused:
            raise CommandError(refused.sentence, returncode=BAD) from refused
        if options["json"]:
            self.stdout.write(json.dumps([_told(row) for row in rows]))
        else:
            for row in rows:
                self._write(row)
        if any(row.level == "error" for row in rows):
            sys.exit(DOES_NOT_FIT)

    def _write(self, row: KpiFit) -> None:
        seen = f"{row.tenants - len(row.without)} of {counted(row.tenants, 'tenant')} with data"
        self.stdout.write(f"{row.kpi} from {row.source}: {row.level}, {seen}")
        for found in row.findings:
            self.stdout.write(f"  {found['level']}: {found['sentence']}")
            if found["advice"]:
                self.stdout.write(f"    {found['advice']}")


def _told(row: KpiFit) -> dict[str, Any]:
    return {
        "kpi": row.kpi,
        "source": row.source,
        "level": row.level,
        "findings": row.findings,
        "tenants": row.tenants,
        "tenants_without_data": row.without,
        "probed_at": row.probed_at.isoformat(),
    }

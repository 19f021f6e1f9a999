"""Run reference cases against the functions that decide here; exit 1 when one fails."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.conformance.cases import CasesRejected, Outcome, read_cases, read_deliberate, run_cases

DELIBERATE = Path(__file__).with_name("deliberate_differences.json")


class Command(BaseCommand):
    """`manage.py conformance FILE...`."""

    help = "Run files of reference cases against the console's own functions."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the files."""
        parser.add_argument("files", nargs="+", type=Path, help="JSON files of cases.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Tell what passed, failed and differs on purpose; fail when anything failed."""
        deliberate = read_deliberate(DELIBERATE.read_text(encoding="utf-8"))
        total: Counter[str] = Counter()
        for file in options["files"]:
            try:
                cases = read_cases(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeError) as error:
                raise CommandError(f"{file} cannot be read: {error}") from error
            except CasesRejected as rejected:
                raise CommandError(f"{file} cannot be used: {rejected}") from rejected
            outcomes = run_cases(cases, deliberate)
            self._tell(file, outcomes)
            total.update(outcome.standing for outcome in outcomes)
        self.stdout.write(
            f"{total['passed']} passed, {total['failed']} failed,"
            f" {total['different']} different on purpose."
        )
        if total["failed"]:
            raise CommandError(f"{total['failed']} cases failed.", returncode=1)

    def _tell(self, file: Path, outcomes: Sequence[Outcome]) -> None:
        self.stdout.write(f"{file}: {len(outcomes)} cases")
        kinds = dict.fromkeys(outcome.case.kind for outcome in outcomes)
        for kind in kinds:
            of_kind = [outcome for outcome in outcomes if outcome.case.kind == kind]
            counts = Counter(outcome.standing for outcome in of_kind)
            words = [f"{n} {word}" for word, n in sorted(counts.items())]
            self.stdout.write(f"  {kind or '(no kind)'}: {', '.join(words)}")
            for outcome in of_kind:
                if outcome.standing != "passed":
                    mark = "FAILED" if outcome.standing == "failed" else "differs"
                    self.stdout.write(f"    {mark} {outcome.case.name}: {outcome.problem}")

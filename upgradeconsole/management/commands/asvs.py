"""`manage.py asvs`: which requirements of OWASP's ASVS 5.0 a test holds."""

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plans.counted_words import counted
from upgradeconsole.asvs_coverage import (
    ASVS_FILE,
    AsvsUnreadable,
    Requirement,
    collected,
    outcomes,
    read_requirements,
    standing,
)


class Command(BaseCommand):
    """List the requirements of security/asvs.yaml, resolve their tests and run them when asked."""

    help = (
        "Tell for each requirement of security/asvs.yaml whether its tests exist, and with --run"
        " whether they hold. Fails when one is missing or does not hold."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which requirements, and whether to run."""
        parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 3.4.3; else all")
        parser.add_argument("--run", action="store_true", help="run the tests (may take minutes)")
        parser.add_argument("--json", action="store_true", help="answer as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line for each requirement and the sums."""
        try:
            chosen = _chosen(options["numbers"])
            tests = [test for requirement in chosen for test in requirement.tests]
            known = collected(tests)
            ran = outcomes(known) if options["run"] and known else None
        except AsvsUnreadable as error:
            raise CommandError(str(error)) from error
        stands = {one.number: standing(one, known, ran) for one in chosen}
        sums = Counter(stands.values())
        if options["json"]:
            self.stdout.write(json.dumps({"requirements": stands, "sums": sums}, indent=2))
        else:
            for one in chosen:
                self._tell(one, stands[one.number], known, ran or {})
            told = ", ".join(f"{count} {word}" for word, count in sorted(sums.items()))
            self.stdout.write(f"{counted(len(chosen), 'requirement')}: {told}.")
        if wrong := sums["missing"] + sums["broken"]:
            raise CommandError(
                f"{counted(wrong, 'requirement is', 'requirements are')} not held by the tests."
            )

    def _tell(self, one: Requirement, word: str, known: set[str], ran: dict[str, str]) -> None:
        self.stdout.write(f"{one.number:8}{word:10}{one.why_none or f'{len(one.tests)} tests'}")
        for test in one.tests:
            if test not in known:
                self.stdout.write(f"          there is no {test}")
            elif ran.get(test, "passed") != "passed":
                self.stdout.write(f"          {ran[test]}: {test}")


def _chosen(numbers: list[str]) -> list[Requirement]:
    try:
        every = read_requirements(ASVS_FILE.read_text(encoding="utf-8"))
    except OSError as error:
        raise AsvsUnreadable(f"{ASVS_FILE} cannot be read: {error.strerror}") from error
    known = {one.number for one in every}
    if strange := sorted(set(numbers) - known):
        raise AsvsUnreadable(f"security/asvs.yaml does not name {', '.join(strange)}.")
    return [one for one in every if not numbers or one.number in numbers]

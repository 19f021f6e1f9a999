"""`manage.py placebo POLICY`: how often would it roll back although nothing was released?"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from batches.placebo.runs import USUAL_ROLLOUTS, measure_placebo
from plans.management.console_command import ConsoleCommand
from plans.refusal import BadInput, Refused


class Command(ConsoleCommand):
    """Lay rollouts of a policy over the recorded history."""

    help = (
        "Lay random rollouts of a policy over the recorded history, in which nothing was released,"
        " and count how many its guardrails and its evidence test would have rolled back. The"
        " result is kept and shown beside the policy."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the policy."""
        parser.add_argument("policy", metavar="POLICY")
        parser.add_argument("--rollouts", type=int, default=USUAL_ROLLOUTS, metavar="N")
        parser.add_argument("--seed", default="", help="draw the same rollouts again")
        parser.add_argument(
            "--patience",
            type=float,
            metavar="S",
            help="end after so many seconds with what there is",
        )
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and tell."""
        try:
            run = measure_placebo(
                policy=options["policy"],
                rollouts=options["rollouts"],
                seed=options["seed"],
                patience=options["patience"],
                by=None,
                now=timezone.now(),
                via="command",
            )
        except BadInput as bad:
            raise CommandError("\n".join(bad.problems), returncode=5) from bad
        except Refused as refused:
            raise CommandError(refused.sentence, returncode=5) from refused
        if options["json"]:
            told = {"policy": options["policy"], "seed": run.seed, "rollouts": run.rollouts}
            told |= {"rolled_back": run.rolled_back, "sentence": run.sentence} | run.result
            self.stdout.write(json.dumps(told))
            return
        self.stdout.write(run.sentence)
        for judge in run.result["judges"]:
            dry = ", dry run" if judge["dry_run"] else ""
            self.stdout.write(
                f"  {judge['key']} ({judge['action']}{dry}): {judge['rollouts']} of {run.rollouts}"
            )
        self.stdout.write(f"  the same rollouts again: --seed {run.seed}")

"""`manage.py replay`: judge stored looks once more, under their own rules or under others."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from batches.replay.answers import counterfactual_answer, tally_answer
from batches.replay.counterfactual import (
    Counterfactual,
    own_policy,
    replay_under,
    scaled,
    with_thresholds,
)
from batches.replay.course import differences, left_out
from batches.replay.other_rules import (
    evidence_of,
    named_policy,
    policy_in,
    thresholds_of,
    with_evidence,
)
from batches.replay.past import Tally, tally
from plans.counted_words import counted
from plans.management.console_command import ConsoleCommand
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput, Refused


class Command(ConsoleCommand):
    """Replay one plan, or all past ones."""

    help = (
        "Judge the stored looks of a plan once more; writes nothing. Without other rules: do the"
        " rulings come out as they were made? Exit 1 where not. With --policy or --threshold: what"
        " would have happened, and when. With --all: over all past plans, how many rollbacks would"
        " have been right and how many wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the plan and the other rules."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("plan", nargs="?", metavar="PLAN", help="its uuid or external id")
        which.add_argument("--all", action="store_true", help="all past plans")
        parser.add_argument(
            "--policy", metavar="NAME|FILE", help="a policy's newest text, or a file with one"
        )
        parser.add_argument(
            "--threshold",
            action="append",
            default=[],
            metavar="KPI=NUMBER",
            help="another number for the guardrails of a Kpi, in their unit; may be repeated",
        )
        parser.add_argument(
            "--evidence",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="another evidence test: risk, ratio, points, detect, power (numbers), action, or"
            " kpis=A,B; may be repeated",
        )
        parser.add_argument("--json", action="store_true", help="the answer as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay and tell."""
        try:
            policy = _policy(options["policy"]) if options["policy"] else None
            thresholds = thresholds_of(options["threshold"])
            evidence = evidence_of(options["evidence"])
            if options["all"]:
                plans = Plan.objects.all()
                found = tally(plans, policy=policy, thresholds=thresholds, evidence=evidence)
                self._tell_all(found, options)
            elif policy is None and not thresholds and not evidence:
                self._tell_same(_plan(options["plan"]), options)
            else:
                plan = _plan(options["plan"])
                rules = with_thresholds(policy or own_policy(plan), thresholds)
                self._tell_one(replay_under(plan, scaled(with_evidence(rules, evidence))), options)
        except BadInput as bad:
            raise CommandError("\n".join(bad.problems), returncode=5) from bad
        except Refused as refused:
            raise CommandError(refused.sentence, returncode=5) from refused

    def _tell_same(self, plan: Plan, options: dict[str, Any]) -> None:
        found, left = differences(plan), left_out(plan)
        told = {"plan": plan.external_id, "differences": found, "left_out": left}
        if options["json"]:
            self.stdout.write(json.dumps(told))
        elif not found:
            self.stdout.write(f"{plan.external_id}: every ruling comes out as it was made.")
        for line in () if options["json"] else found:
            self.stdout.write(f"{plan.external_id}: {line}")
        for line in () if options["json"] else left:
            self.stdout.write(f"  left out: {line}")
        if found:
            sys.exit(1)

    def _tell_one(self, found: Counterfactual, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(counterfactual_answer(found), default=str))
            return
        self.stdout.write(f"{found.plan.external_id}: {found.sentence}")
        for one in found.guardrails:
            at = f"{one.breached_at:%H:%M:%S} {one.sentence}" if one.breached_at else "never broken"
            how = f"{one.failed} of {one.looks} failed"
            if one.highest is not None:
                how = f"{one.highest:.0f} % at most, in {counted(one.looks, 'look')}"
            self.stdout.write(f"  {one.key} ({one.action}): {at}; {how}")
        for passed in found.passes:
            when = f"from {passed.at:%H:%M:%S} on" if passed.at else "never"
            self.stdout.write(
                f"  evidence lets batch {passed.batch} pass: {when} ({passed.sentence})"
            )
        for line in found.unreadable:
            self.stdout.write(f"  not judged: {line}")
        for line in found.said:
            self.stdout.write(f"  note: {line}")

    def _tell_all(self, found: Tally, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(tally_answer(found), default=str))
            return
        for one in found.plans:
            self.stdout.write(f"{one.plan.external_id}: {one.sentence}")
        if found.left_out:
            self.stdout.write(
                f"{counted(found.left_out, 'plan')} could not be judged by these rules."
            )
        self.stdout.write(found.sentence)


def _plan(name: str) -> Plan:
    plans = Plan.objects.select_related("plugin", "release")
    plan = plans.filter(external_id=name).first()
    if plan is None:
        plan = next((one for one in plans.all() if str(one.pk) == name), None)
    if plan is None:
        raise BadInput([f"there is no plan {name!r}"])
    return plan


def _policy(named: str) -> UpgradePolicy:
    file = Path(named)
    if not file.is_file():
        return named_policy(named)
    try:
        return policy_in(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([f"{file}: {error}"]) from error

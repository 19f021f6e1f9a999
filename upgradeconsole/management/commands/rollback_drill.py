"""`manage.py rollback_drill`: rehearse a rollback on chosen tenants of the live installation.

The drill is a plan of its own: it waits for its approvers, is called by the running processes, and
must come back by itself. This command hands it in and tells what came of it.
"""

import json
import sys
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError, close_old_connections
from django.utils import timezone

from batches.drills.rehearsal_policy import INJECTS
from batches.drills.rehearsing import Wanted, begin_rehearsal
from batches.models import RollbackDrill
from plans.drafting.drafting import TenantChoice
from plans.management.console_command import ConsoleCommand
from plans.models import Plan, User
from plans.refusal import BadInput, Refused

PASSED, FAILED, NEEDS_HAND, TIMED_OUT, NOT_ALLOWED, BAD = 0, 1, 2, 3, 4, 5
LOOK_SECONDS = 0.5


class Command(ConsoleCommand):
    """Hand a drill in and follow it to its end."""

    help = (
        "Rehearse a rollback on chosen tenants of this installation: the release is really put on"
        " them and must come back by itself. A plan of its own, which its approvers have to agree"
        " to and which the running console carries out. Exit: 0 passed, 1 failed, 2 needs a hand,"
        " 3 timed out, 4 not allowed, 5 bad input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where, what and which fault."""
        parser.add_argument("--deployer", required=True, metavar="NAME")
        parser.add_argument("--plugin", required=True, metavar="KEY")
        parser.add_argument("--to", required=True, metavar="VERSION", help="a registered release")
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--tenants", metavar="KEYS", help="acorn,birch")
        who.add_argument("--labels", metavar="LABELS", help="ring=drill,region=eu")
        parser.add_argument("--inject", choices=INJECTS, default="none")
        parser.add_argument(
            "--by", required=True, metavar="EMAIL", help="the release manager who drills"
        )
        parser.add_argument(
            "--timeout", type=float, default=3600, metavar="S", help="the approval is part of it"
        )
        parser.add_argument("--no-wait", action="store_true", help="hand it in and return")
        parser.add_argument("--json", action="store_true", help="the last line is the result")

    def handle(self, *args: Any, **options: Any) -> None:
        """Hand it in, wait, tell."""
        try:
            drill = begin_rehearsal(
                wanted=Wanted(
                    deployer=options["deployer"],
                    plugin=options["plugin"],
                    to_version=options["to"],
                    tenants=_choice(options["tenants"], options["labels"]),
                    inject=options["inject"],
                ),
                by=_person(options["by"]),
                now=timezone.now(),
                via="command",
            )
        except BadInput as refused:
            raise CommandError("\n".join(refused.problems), returncode=BAD) from refused
        except Refused as refused:
            code = NOT_ALLOWED if refused.status == 403 else BAD
            raise CommandError(refused.sentence, returncode=code) from refused
        where = f"{settings.CONSOLE_URL}/plans/{drill.plan_id}/"
        self.stderr.write(f"Handed in; it waits for its approvers: {where}")
        if not options["no_wait"]:
            drill = self._followed(drill, time.monotonic() + options["timeout"])
        self.stdout.write(drill.sentence or f"The drill goes on: {where}")
        plan = Plan.objects.get(pk=drill.plan_id)
        if options["json"]:
            self.stdout.write(json.dumps(_result(drill, plan)))
        code = _code(drill, plan, waited=not options["no_wait"])
        if code:
            sys.exit(code)

    def _followed(self, drill: RollbackDrill, until: float) -> RollbackDrill:
        told = ""
        while drill.ended_at is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            try:
                drill = RollbackDrill.objects.select_related("plan").get(pk=drill.pk)
            except OperationalError:
                # Busy or away: the drill goes on without this command; look again.
                close_old_connections()
                continue
            state = str(drill.plan.state).replace("_", " ")
            if state != told:
                told = state
                self.stderr.write(f"{timezone.now():%H:%M:%S} {state}")
        return drill


def _choice(tenants: str | None, labels: str | None) -> TenantChoice:
    if tenants:
        return TenantChoice(keys=tuple(key.strip() for key in tenants.split(",") if key.strip()))
    pairs = [label.partition("=") for label in (labels or "").split(",") if label.strip()]
    if not pairs or not all(name.strip() and value.strip() for name, _equals, value in pairs):
        raise BadInput(["labels: write them as ring=drill or ring=drill,region=eu"])
    return TenantChoice(labels={name.strip(): value.strip() for name, _equals, value in pairs})


def _person(email: str) -> User:
    person = User.objects.filter(email__iexact=email, is_active=True).first()
    if person is None:
        raise BadInput([f"by: nobody with the address {email} works here"])
    return person


def _result(drill: RollbackDrill, plan: Plan) -> dict[str, Any]:
    return {
        "drill": str(drill.pk),
        "plan": str(plan.pk),
        "external_id": plan.external_id,
        "state": str(plan.state),
        "inject": drill.inject,
        "tenants": drill.tenants,
        "outcome": drill.outcome or None,
        "seconds": drill.seconds,
        "quote_seconds": drill.quote_seconds,
        "limit_seconds": drill.limit_seconds,
        "sentence": drill.sentence,
    }


def _code(drill: RollbackDrill, plan: Plan, *, waited: bool) -> int:
    if drill.outcome == "passed" or (not waited and drill.ended_at is None):
        return PASSED
    if drill.ended_at is None:
        return TIMED_OUT
    return NEEDS_HAND if str(plan.state) == "needs_hand" else FAILED

"""`manage.py rollback_offline FILE`: take a plan back while the database is away."""

import asyncio
import getpass
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from batches.break_glass import offline
from batches.break_glass.offline_file import NotOurs, OfflinePlan, read_plan
from batches.break_glass.offline_ledger import OfflineLedger
from batches.deployers import Observed, ObserveFailed
from batches.effects.execution import new_effect_loop
from batches.effects.ports import Job, SystemClock
from batches.effects.runs import EXTRA_TRIES
from plans.counted_words import counted
from plans.refusal import BadInput


class Command(BaseCommand):
    """Restore every touched tenant of a break-glass file that does not run its old version."""

    help = (
        "Take a plan back by its file in the data folder's offline/, without the database. What is"
        " done is written to a record beside the file; the watch takes it into the trail later."
    )
    # They would ask for the database.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file, why, and how far to go."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--reason", default="", help="why; it goes into the trail")
        parser.add_argument("--by", default=getpass.getuser(), help="your name, for the trail")
        parser.add_argument("--dry-run", action="store_true", help="only look and say")
        parser.add_argument(
            "--although-the-database-answers",
            action="store_true",
            help="go on where the console's own rollback could be used",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, restore, read back; fail when a tenant is left."""
        file: Path = options["file"]
        try:
            plan = read_plan(file, key=offline.key(), older=offline.older_keys())
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from error
        except NotOurs as refused:
            raise CommandError(str(refused)) from refused
        if not options["dry_run"]:
            if not options["reason"].strip():
                raise CommandError("--reason is missing: it goes into the trail")
            if not options["although_the_database_answers"] and _database_answers():
                raise CommandError(
                    "The database answers: roll back in the console, which also verifies and"
                    " reports. With --although-the-database-answers this command goes on."
                )
        self.stdout.write(
            f"Plan {plan.external_id}:"
            f" {counted(len(plan.touched), 'tenant was', 'tenants were')} touched on"
            f" the way to {plan.plugin} {plan.target}."
        )
        if plan.cut_off:
            self.stdout.write("The last line was cut off in its writing; its call was not sent.")
        try:
            left = asyncio.run(self._take_back(plan, file, options))
        except BadInput as refused:
            raise CommandError("\n".join(refused.problems)) from refused
        if left:
            raise CommandError(
                "\n".join(
                    [f"{counted(len(left), 'tenant is', 'tenants are')} left:"]
                    + [f"{t}: {w}" for t, w in left]
                )
            )

    async def _take_back(
        self, plan: OfflinePlan, file: Path, options: dict[str, Any]
    ) -> list[tuple[str, str]]:
        clock, loop = SystemClock(), new_effect_loop()
        give_up = timedelta(seconds=plan.rollback_seconds) + EXTRA_TRIES
        job = Job(
            plan=plan.plan,
            plugin=plan.plugin,
            deployer=plan.deployer,
            parallelism=plan.parallelism,
            attempts=1,
            call_timeout=plan.call_timeout,
            give_up_at=clock.now() + give_up,
        )
        try:
            seen = await loop.observe_all(job, list(plan.touched))
            wanted = [tenant for tenant, answer in seen.items() if _needs(plan, tenant, answer)]
            self.stdout.write(f"{len(wanted)} of them do not run their old version or are unread.")
            if options["dry_run"]:
                for tenant in wanted:
                    self.stdout.write(f"{tenant} -> {plan.touched[tenant].version_before}")
                return []
            ledger = OfflineLedger(
                plan,
                tenants=wanted,
                record=offline.record_of(file, timezone.now()),
                key=offline.key(),
                clock=clock,
            )
            ledger.begin(by=options["by"], reason=options["reason"].strip())
            await loop.run(job, ledger)
            again = await loop.observe_all(job, list(plan.touched))
            ledger.end()
        finally:
            await loop.close()
        back = len(plan.touched) - sum(_needs(plan, t, a) for t, a in again.items())
        self.stdout.write(
            f"{back} of {counted(len(plan.touched), 'tenant runs its', 'tenants run their')} old"
            " version."
        )
        return [
            (tenant, ledger.left.get(tenant, "does not run its old version"))
            for tenant, answer in again.items()
            if _needs(plan, tenant, answer)
        ]


def _needs(plan: OfflinePlan, tenant: str, answer: Observed | ObserveFailed) -> bool:
    return isinstance(answer, ObserveFailed) or (
        answer.version != plan.touched[tenant].version_before
    )


def _database_answers() -> bool:
    """Tell whether the database can be written to, waiting for it two seconds at most."""
    try:
        if connection.vendor == "sqlite":
            connection.settings_dict["OPTIONS"] = {
                **connection.settings_dict["OPTIONS"],
                "timeout": 2,
            }
        with transaction.atomic():
            connection.introspection.table_names()
    except DatabaseError:
        return False
    return True

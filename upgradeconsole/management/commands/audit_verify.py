"""`manage.py audit_verify`: check the trail, its checkpoints, anchors and signed approvals."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from plans.models import Checkpoint
from plans.trail.checkpoints import newest
from reports.trail.checking import check_and_keep, check_trail
from reports.verify_trail import UNREADABLE, kid_of, parse_note, read_key, say


class Command(BaseCommand):
    """Check every link from the first event on."""

    help = (
        "Check the trail. Exit: 0 all holds, 1 a link is broken, 2 cut off or forked, 3 a bad"
        " signature, 4 a gap in the checkpoints, 5 not all could be checked."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept where to begin, what to compare with, and whom to believe."""
        parser.add_argument(
            "--since",
            metavar="CP",
            help="begin after this checkpoint (its number, or a file with its text)",
        )
        parser.add_argument(
            "--anchors",
            metavar="DIR",
            action="append",
            default=[],
            type=Path,
            help="a folder or file of checkpoints that were kept outside; may be repeated",
        )
        parser.add_argument(
            "--pubkey",
            metavar="K",
            action="append",
            default=[],
            help="believe this public key alone: a PEM file, name+id+key, or 64 hex digits; may be"
            " repeated, for grants have a key of their own",
        )
        parser.add_argument("--json", action="store_true", help="answer as JSON")
        parser.add_argument(
            "--keep", action="store_true", help="keep the result for /metrics and the pages"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, say what was found, and end with its code."""
        now = timezone.now()
        if options["keep"]:
            self._keep_only(options)
            kept = check_and_keep(now=now, via="command")
            self.stdout.write(kept.sentence)
            sys.exit(kept.outcome)
        for path in options["anchors"]:
            if not path.exists():
                raise CommandError(f"{path} is not there.", returncode=UNREADABLE)
        keys = self._keys(options["pubkey"])
        since = self._since(options["since"]) if options["since"] else None
        outcome = check_trail(now=now, since=since, keys=keys, anchors=options["anchors"])
        say(outcome, as_json=options["json"], to=self.stdout)
        sys.exit(outcome.exit)

    def _keep_only(self, options: dict[str, Any]) -> None:
        if options["since"] or options["anchors"] or options["pubkey"] or options["json"]:
            raise CommandError(
                "--keep stands alone: what is kept is the check of everything.",
                returncode=UNREADABLE,
            )

    def _keys(self, given: list[str]) -> dict[str, bytes] | None:
        if not given:
            return None
        try:
            texts = [Path(key).read_text() if Path(key).is_file() else key for key in given]
            return {kid_of(public): public for public in map(read_key, texts)}
        except (OSError, ValueError) as error:
            raise CommandError(f"--pubkey: {error}", returncode=UNREADABLE) from error

    def _since(self, given: str) -> Checkpoint:
        """Return the checkpoint to begin with; of a file, only one that is the database's too."""
        path = Path(given)
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            try:
                number = parse_note(text).number
            except ValueError as error:
                raise CommandError(f"--since {given}: {error}", returncode=UNREADABLE) from error
            found = Checkpoint.objects.filter(number=number).first()
            if found is not None and found.text.strip() != text.strip():
                raise CommandError(
                    f"--since {given}: the database's checkpoint {number} is another one. Run it"
                    " without --since and with --anchors; this is a fork.",
                    returncode=2,
                )
        else:
            number = int(given) if given.isdigit() else 0
            found = Checkpoint.objects.filter(number=number).first()
        if found is None:
            last = newest()
            known = f"1 to {last.number}" if last is not None else "none"
            raise CommandError(
                f"--since {given}: there is no such checkpoint; known are {known}.",
                returncode=UNREADABLE,
            )
        return found

"""`manage.py smoke_upgrade`: rehearse a whole upgrade against whatever the files name.

Settings are read once per process, so the command first judges its input, then starts itself
again in the environment of the rehearsal: its own data folder, port and scale.
"""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from plans.refusal import BadInput, Refused
from upgradeconsole.smoke.inputs import Rehearsal, read_rehearsal
from upgradeconsole.smoke.outcome import BAD_INPUT, INTERRUPTED, TAKEN_BACK, in_words
from upgradeconsole.smoke.performance import DidNotStart, Performance
from upgradeconsole.smoke.processes import HOST, ROOT, Interrupted
from upgradeconsole.smoke.way_out import VARIABLE, outbound_file

FOLDER = "UPGRADECONSOLE_REHEARSAL"
PORT = "UPGRADECONSOLE_REHEARSAL_PORT"
IS_TEMPORARY = "UPGRADECONSOLE_REHEARSAL_TEMPORARY"


class Command(BaseCommand):
    """A dress rehearsal: own database, own processes, real calls."""

    help = (
        "Rehearse a whole upgrade against the platform that the files name, with a database and"
        " processes of its own. It calls the real deployer: name a platform that may be upgraded."
        " Exit: 0 completed, 1 rolled back or failed, 2 needs a hand, 3 timed out, 5 bad input."
    )
    # The processes that it starts run the checks.
    requires_system_checks = ()
    _argv: Sequence[str] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the files, the names in them, and how to go about it."""
        # None is `required`: everything that is missing is told at once, with exit code 5.
        parser.add_argument("--policies", metavar="FILE")
        parser.add_argument("--policy", metavar="NAME")
        parser.add_argument("--deployers", metavar="FILE")
        parser.add_argument("--deployer", metavar="NAME")
        parser.add_argument("--dictionary", metavar="FILE")
        parser.add_argument(
            "--outbound",
            metavar="FILE",
            help="what may be connected to; without it, what the other files name",
        )
        parser.add_argument("--tenants", metavar="FILE", help="csv or yaml")
        parser.add_argument("--plugin", metavar="KEY")
        parser.add_argument("--to", metavar="VERSION")
        parser.add_argument(
            "--release", metavar="FILE", help="signed release (DSSE); without it one is signed"
        )
        parser.add_argument("--trust-key", metavar="FILE", help="public key of --release")
        parser.add_argument(
            "--soak-scale",
            metavar="F",
            type=float,
            default=1.0,
            help="soaks and windows of the policy times F; stated in trail and report",
        )
        parser.add_argument(
            "--no-takeover",
            action="store_true",
            help="the watch may not do the hands' work",
        )
        parser.add_argument("--timeout", metavar="S", type=float, help="10 min + twice the soaks")
        parser.add_argument("--json", action="store_true", help="the last line is the result")
        parser.add_argument("--keep", metavar="DIR", help="work in this folder and keep it")

    def run_from_argv(self, argv: list[str]) -> None:
        """Exit with 5, not with 2, for options that cannot be read: 2 means something else."""
        self._argv = argv[2:]
        try:
            self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        except CommandError as refused:
            self.stderr.write(str(refused))
            sys.exit(BAD_INPUT)
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        """Judge the input, then rehearse in an environment of its own."""
        try:
            rehearsal = read_rehearsal(options)
            if os.environ.get(FOLDER) != str(settings.DATA_DIR):
                self._start_again(rehearsal, options["keep"])
            code = self._rehearse(rehearsal, as_json=options["json"])
        except BadInput as refused:
            raise CommandError("\n".join(refused.problems), returncode=BAD_INPUT) from refused
        except Refused as refused:
            raise CommandError(refused.sentence, returncode=BAD_INPUT) from refused
        except DidNotStart as error:
            raise CommandError(str(error), returncode=TAKEN_BACK) from error
        sys.exit(code)

    def _start_again(self, rehearsal: Rehearsal, keep: str | None) -> NoReturn:
        """Replace this process by itself in the rehearsal's environment."""
        given = {"UPGRADECONSOLE_DATA", "UPGRADECONSOLE_DB"} & set(os.environ)
        environ = dict(os.environ)
        if keep:
            folder = Path(keep).resolve()
            environ.pop("UPGRADECONSOLE_DB", None)
        elif given:
            folder = settings.DATA_DIR
        else:
            folder = Path(tempfile.mkdtemp(prefix="rehearsal-")).resolve()
        port = _free_port()
        environ |= {
            FOLDER: str(folder),
            PORT: str(port),
            IS_TEMPORARY: "" if keep or given else "1",
            "UPGRADECONSOLE_DATA": str(folder),
            "UPGRADECONSOLE_POLICIES": str(rehearsal.policies_file),
            "UPGRADECONSOLE_DEPLOYERS": str(rehearsal.deployers_file),
            "UPGRADECONSOLE_DICTIONARY": str(rehearsal.dictionary_file),
            VARIABLE: str(outbound_file(rehearsal, folder)),
            "UPGRADECONSOLE_URL": f"http://{HOST}:{port}",
            "UPGRADECONSOLE_SOAK_SCALE": repr(rehearsal.soak_scale),
            "UPGRADECONSOLE_PROBE_BEFORE_START": "0",
            "UPGRADECONSOLE_WATCH_MAY_RUN_BATCHES": "1" if rehearsal.takeover else "0",
            # Owners of tenants are not to be woken by a rehearsal.
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "UPGRADECONSOLE_ALERT_URLS": "",
            # Log lines at once, and no memory arena per thread.
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        program = [sys.executable, str(ROOT / "manage.py"), "smoke_upgrade", *self._argv]
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, program, environ)  # noqa: S606  # nosec B606 # this very program

    def _rehearse(self, rehearsal: Rehearsal, *, as_json: bool) -> int:
        """Rehearse with this process's settings; return the exit code."""
        performance = Performance(
            rehearsal, settings.DATA_DIR, int(os.environ[PORT]), self.stderr.write
        )
        try:
            outcome = performance.run()
        except (Interrupted, KeyboardInterrupt):
            self.stderr.write("The rehearsal was interrupted; its processes have ended.")
            return INTERRUPTED
        finally:
            performance.leave(remove=bool(os.environ[IS_TEMPORARY]))
        self.stdout.write(json.dumps(outcome) if as_json else in_words(outcome))
        code: int = outcome["exit"]
        return code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port

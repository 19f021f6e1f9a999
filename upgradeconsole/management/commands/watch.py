"""`manage.py watch`: the process that decides and that takes back."""

import gc
import signal
from typing import Any

from django.core.management.base import BaseCommand

from batches.watch.loop import Watch


class Command(BaseCommand):
    """Run the watch until it is told to end."""

    help = "Watch all live plans: sample, rule, move batches on, roll back."

    def handle(self, *args: Any, **options: Any) -> None:
        """Tick until SIGTERM or Ctrl-C."""
        watch = Watch()

        def end(_signum: int, _frame: object) -> None:
            watch.stopping.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        # What is loaded by now stays: a full pass of the collector over it would hold everything up
        # for a tenth of a second, in the middle of a way back too.
        gc.collect()
        gc.freeze()
        watch.run()

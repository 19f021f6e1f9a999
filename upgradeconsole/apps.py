"""The project's own app: commands and checks."""

import gc
import sys

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the project's management commands and system checks."""

    name = "upgradeconsole"
    label = "console"
    verbose_name = "Upgrade Console"

    def ready(self) -> None:
        """Register the checks; make what the hands' processes share stay shared."""
        from upgradeconsole import checks  # noqa: F401  (registering is its effect)

        if len(sys.argv) > 1 and sys.argv[1] == "qcluster":
            # Its workers are forked: what the collector never touches is never copied.
            gc.collect()
            gc.freeze()

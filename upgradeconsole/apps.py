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
        """Register the checks, mask failures; make what the hands' processes share stay shared."""
        from django.db.models.signals import pre_save

        from upgradeconsole import checks  # noqa: F401  (registering is its effect)
        from upgradeconsole.failed_tasks import mask_result

        pre_save.connect(mask_result, sender="django_q.Task", dispatch_uid="mask_result")

        if len(sys.argv) > 1 and sys.argv[1] == "qcluster":
            # Its workers are forked: what the collector never touches is never copied.
            gc.collect()
            gc.freeze()

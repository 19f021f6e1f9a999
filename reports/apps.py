"""reports: what we can prove and whom we tell."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    """Reports, notifications and telemetry."""

    name = "reports"
    verbose_name = "Reports"

    def ready(self) -> None:
        """Ask the watch to hand out what is due."""
        from batches import watch_chores
        from reports import chores

        watch_chores.register("reports", chores.hand_out_reports)
        watch_chores.register("deliveries", chores.hand_out_deliveries)

"""reports: what we can prove and whom we tell."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    """Reports, notifications and telemetry."""

    name = "reports"
    verbose_name = "Reports"

    def ready(self) -> None:
        """Ask the watch to hand out what is due; let the field-level diff watch endpoints."""
        from auditlog.registry import auditlog

        from batches.watch import chores as watch_chores
        from reports import chores
        from reports.models import Endpoint
        from reports.trail import anchoring

        auditlog.register(Endpoint, mask_fields=["sealed_secret"])
        watch_chores.register("reports", chores.hand_out_reports)
        watch_chores.register("deliveries", chores.hand_out_deliveries)
        watch_chores.register("checkpoints", anchoring.keep_checkpoints)
        watch_chores.register("anchors", anchoring.keep_anchors)
        watch_chores.register("trail checks", chores.hand_out_trail_check)
        watch_chores.register("addresses", chores.forget_addresses)

"""batches: what we do, what we see, what we undo."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Batches, tenant upgrades, the journal, samples, rulings and rollbacks."""

    name = "batches"
    verbose_name = "Batches"

    def ready(self) -> None:
        """Let the field-level diff watch batches."""
        from auditlog.registry import auditlog

        from batches import drill_schedules, rehearsing, watch_chores
        from batches.models import Batch, DrillSchedule

        auditlog.register(Batch)
        auditlog.register(DrillSchedule)
        watch_chores.register("rehearsals", rehearsing.end_rehearsals)
        watch_chores.register("drill schedules", drill_schedules.run_due)

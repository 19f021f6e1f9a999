"""batches: what we do, what we see, what we undo."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Batches, tenant upgrades, the journal, samples, rulings and rollbacks."""

    name = "batches"
    verbose_name = "Batches"

    def ready(self) -> None:
        """Let the field-level diff watch batches, and changes of running plans end in time."""
        from auditlog.registry import auditlog
        from django.contrib.auth.signals import user_logged_out
        from django.contrib.sessions.models import Session
        from django.db.models.signals import post_delete

        # Importing adjust_ends also names what an approved loosening does.
        from batches import (
            adjust_ends,
            break_glass_review,
            drill_schedules,
            history_recording,
            looks_retention,
            open_sockets,
            pushed_retention,
            readiness,
            rehearsing,
            watch_chores,
        )
        from batches.models import Batch, DrillSchedule
        from plans import kpi_advice

        user_logged_out.connect(
            open_sockets.end_with_log_out, dispatch_uid="console.sockets_logged_out"
        )
        post_delete.connect(
            open_sockets.end_with_session, sender=Session, dispatch_uid="console.sockets_ended"
        )
        # The quote at the gate is a fact of the trail already.
        auditlog.register(Batch, exclude_fields=["quote"])
        auditlog.register(DrillSchedule)
        watch_chores.register("rehearsals", rehearsing.end_rehearsals)
        watch_chores.register("drill schedules", drill_schedules.run_due)
        watch_chores.register("kpi history", history_recording.hand_out)
        watch_chores.register("old looks", looks_retention.hand_out)
        watch_chores.register("adjustments", adjust_ends.end_what_is_over)
        watch_chores.register("break-glass reviews", break_glass_review.tell_overdue)
        kpi_advice.register("dictionary", readiness.kpi_problems)
        watch_chores.register("pushed data", pushed_retention.forget_what_is_old)

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

        # Importing adjust.endings also names what an approved loosening does.
        from batches.adjust import endings
        from batches.break_glass import review
        from batches.drills import rehearsing, schedules
        from batches.history import recording
        from batches.live import open_sockets
        from batches.looks import retention as looks_retention
        from batches.models import Batch, DrillSchedule
        from batches.pushes import retention as pushed_retention
        from batches.rollout import readiness
        from batches.watch import chores
        from plans.policies import kpi_advice

        user_logged_out.connect(
            open_sockets.end_with_log_out, dispatch_uid="console.sockets_logged_out"
        )
        post_delete.connect(
            open_sockets.end_with_session, sender=Session, dispatch_uid="console.sockets_ended"
        )
        # The quote at the gate is a fact of the trail already.
        auditlog.register(Batch, exclude_fields=["quote"])
        auditlog.register(DrillSchedule)
        chores.register("rehearsals", rehearsing.end_rehearsals)
        chores.register("drill schedules", schedules.run_due)
        chores.register("kpi history", recording.hand_out)
        chores.register("old looks", looks_retention.hand_out)
        chores.register("adjustments", endings.end_what_is_over)
        chores.register("break-glass reviews", review.tell_overdue)
        kpi_advice.register("dictionary", readiness.kpi_problems)
        chores.register("pushed data", pushed_retention.forget_what_is_old)

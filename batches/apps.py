"""batches: what we do, what we see, what we undo."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Batches, tenant upgrades, the journal, samples, rulings and rollbacks."""

    name = "batches"
    verbose_name = "Batches"

    def ready(self) -> None:
        """Let the field-level diff watch batches."""
        from auditlog.registry import auditlog

        from batches.models import Batch

        # The quote at the gate is a fact of the trail already.
        auditlog.register(Batch, exclude_fields=["quote"])

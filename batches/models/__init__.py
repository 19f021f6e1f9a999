"""The rows of batches, by noun."""

from batches.models.batch import Batch, DeployerCall, TenantUpgrade
from batches.models.drill_record import DrillApproval, DrillSchedule, RollbackDrill
from batches.models.history import (
    JudgedLook,
    KpiHistoryCursor,
    KpiRollup,
    PlaceboRun,
    SoakOutlook,
)
from batches.models.observed import GuardrailState, KpiBaseline, KpiCursor, KpiSample, Ruling
from batches.models.rollback_record import AftermathCursor, AftermathSample, Rollback
from batches.models.runtime import Alert, DeployerMeasurement, Heartbeat, Lease

__all__ = [
    "AftermathCursor",
    "AftermathSample",
    "Alert",
    "Batch",
    "DeployerCall",
    "DeployerMeasurement",
    "DrillApproval",
    "DrillSchedule",
    "GuardrailState",
    "Heartbeat",
    "JudgedLook",
    "KpiBaseline",
    "KpiCursor",
    "KpiHistoryCursor",
    "KpiRollup",
    "KpiSample",
    "Lease",
    "PlaceboRun",
    "Rollback",
    "RollbackDrill",
    "Ruling",
    "SoakOutlook",
    "TenantUpgrade",
]

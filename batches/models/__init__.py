"""The rows of batches, by noun."""

from batches.models.batch import Batch, DeployerCall, TenantUpgrade
from batches.models.drill_record import DrillApproval, DrillSchedule, RollbackDrill
from batches.models.observed import GuardrailState, KpiCursor, KpiSample, Ruling
from batches.models.pushed import (
    PipelineEvent,
    PipelineRun,
    PushedSeries,
    PushedSource,
    PushReceipt,
    SourceState,
)
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
    "KpiCursor",
    "KpiSample",
    "Lease",
    "PipelineEvent",
    "PipelineRun",
    "PushReceipt",
    "PushedSeries",
    "PushedSource",
    "Rollback",
    "RollbackDrill",
    "Ruling",
    "SourceState",
    "TenantUpgrade",
]

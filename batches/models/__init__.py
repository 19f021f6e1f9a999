"""The rows of batches, by noun."""

from batches.models.batch import Batch, DeployerCall, TenantUpgrade
from batches.models.drill_record import DrillApproval, DrillSchedule, RollbackDrill
from batches.models.evidence_record import EvidenceBaseline, EvidenceLook, EvidenceState
from batches.models.fit_record import KpiFit
from batches.models.history import (
    JudgedLook,
    KpiHistoryCursor,
    KpiRollup,
    PlaceboRun,
    SoakOutlook,
)
from batches.models.observed import (
    GuardrailState,
    KpiBaseline,
    KpiCourse,
    KpiCursor,
    KpiSample,
    Ruling,
)
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
    "EvidenceBaseline",
    "EvidenceLook",
    "EvidenceState",
    "GuardrailState",
    "Heartbeat",
    "JudgedLook",
    "KpiBaseline",
    "KpiCourse",
    "KpiCursor",
    "KpiFit",
    "KpiHistoryCursor",
    "KpiRollup",
    "KpiSample",
    "Lease",
    "PipelineEvent",
    "PipelineRun",
    "PlaceboRun",
    "PushReceipt",
    "PushedSeries",
    "PushedSource",
    "Rollback",
    "RollbackDrill",
    "Ruling",
    "SoakOutlook",
    "SourceState",
    "TenantUpgrade",
]

"""What is measured of a deployer's pace: how long its newest calls and looks took."""

from collections.abc import Sequence

from batches.models import DeployerMeasurement

MEASURED_CALLS = 200
"""How many of the newest durations a deployer's measurement keeps."""


def note_durations(deployer: str, direction: str, durations: Sequence[float]) -> None:
    """Add the seconds of calls (or looks: "observe") to what is known of a deployer's pace."""
    if not durations:
        return
    # The one row that plans share; nothing that another plan holds is waited for after it.
    row, _made = DeployerMeasurement.objects.select_for_update(no_key=True).get_or_create(
        deployer=deployer, direction=direction
    )
    row.count += len(durations)
    row.durations = [*row.durations, *(round(d, 4) for d in durations)][-MEASURED_CALLS:]
    row.save()

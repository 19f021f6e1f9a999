"""Tell people of tenants that somebody else took to the target: a rollback leaves them there."""

from collections.abc import Mapping
from datetime import datetime

from batches.alerting import alerts
from batches.models import Alert
from plans.counted_words import counted
from plans.models import Plan

KIND = "found_upgraded"
NAMED = 3


def found_words(found: Mapping[str, str]) -> str:
    """Say how many were not called, in a clause."""
    return f"{counted(len(found), 'tenant was', 'tenants were')} on it already and not called"


def tell_found(plan: Plan, found: Mapping[str, str], *, target: str, now: datetime) -> None:
    """Fire the plan's alert, in the transaction that records what was seen.

    `found`: each tenant with the version that it was believed to run. An alert that is open takes
    in who is found later.
    """
    told = alerts.fire(
        plan=plan,
        kind=KIND,
        sentence=_sentence(found, target),
        now=now,
        payload={"tenants": sorted(found), "believed": dict(found)},
    )
    believed = {**told.payload["believed"], **found}
    if believed != told.payload["believed"]:
        Alert.objects.filter(pk=told.pk).update(
            sentence=_sentence(believed, target),
            payload={"tenants": sorted(believed), "believed": believed},
        )


def _sentence(believed: Mapping[str, str], target: str) -> str:
    named = [f"{tenant} (believed on {believed[tenant]})" for tenant in sorted(believed)]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        f"{', '.join(named[:NAMED])}{more} ran {target} before this plan called: somebody else"
        " upgraded them, or this console was restored from an older copy. A rollback of this plan"
        f" leaves them on {target}; a plan of their own takes them back"
    )

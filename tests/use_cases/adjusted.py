"""Words of the tests of runtime adjustment: looks that are stored, and changes by short forms."""

from datetime import datetime, timedelta
from typing import Any

from batches.adjust.apply import Adjusted, adjust
from batches.adjust.wanted import ChangeSet
from batches.looks.kpi_points import RatioPoint
from batches.models import KpiSample, TenantUpgrade
from batches.sources.increments import LookSample
from plans.models import Plan
from tests.builders import policy_text
from tests.web.api_scene import now

THREE = """
      - {name: canary, percentage: 20, soak_minutes: 1}
      - {name: wave-1, percentage: 30, soak_minutes: 2}
      - {name: wave-2, percentage: 50, soak_minutes: 3}"""
RULES = """
guardrails: [{kpi: error_rate, at_most: 5}]
limits: {look_seconds: 5}
"""


def three_waves(*, more: str = RULES, batches: str = THREE) -> str:
    """Return a policy of three batches with one guardrail."""
    return policy_text("waves", batches=batches, more=more)


def read_back(plan: Plan) -> None:
    """Let the upgraded tenants have been read back just now: their looks count from here on."""
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(upgraded_at=now())


def looked(
    plan: Plan, *bad: int, end: datetime | None = None, kpi: str = "error_rate", total: int = 100
) -> None:
    """Store one look per number: so many bad requests of a hundred, the newest just now."""
    end = end or now()
    for back, count in enumerate(reversed(bad)):
        at = end - timedelta(seconds=5 * back)
        sample = LookSample(kpi, at, canary={"acorn": RatioPoint(count, total)}, source="fleet")
        KpiSample.objects.create(
            plan=plan, kpi=kpi, at=at, source="fleet", ok=True, look=sample.to_json()
        )


def change(scene: Any, plan: Plan, *, by: Any = None, **given: Any) -> Adjusted:
    """Adjust the plan by the short form; Mara does it because of a ticket."""
    at = given.pop("at", None) or now()
    options = {name: given.pop(name) for name in ("expiry", "split", "reason") if name in given}
    return adjust(
        plan_id=plan.pk,
        wanted=ChangeSet(**given),
        by=by or scene.mara,
        reason=options.pop("reason", "OPS-7"),
        now=at,
        via="page",
        **options,
    )

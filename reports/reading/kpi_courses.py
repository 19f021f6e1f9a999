"""The course of each Kpi of a plan for its report: the same points that its live page shows."""

from collections import defaultdict
from collections.abc import Sequence

from batches.guardrails.limits_in_force import limit_steps, policies_in_force
from batches.guardrails.pinned_policy import definition_of
from batches.looks.charts import USUAL_QUANTILE
from batches.looks.kpi_courses import Course, courses_of
from plans.models import Plan
from reports.document.facts_course import KpiFact, KpiLimit, KpiPoint


def kpi_courses(plan: Plan, *, tenants: int) -> tuple[KpiFact, ...]:
    """Return the courses of the watched Kpis, in a constant number of queries."""
    courses = courses_of(plan, tenants=tenants)
    limits = _limits(plan)
    return tuple(_fact(kpi, courses[kpi], limits.get(kpi, ())) for kpi in sorted(courses))


def _limits(plan: Plan) -> dict[str, tuple[KpiLimit, ...]]:
    limits: dict[str, tuple[KpiLimit, ...]] = defaultdict(tuple)
    for step in limit_steps(policies_in_force(plan)):
        value = step.limit.value if step.drawn else None
        limits[step.limit.kpi] += (KpiLimit(value, step.limit.label, step.since, step.until),)
    return limits


def _fact(kpi: str, course: Course, limits: Sequence[KpiLimit]) -> KpiFact:
    definition = definition_of(kpi)
    histogram = definition is not None and definition.kind == "histogram"
    return KpiFact(
        name=kpi,
        meaning=f"{USUAL_QUANTILE * 100:g} % are faster" if histogram else "",
        unit=definition.unit if definition is not None else "",
        source=course.source,
        limits=tuple(limits),
        looks=course.looks,
        blind=course.blind,
        points=tuple(
            KpiPoint(
                one.at,
                one.value,
                one.control,
                cause=one.cause,
                drawn=one.value is not None or one.control is not None,
            )
            for one in course.points
        ),
    )

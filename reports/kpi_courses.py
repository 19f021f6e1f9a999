"""Read the course of each Kpi of a plan: the same points that its live page shows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from batches.charts import USUAL_QUANTILE, points_of
from batches.limits_in_force import limit_steps, policies_in_force
from batches.models import KpiSample
from batches.pinned_policy import definition_of
from plans.models import Plan
from reports.report_facts_course import KpiFact, KpiLimit, KpiPoint

# A look of 10,000 tenants is a long row: few of them are read there, all of them in small plans.
MOST_POINTS_READ = 250_000
MOST_LOOKS, FEWEST_LOOKS = 300, 24
ROWS_AT_ONCE = 20


@dataclass(slots=True)
class _Course:
    source: str = ""
    looks: list[tuple[int, datetime, bool, str]] = field(default_factory=list)
    points: list[KpiPoint] = field(default_factory=list)


def kpi_courses(plan: Plan, *, tenants: int) -> tuple[KpiFact, ...]:
    """Return the courses of the watched Kpis, in a constant number of queries."""
    courses: dict[str, _Course] = defaultdict(_Course)
    rows = KpiSample.objects.filter(plan=plan).order_by("at", "pk")
    for pk, kpi, source, at, ok, cause in rows.values_list(
        "pk", "kpi", "source", "at", "ok", "cause"
    ):
        courses[kpi].source = source
        courses[kpi].looks.append((pk, at, ok, cause))
    room = max(FEWEST_LOOKS, min(MOST_LOOKS, MOST_POINTS_READ // max(1, tenants)))
    _read_points(courses, room)
    limits = _limits(plan)
    return tuple(_fact(kpi, courses[kpi], limits.get(kpi, ())) for kpi in sorted(courses))


def _read_points(courses: dict[str, _Course], room: int) -> None:
    chosen = []
    for course in courses.values():
        step = -(-len(course.looks) // room)
        # Counted from the end: the newest look, after which the plan ended, always belongs to it.
        for number, (pk, at, ok, cause) in enumerate(reversed(course.looks)):
            if not ok:
                course.points.append(KpiPoint(at, None, cause=cause))
            elif number % step == 0:
                chosen.append(pk)
    for row in KpiSample.objects.filter(pk__in=chosen).iterator(chunk_size=ROWS_AT_ONCE):
        lines = {point.line: point.value for point in points_of(row)}
        value = lines.get("canary", lines.get(f"canary@{USUAL_QUANTILE:g}"))
        control = lines.get("control", lines.get(f"control@{USUAL_QUANTILE:g}"))
        # No request between two looks is no lack of data; there is just nothing to draw.
        if value is not None or control is not None:
            courses[row.kpi].points.append(KpiPoint(row.at, value, control, drawn=True))
    for course in courses.values():
        course.points.sort(key=lambda point: point.at)


def _limits(plan: Plan) -> dict[str, tuple[KpiLimit, ...]]:
    limits: dict[str, tuple[KpiLimit, ...]] = defaultdict(tuple)
    for step in limit_steps(policies_in_force(plan)):
        value = step.limit.value if step.drawn else None
        limits[step.limit.kpi] += (KpiLimit(value, step.limit.label, step.since, step.until),)
    return limits


def _fact(kpi: str, course: _Course, limits: Sequence[KpiLimit]) -> KpiFact:
    definition = definition_of(kpi)
    histogram = definition is not None and definition.kind == "histogram"
    return KpiFact(
        name=kpi,
        meaning=f"{USUAL_QUANTILE * 100:g} % are faster" if histogram else "",
        unit=definition.unit if definition is not None else "",
        source=course.source,
        limits=tuple(limits),
        looks=len(course.looks),
        blind=sum(1 for _pk, _at, ok, _cause in course.looks if not ok),
        points=tuple(course.points),
    )

"""The course of each Kpi of a plan as its report draws it: read from its looks, or as it was kept.

Looks are dropped some time after a plan's end. Their course is kept before, so that a report that
is made later, of a plan that went back after all, draws what the first one drew.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Max

from batches.looks.charts import USUAL_QUANTILE, points_of
from batches.models import KpiCourse, KpiSample
from plans.models import Plan

# A look of 10,000 tenants is a long row: few of them are read there, all of them in small plans.
MOST_POINTS_READ = 250_000
MOST_LOOKS, FEWEST_LOOKS = 300, 24
ROWS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class CoursePoint:
    """One look of a course: both sides, or why there was nothing."""

    at: datetime
    value: float | None
    control: float | None = None
    cause: str = ""

    def to_json(self) -> list[Any]:
        """Return it as a row keeps it."""
        return [self.at.isoformat(), self.value, self.control, self.cause]

    @classmethod
    def from_json(cls, kept: list[Any]) -> "CoursePoint":
        """Return the point that to_json wrote."""
        at, value, control, cause = kept
        return cls(datetime.fromisoformat(at), value, control, cause)


@dataclass(slots=True)
class Course:
    """All looks at one Kpi, counted, and some of them drawn."""

    source: str = ""
    looks: int = 0
    blind: int = 0
    points: list[CoursePoint] = field(default_factory=list)


def courses_of(plan: Plan, *, tenants: int) -> dict[str, Course]:
    """Return the courses by Kpi, in a constant number of queries."""
    kept = list(KpiCourse.objects.filter(plan=plan))
    courses = _read(plan, tenants, after=max((row.up_to for row in kept), default=0))
    for row in kept:
        course = courses.setdefault(row.kpi, Course(source=row.source))
        course.looks += row.looks
        course.blind += row.blind
        course.points = [*map(CoursePoint.from_json, row.points), *course.points]
    return courses


def keep_courses(plan: Plan, *, tenants: int) -> None:
    """Keep the courses of looks that are about to be dropped; those kept before stay in them.

    Under the plan's lock, before the first of them goes; what was kept counts once.
    """
    newest = KpiSample.objects.filter(plan=plan).aggregate(pk=Max("pk"))["pk"] or 0
    if KpiCourse.objects.filter(plan=plan, up_to__gte=newest).exists():
        return
    for kpi, course in courses_of(plan, tenants=tenants).items():
        KpiCourse.objects.update_or_create(
            plan=plan,
            kpi=kpi,
            defaults={
                "source": course.source,
                "looks": course.looks,
                "blind": course.blind,
                "points": [point.to_json() for point in course.points],
                "up_to": newest,
            },
        )


def _read(plan: Plan, tenants: int, *, after: int) -> dict[str, Course]:
    courses: dict[str, Course] = defaultdict(Course)
    rows: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    looks = KpiSample.objects.filter(plan=plan, pk__gt=after).order_by("at", "pk")
    for pk, kpi, source, at, ok, cause in looks.values_list(
        "pk", "kpi", "source", "at", "ok", "cause"
    ):
        course = courses[kpi]
        course.source = source
        course.looks += 1
        rows[kpi].append((pk, ok))
        if not ok:
            course.blind += 1
            course.points.append(CoursePoint(at, None, cause=cause))
    room = max(FEWEST_LOOKS, min(MOST_LOOKS, MOST_POINTS_READ // max(1, tenants)))
    chosen = []
    for of_kpi in rows.values():
        step = -(-len(of_kpi) // room)
        # Counted from the end: the newest look, after which the plan ended, always belongs to it.
        chosen += [pk for n, (pk, ok) in enumerate(reversed(of_kpi)) if ok and n % step == 0]
    for row in KpiSample.objects.filter(pk__in=chosen).iterator(chunk_size=ROWS_AT_ONCE):
        lines = {point.line: point.value for point in points_of(row)}
        value = lines.get("canary", lines.get(f"canary@{USUAL_QUANTILE:g}"))
        control = lines.get("control", lines.get(f"control@{USUAL_QUANTILE:g}"))
        # No request between two looks is no lack of data; there is just nothing to draw.
        if value is not None or control is not None:
            courses[row.kpi].points.append(CoursePoint(row.at, value, control))
    for course in courses.values():
        course.points.sort(key=lambda point: point.at)
    return dict(courses)

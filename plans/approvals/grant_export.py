"""The signed approvals in exports of the trail, for whoever verifies it elsewhere."""

from collections.abc import Iterator

from django.db.models import QuerySet

from plans.models import Grant
from plans.trail.export import EVERYTHING, Excerpt, Line, register

AT_ONCE = 500
LENGTH_OF_ID = 36


def connect() -> None:
    """Let every export hold the grants of its plans, once, at start."""
    register("grants", _lines)


def _lines(excerpt: Excerpt, named: frozenset[str]) -> Iterator[Line]:
    for grants in _parts(excerpt, named):
        for grant in grants.order_by("issued_at", "jti").iterator(chunk_size=AT_ONCE):
            yield {"grant": grant.to_json()}


def _parts(excerpt: Excerpt, named: frozenset[str]) -> Iterator[QuerySet[Grant]]:
    """Yield all grants, those of the plan, or those that the events of the period name."""
    kind, _, plan = excerpt.stream.partition(":")
    if excerpt.scope == EVERYTHING:
        yield Grant.objects.all()
    elif kind == "plan":
        yield Grant.objects.filter(plan_id=plan)
    elif not excerpt.stream:
        ids = sorted(name for name in named if len(name) == LENGTH_OF_ID)
        for begin in range(0, len(ids), AT_ONCE):
            yield Grant.objects.filter(jti__in=ids[begin : begin + AT_ONCE])

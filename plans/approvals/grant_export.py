"""The signed approvals in exports of the trail, for whoever verifies it elsewhere."""

from collections.abc import Iterator

from plans.models import Grant
from plans.trail.export import EVERYTHING, Excerpt, Line, register


def connect() -> None:
    """Let every export hold the grants of its plans, once, at start."""
    register("grants", _lines)


def _lines(excerpt: Excerpt) -> Iterator[Line]:
    grants = Grant.objects.order_by("issued_at", "jti")
    if excerpt.scope != EVERYTHING:
        kind, _, plan = excerpt.stream.partition(":")
        if kind != "plan":
            return
        grants = grants.filter(plan_id=plan)
    for grant in grants.iterator(chunk_size=2000):
        yield {"grant": grant.to_json()}

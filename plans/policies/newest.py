"""The newest of each policy: what new plans take."""

from django.db.models import OuterRef, QuerySet, Subquery

from plans.models import Policy

REHEARSALS = "rollback drill"
"""The source of policies that the console writes for rehearsals of rollbacks."""


def newest_policies() -> QuerySet[Policy]:
    """Return the newest row of each policy name."""
    newest = (
        Policy.objects.filter(name=OuterRef("name")).order_by("-in_force_since", "-pk").values("pk")
    )
    return Policy.objects.filter(pk=Subquery(newest[:1])).order_by("name")


def written_by_people() -> QuerySet[Policy]:
    """Return the newest of each policy that people choose from: none of a rehearsal's own."""
    return newest_policies().exclude(source=REHEARSALS)

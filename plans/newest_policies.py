"""The newest of each policy: what new plans take."""

from django.db.models import OuterRef, QuerySet, Subquery

from plans.models import Policy


def newest_policies() -> QuerySet[Policy]:
    """Return the newest row of each policy name."""
    newest = (
        Policy.objects.filter(name=OuterRef("name")).order_by("-in_force_since", "-pk").values("pk")
    )
    return Policy.objects.filter(pk=Subquery(newest[:1])).order_by("name")

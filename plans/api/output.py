"""What the API says about plans and their trail."""

from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone
from rest_framework import serializers

from plans.api.acts import possible_acts
from plans.lifecycle import PLAN
from plans.models import Plan, PlanRevision


def described(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Return the plans with what their current revision says, in one query."""
    current = PlanRevision.objects.filter(plan=OuterRef("pk"), number=OuterRef("revision"))
    return plans.select_related("plugin", "release", "author").annotate(
        plugin_key=F("plugin__key"),
        to_version=F("release__version"),
        policy_name=Subquery(current.values("policy_name")[:1]),
        policy_digest=Subquery(current.values("policy_digest")[:1]),
        approvals=Subquery(current.values("approvals")[:1]),
        digest=Subquery(current.values("plan_digest")[:1]),
    )


class OwnerOutput(serializers.Serializer[Plan]):
    """Who answers for a plan."""

    name = serializers.CharField(source="owner_name")
    email = serializers.CharField(source="owner_email", help_text="Empty where none is known.")


class PlanRow(serializers.Serializer[Plan]):
    """A plan as the list shows it; needs a `described` one."""

    plan = serializers.UUIDField(source="pk")
    external_id = serializers.CharField()
    plugin = serializers.CharField(source="plugin_key")
    to_version = serializers.CharField()
    irreversible = serializers.BooleanField(
        source="release.irreversible", help_text="The release cannot be taken back."
    )
    policy = serializers.CharField(source="policy_name")
    policy_digest = serializers.CharField()
    approvals = serializers.CharField()
    deployer = serializers.CharField()
    state = serializers.ChoiceField(choices=PLAN.choices())
    revision = serializers.IntegerField()
    digest = serializers.CharField()
    owner = OwnerOutput(source="*")
    author = serializers.CharField(source="author.name")
    note = serializers.CharField()
    waiting_for = serializers.CharField()
    not_before = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    submitted_at = serializers.DateTimeField(allow_null=True)
    approved_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    resume_by = serializers.DateTimeField(allow_null=True)
    pause_deadline = serializers.DateTimeField(allow_null=True)
    stopped_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class PlanOutput(PlanRow):
    """A plan with what the asking person (`user` of the context) can do about it now."""

    possible = serializers.SerializerMethodField()

    def get_possible(self, plan: Plan) -> list[str]:
        """Return what the asking person can ask of the plan now."""
        return possible_acts(plan, self.context["user"], at=timezone.now())


class EventOutput(serializers.Serializer[Any]):
    """One fact of the trail."""

    seq = serializers.IntegerField()
    kind = serializers.CharField()
    at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor_name")
    via = serializers.CharField()
    sentence = serializers.CharField()
    reason = serializers.CharField(help_text="The person's words.")
    on_behalf = serializers.CharField(help_text="For whom, as a machine says or a command knows.")
    token = serializers.CharField(help_text="The API token that was used.")
    trace_id = serializers.CharField(help_text="The W3C trace of the request.")
    grant = serializers.CharField(help_text="The approval grant that was used up.")
    payload = serializers.JSONField()
    hash = serializers.CharField()


class EventPage(serializers.Serializer[Any]):
    """Events after `since`, with the state the plan was in when they were read."""

    plan = serializers.UUIDField()
    state = serializers.ChoiceField(choices=PLAN.choices())
    events = EventOutput(many=True)
    last = serializers.IntegerField(help_text="Ask on with since=<last>.")
    more = serializers.BooleanField(help_text="Ask again at once: there are more.")


class ImportRow(serializers.Serializer[Any]):
    """What an import makes of one row."""

    key = serializers.CharField()
    status = serializers.ChoiceField(choices=["new", "changed", "same", "wrong"])
    line = serializers.IntegerField()
    why = serializers.CharField(allow_blank=True)


class ImportOutput(serializers.Serializer[Any]):
    """What an import makes of every row; all or nothing."""

    written = serializers.BooleanField()
    rows = ImportRow(many=True)


class ReleaseOutput(serializers.Serializer[Any]):
    """A release whose signature was verified."""

    release = serializers.UUIDField(source="pk")
    plugin = serializers.CharField(source="plugin.key")
    version = serializers.CharField()
    digest = serializers.CharField()
    signed_by = serializers.CharField(source="signed_by.key_id")
    irreversible = serializers.BooleanField()
    verified_at = serializers.DateTimeField()


class ProblemError(serializers.Serializer[Any]):
    """One thing that is wrong."""

    field = serializers.CharField(required=False)
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Why the answer is no (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = ProblemError(many=True)  # type: ignore[assignment]
    trace_id = serializers.CharField(help_text="Name it when you ask somebody about this answer.")
    possible = serializers.ListField(child=serializers.CharField(), required=False)


PROBLEMS: dict[tuple[int, str], type[Problem]] = {
    (status, "application/problem+json"): Problem for status in (400, 401, 403, 404, 409, 422, 503)
}

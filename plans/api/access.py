"""What every endpoint begins with: who asks, whether the token reaches that far, which plan."""

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from plans.api.input import StrictSerializer
from plans.api.lists import NothingAsked, asked_of
from plans.models import ApiToken, Plan, User
from plans.people.permissions import ROLES_OF_ACTION, require
from plans.people.token_scopes import covers
from plans.refusal import NotAllowed, NotFound

PLAN_PARAMETER = OpenApiParameter(
    "plan", str, OpenApiParameter.PATH, description="The plan's uuid or its external id."
)


class ConsoleView(APIView):
    """An endpoint that names, per method, the action that it takes.

    A plan that its address names is looked for, and the right to the action is asked for, before
    the endpoint reads what was sent: whoever may not do a thing is not told how to ask for it.
    """

    token_actions: ClassVar[dict[str, str]] = {"GET": "view"}
    query: ClassVar[type[StrictSerializer]] = NothingAsked
    """What the address of a GET may ask; `asked` is then what it does."""
    asked: dict[str, Any]
    judged_by_use_case: ClassVar[bool] = False
    """Whether the action alone does not say who may, so that only the token is asked about it."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a token that was narrowed to other work, and people without the right."""
        super().initial(request, *args, **kwargs)
        self._look_at(request, kwargs)
        if request.method in ("GET", "HEAD") and hasattr(self, "get"):
            # Where there are several forms, the framework's own `format` chooses one.
            beside = {"format"} if len(self.renderer_classes) > 1 else set()
            self.asked = asked_of(self.query, request, beside=beside)

    def _look_at(self, request: Request, kwargs: dict[str, Any]) -> None:
        action = self.token_actions.get(request.method or "")
        if action is None:
            return
        require_scope(request, action)
        # What is no console role's (approve, override a freeze) the use case judges.
        if action not in ROLES_OF_ACTION or self.judged_by_use_case:
            return
        if request.method == "GET" and kwargs:
            # Found through the door by the endpoint itself: to a stranger it does not exist.
            return
        plan = find_plan(request, kwargs["plan"]) if "plan" in kwargs else None
        require(asking(request), action, plan)


def require_scope(request: Request, action: str) -> None:
    """Raise NotAllowed when the request's token was narrowed to other work."""
    token = request.auth
    if isinstance(token, ApiToken) and not covers(token.scopes, action):
        raise NotAllowed(
            f"This token is for {', '.join(token.scopes)} only; '{action}' is not part of it."
        )


def asking(request: Request) -> User:
    """Return the person who asks; the permission class has let in nobody else."""
    if not isinstance(request.user, User):
        raise NotAllowed("Log in first.")
    return request.user


def via(request: Request) -> str:
    """Return by which door the request came, for the trail."""
    return "cli" if request.headers.get("User-Agent", "").startswith("powerx/") else "api"


def taken(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the request's members as the serializer shapes them; raise on anything else."""
    shaped = serializer(data=request.data)
    shaped.is_valid(raise_exception=True)
    return dict(shaped.validated_data)


def find_plan(request: Request, name: str) -> Plan:
    """Return the plan of that uuid or external id; NotFound also when it is not theirs to see."""
    plans = Plan.objects.visible_to(asking(request)).select_related("plugin", "release", "author")
    # The uuid first: nobody may catch another plan's commands by an external id like its uuid.
    plan_id = _as_uuid(name)
    plan = plans.filter(pk=plan_id).first() if plan_id is not None else None
    plan = plan or plans.filter(external_id=name).first()
    if plan is None:
        raise NotFound(f"There is no plan '{name}'.")
    return plan


def _as_uuid(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None

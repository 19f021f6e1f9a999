"""What the tests of pages share: people at their browsers, and plans in every stage of approval."""

from typing import Any

from django.test import Client

from batches.rollout import planning
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Plan, User
from tests.web.api_scene import Scene, now


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def said(response: Any) -> str:
    """Return the messages of a response that was followed to its page."""
    return " ".join(str(message) for message in response.context["messages"])


def text_of(response: Any) -> str:
    """Return the page's text with single spaces."""
    return " ".join(response.content.decode().split())


def draft(scene: Scene, name: str = "winter", **fields: Any) -> Plan:
    values: dict[str, Any] = {
        "plugin": "pay",
        "to_version": "1.5.0",
        "policy": "safe-rollout",
        "deployer": "fleet",
        "tenants": TenantChoice(all=True),
        "external_id": name,
    }
    return planning.draft_plan(
        draft=PlanDraft(**values | fields), author=scene.mara, now=now(), via="page"
    )


def submitted(scene: Scene, name: str = "winter", **fields: Any) -> Plan:
    plan = draft(scene, name, **fields)
    return planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")


def state_of(plan: Plan) -> str:
    """Return the plan's state as the database has it."""
    return str(Plan.objects.values_list("state", flat=True).get(pk=plan.pk))

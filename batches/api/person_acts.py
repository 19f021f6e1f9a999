"""REST: what a person does to tenants and batches of a plan that is under way, as one table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.output import PlanDetail
from batches.api.plans import answer_detail
from batches.rollout import leaving_out, settling
from batches.rollout.retrying import retry
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import NeededReasonInput, StrictSerializer
from plans.api.output import PROBLEMS
from plans.api.step_up import CodeInput, proof_along
from plans.models import Plan


def _tenants(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(
        source="tenant_keys",
        child=serializers.CharField(max_length=63),
        min_length=1,
        max_length=10_000,
        **kwargs,
    )


def _batch(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(source="batch_number", min_value=1, **kwargs)


class RetryInput(CodeInput):
    """Whom to call again: without names everybody who failed (in that batch).

    Leaving the quarantine needs the code.
    """

    tenants = _tenants(required=False)
    batch = _batch(required=False)
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")


class ExcludeInput(NeededReasonInput):
    """Whom to leave out, and why."""

    tenants = _tenants()


class BatchInput(NeededReasonInput):
    """Which batch, and why."""

    batch = _batch()


class UnskipInput(StrictSerializer):
    """Which batch to bring back."""

    batch = _batch()
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")


class SettleInput(NeededReasonInput):
    """What became of tenants that needed a hand, and how that is known."""

    tenants = _tenants()
    outcome = serializers.ChoiceField(choices=["rolled_back", "upgraded", "excluded"])


@dataclass(frozen=True, slots=True)
class PersonAct:
    """An act: its address, what a token must be wide enough for, what it takes, its use case."""

    name: str
    needs: str
    summary: str
    takes: type[StrictSerializer]
    use_case: Callable[..., Plan]


PERSON_ACTS = (
    PersonAct(
        "retry", "retry", "Have failed tenants called again, and only those", RetryInput, retry
    ),
    PersonAct(
        "exclude",
        "exclude",
        "Leave tenants out of a plan that is under way",
        ExcludeInput,
        leaving_out.exclude,
    ),
    PersonAct(
        "skip", "skip", "Skip a batch that has not begun", BatchInput, leaving_out.skip_batch
    ),
    PersonAct(
        "unskip", "skip", "Bring a skipped batch back", UnskipInput, leaving_out.unskip_batch
    ),
    PersonAct(
        "jump",
        "skip",
        "Jump to a batch: those before it that have not begun are skipped",
        BatchInput,
        leaving_out.jump,
    ),
    PersonAct(
        "skip-rest",
        "skip",
        "Skip the rest: nobody else is upgraded, nothing is taken back",
        NeededReasonInput,
        leaving_out.skip_rest,
    ),
    PersonAct("settle", "settle", "Settle tenants that need a hand", SettleInput, settling.settle),
)


def view_of(act: PersonAct) -> type[ConsoleView]:
    """Return the endpoint of one act: find the plan, do it, answer with the plan as it is now."""

    class PlanAct(ConsoleView):
        token_actions: ClassVar[dict[str, str]] = {"POST": act.needs}

        @extend_schema(
            summary=act.summary,
            description=act.takes.__doc__,
            parameters=[PLAN_PARAMETER],
            request=act.takes,
            responses={200: PlanDetail, **PROBLEMS},
        )
        def post(self, request: Request, plan: str) -> Response:
            found = find_plan(request, plan)
            given = taken(act.takes, request)
            now = timezone.now()
            do = partial(
                act.use_case, plan_id=found.pk, by=asking(request), now=now, via=via(request)
            )
            if "code" not in given:
                return answer_detail(request, do(**given))
            with proof_along(request, given, now=now) as proof:
                done = do(**given, step_up=proof)
            return answer_detail(request, done)

    return PlanAct

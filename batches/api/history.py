"""REST: replays under other rules, what soaks find, placebo backtests, what is recorded."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.configured import dictionary
from batches.evidence.soak_outlook import kept_outlook
from batches.history.kpi_history import standing
from batches.models import PlaceboRun
from batches.placebo.beside import words_of
from batches.placebo.runs import MOST_ROLLOUTS, USUAL_ROLLOUTS, ask_placebo, newest_placebo
from batches.replay.answers import counterfactual_answer, tally_answer
from batches.replay.counterfactual import own_policy, replay_under, scaled, with_thresholds
from batches.replay.course import differences, left_out
from batches.replay.other_rules import evidence_of, named_policy, thresholds_of, with_evidence
from batches.replay.past import tally
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS
from plans.drafting.drafting import latest_policy
from plans.pages.access import visible_plans
from plans.people.permissions import require
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput, NotFound

PLANS_AT_ONCE = 50


class RulesQuery(StrictSerializer):
    """Other rules to judge by."""

    policy = serializers.CharField(
        default="", allow_blank=True, help_text="A policy's name; the plan's own by default."
    )
    threshold = serializers.ListField(
        child=serializers.CharField(),
        default=list,
        help_text="KPI=NUMBER: another number for the guardrails of a Kpi, in their unit.",
    )
    evidence = serializers.ListField(
        child=serializers.CharField(),
        default=list,
        help_text="KEY=VALUE: another evidence test. Keys: risk, ratio, points, detect, power"
        " (numbers), action, kpis (with commas).",
    )


class WouldBeOutput(serializers.Serializer[Any]):
    """What one guardrail would have said."""

    guardrail = serializers.CharField()
    kpi = serializers.CharField()
    action = serializers.CharField()
    scope = serializers.CharField(help_text="plan, batch or tenant")
    dry_run = serializers.BooleanField()
    looks = serializers.IntegerField()
    failed = serializers.IntegerField()
    breached_at = serializers.DateTimeField(allow_null=True)
    sentence = serializers.CharField(allow_blank=True)
    highest_percent = serializers.FloatField(
        allow_null=True, help_text="Of the evidence test: the most evidence there was."
    )


class PassedOutput(serializers.Serializer[Any]):
    """When the evidence test would first have let a batch pass."""

    batch = serializers.IntegerField(help_text="Its number.")
    soak_started = serializers.DateTimeField()
    at = serializers.DateTimeField(allow_null=True, help_text="null: never.")
    sentence = serializers.CharField()


class ReplayOutput(serializers.Serializer[Any]):
    """One plan under other rules."""

    query = RulesQuery

    plan = serializers.UUIDField()
    external_id = serializers.CharField()
    outcome = serializers.ChoiceField(
        choices=["true", "false", "missed", "quiet"],
        help_text="true: taken back and it was; false: taken back and it stayed; missed: it went"
        " back, though not by these rules; quiet: neither.",
    )
    sentence = serializers.CharField()
    rolled_back_at = serializers.DateTimeField(allow_null=True)
    really_rolled_back_at = serializers.DateTimeField(allow_null=True)
    really_by = serializers.CharField(allow_blank=True)
    earlier_seconds = serializers.FloatField(allow_null=True)
    guardrails = WouldBeOutput(many=True)
    not_judged = serializers.ListField(child=serializers.CharField())
    passes = PassedOutput(many=True, help_text="By the evidence test; empty without one.")
    notes = serializers.ListField(child=serializers.CharField())


class SameOutput(serializers.Serializer[Any]):
    """Whether the rulings of a plan come out of a replay as they were made."""

    plan = serializers.UUIDField()
    external_id = serializers.CharField()
    same = serializers.BooleanField()
    differences = serializers.ListField(child=serializers.CharField())
    left_out = serializers.ListField(
        child=serializers.CharField(), help_text="What cannot be replayed."
    )


class TallyOutput(serializers.Serializer[Any]):
    """Past plans under other rules."""

    query = RulesQuery

    sentence = serializers.CharField()
    true_rollbacks = serializers.IntegerField()
    false_rollbacks = serializers.IntegerField()
    missed = serializers.IntegerField()
    quiet = serializers.IntegerField()
    left_out = serializers.IntegerField()
    median_earlier_seconds = serializers.FloatField(allow_null=True)
    plans = ReplayOutput(many=True)


class FindOutput(serializers.Serializer[Any]):
    """How long until a share of bad events is found."""

    percent = serializers.FloatField()
    seconds = serializers.FloatField(allow_null=True, help_text="null: it cannot be found.")
    by = serializers.CharField(allow_blank=True, help_text="guardrail or evidence")


class BatchSoakOutput(serializers.Serializer[Any]):
    """One batch."""

    batch = serializers.CharField()
    soak_seconds = serializers.FloatField()
    tenants = serializers.IntegerField(help_text="On the new version at its end.")
    events_per_second = serializers.FloatField()
    without_history = serializers.IntegerField()
    usual_percent = serializers.FloatField()
    finds = FindOutput(many=True)
    enough = serializers.BooleanField()
    sentence = serializers.CharField()
    advice = serializers.ListField(child=serializers.CharField())


class SoakOutput(serializers.Serializer[Any]):
    """What the soaks find of one Kpi, as forecast when the plan was submitted."""

    kpi = serializers.CharField()
    too_little = serializers.CharField(allow_blank=True, help_text="Why there is no forecast.")
    calibrated = serializers.CharField(allow_blank=True, help_text="What it rests on.")
    batches = BatchSoakOutput(many=True)


class JudgeOutput(serializers.Serializer[Any]):
    """One guardrail, or the evidence test, over all rollouts."""

    key = serializers.CharField()
    kpi = serializers.CharField()
    action = serializers.CharField()
    dry_run = serializers.BooleanField()
    rollouts = serializers.IntegerField(help_text="In how many it would have been broken.")
    evidence = serializers.BooleanField()
    scope = serializers.CharField(
        required=False, help_text="plan, batch or tenant; not in old backtests."
    )
    tenants = serializers.IntegerField(
        required=False, help_text="Of a guardrail about each tenant: tenants that broke it, ..."
    )
    judged = serializers.IntegerField(required=False, help_text="... of so many.")


class PlaceboOutput(serializers.Serializer[PlaceboRun]):
    """How often a policy would have rolled back although nothing was released."""

    at = serializers.DateTimeField()
    seed = serializers.CharField()
    rollouts = serializers.IntegerField()
    rolled_back = serializers.IntegerField()
    rate_percent = serializers.FloatField(source="result.rate_percent")
    upper_percent = serializers.FloatField(
        source="result.upper_percent", help_text="Upper 95 % bound."
    )
    asked_percent = serializers.FloatField(source="result.asked_percent", allow_null=True)
    minutes = serializers.IntegerField(source="result.minutes", help_text="Of history.")
    tenants = serializers.IntegerField(source="result.tenants")
    sentence = serializers.CharField()
    not_measured = serializers.ListField(
        child=serializers.CharField(), source="result.not_measured"
    )
    notes = serializers.ListField(
        child=serializers.CharField(),
        source="result.notes",
        required=False,
        help_text="What history could not tell as it will be.",
    )
    judges = JudgeOutput(many=True, source="result.judges")
    beside_evidence = serializers.SerializerMethodField(
        help_text="For an evidence test that takes plans back: what stands beside it."
    )

    def get_beside_evidence(self, run: PlaceboRun) -> str:
        """Return it, empty where the policy has no such test."""
        return words_of(run)


class PlaceboInput(StrictSerializer):
    """How many rollouts to lay over history."""

    rollouts = serializers.IntegerField(
        min_value=1, max_value=MOST_ROLLOUTS, default=USUAL_ROLLOUTS
    )


class PlaceboAsked(serializers.Serializer[Any]):
    """It is being measured."""

    seed = serializers.CharField(help_text="By which the result is known.")


class HistoryOutput(serializers.Serializer[Any]):
    """How much of one Kpi is recorded of the last day."""

    kpi = serializers.CharField()
    seconds = serializers.FloatField()
    tenants = serializers.IntegerField()
    phi = serializers.FloatField(
        allow_null=True, help_text="How many times as much as independent ones its errors scatter."
    )
    too_little = serializers.CharField(allow_blank=True)


class Rules(NamedTuple):
    """Other rules, as the address line says them."""

    policy: UpgradePolicy | None
    thresholds: dict[str, float]
    evidence: dict[str, Any]


def _rules(asked: Mapping[str, Any]) -> Rules:
    policy = named_policy(asked["policy"]) if asked["policy"] else None
    thresholds = thresholds_of(asked["threshold"])
    evidence = evidence_of(asked["evidence"])
    if policy is None and not thresholds and not evidence:
        raise BadInput(
            [
                "say which other rules: policy=NAME, threshold=KPI=NUMBER, or evidence=KEY=VALUE;"
                " .../replay/same tells whether the plan's own rulings come out again"
            ]
        )
    return Rules(policy, thresholds, evidence)


class PlanReplay(ConsoleView):
    """One plan under other rules."""

    query = RulesQuery

    @extend_schema(
        summary="Judge a plan's stored looks under other rules: what would have happened, and when",
        parameters=[PLAN_PARAMETER, RulesQuery],
        responses={200: ReplayOutput, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return it; nothing is written."""
        found = find_plan(request, plan)
        other = _rules(self.asked)
        rules = with_thresholds(other.policy or own_policy(found), other.thresholds)
        rules = scaled(with_evidence(rules, other.evidence))
        answer = counterfactual_answer(replay_under(found, rules, on_a_page=True))
        return Response(ReplayOutput(answer).data)


class PlanReplaySame(ConsoleView):
    """One plan under its own rules."""

    @extend_schema(
        summary="Judge a plan's stored looks once more: do its rulings come out as they were made?",
        parameters=[PLAN_PARAMETER],
        responses={200: SameOutput, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return it; nothing is written."""
        found = find_plan(request, plan)
        different = differences(found, on_a_page=True)
        answer = {
            "plan": found.pk,
            "external_id": found.external_id,
            "same": not different,
            "differences": different,
            "left_out": left_out(found),
        }
        return Response(SameOutput(answer).data)


class AllReplay(ConsoleView):
    """Past plans under other rules."""

    query = RulesQuery

    @extend_schema(
        summary="Judge past plans under other rules: rollbacks that would have been right or wrong",
        parameters=[RulesQuery],
        responses={200: TallyOutput, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return the newest fifty that the caller may see; nothing is written."""
        user = asking(request)
        require(user, "view")
        found = tally(
            visible_plans(user),
            **_rules(self.asked)._asdict(),
            most=PLANS_AT_ONCE,
            on_a_page=True,
        )
        return Response(TallyOutput(tally_answer(found)).data)


class PlanSoak(ConsoleView):
    """What a plan's soaks can find."""

    @extend_schema(
        summary="Read what the soaks of a plan can find at the traffic of its tenants",
        parameters=[PLAN_PARAMETER],
        responses={200: SoakOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return the forecast of its newest submitted revision; empty before the first."""
        return Response(SoakOutput(kept_outlook(find_plan(request, plan)), many=True).data)


class PolicyPlacebo(ConsoleView):
    """The placebo backtest of a policy."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "draft"}
    judged_by_use_case = True  # Who writes policies may measure them as well as who drafts plans.

    @extend_schema(
        summary="Read how often a policy would have rolled back although nothing was released",
        responses={200: PlaceboOutput, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return the newest backtest of the policy's newest text."""
        require(asking(request), "view")
        row = latest_policy(name)
        run = newest_placebo(row) if row is not None else None
        if run is None:
            raise NotFound(f"There is no placebo backtest of the newest text of policy '{name}'.")
        return Response(PlaceboOutput(run).data)

    @extend_schema(
        summary="Have it measured over the recorded history",
        request=PlaceboInput,
        responses={202: PlaceboAsked, **PROBLEMS},
    )
    def post(self, request: Request, name: str) -> Response:
        """Have it measured; the result comes within two minutes."""
        rollouts = taken(PlaceboInput, request)["rollouts"]
        seed = ask_placebo(policy=name, rollouts=rollouts, by=asking(request), now=timezone.now())
        return Response({"seed": seed}, status=202)


class KpiHistory(ConsoleView):
    """What is recorded."""

    @extend_schema(
        summary="Read how much history of each Kpi is recorded",
        responses={200: HistoryOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return every Kpi of the dictionary."""
        require(asking(request), "view")
        return Response(
            HistoryOutput([standing(name) for name in dictionary().kpis], many=True).data
        )

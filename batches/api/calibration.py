"""REST: how fast deployers were, and how their rollbacks compare with the quotes."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.quotes.calibration import calibrations
from plans.api.access import ConsoleView, asking
from plans.api.output import PROBLEMS
from plans.pages.access import visible_plans
from plans.people.permissions import require


class PaceOutput(serializers.Serializer[Any]):
    """Seconds of one call."""

    worst = serializers.FloatField(help_text="95th percentile, or the mean where that is more.")
    usual = serializers.FloatField(help_text="Median.")
    measured = serializers.IntegerField(help_text="Calls behind it.")


class PastRollbackOutput(serializers.Serializer[Any]):
    """One ended rollback, measured beside quoted."""

    plan = serializers.UUIDField()
    external_id = serializers.CharField()
    trigger = serializers.CharField()
    at = serializers.DateTimeField()
    touched = serializers.IntegerField()
    quote_seconds = serializers.FloatField(source="quoted")
    expected_seconds = serializers.FloatField(source="expected", allow_null=True)
    seconds = serializers.FloatField(
        source="measured", allow_null=True, help_text="null: not all were read back."
    )
    ratio = serializers.FloatField(allow_null=True, help_text="Measured / quoted.")
    over_quote = serializers.BooleanField()
    missed = serializers.BooleanField(help_text="Later than its deadline.")


class AccuracyOutput(serializers.Serializer[Any]):
    """The rollbacks summed up."""

    rollbacks = serializers.IntegerField()
    measured = serializers.IntegerField()
    over_quote = serializers.IntegerField()
    missed = serializers.IntegerField()
    quote_close = serializers.IntegerField(help_text="Quoted at most 1.5 times what was measured.")
    expected_known = serializers.IntegerField()
    expected_close = serializers.IntegerField(help_text="Expected within a factor of 1.5.")
    median_ratio = serializers.FloatField(allow_null=True)
    median_expected_ratio = serializers.FloatField(allow_null=True)


class CalibrationOutput(serializers.Serializer[Any]):
    """One deployer."""

    deployer = serializers.CharField()
    configured_seconds = serializers.FloatField(allow_null=True)
    restore_calls = serializers.IntegerField()
    calls_missing = serializers.IntegerField(
        help_text="Restores to be measured before they count instead of the configured seconds."
    )
    restore = PaceOutput(allow_null=True)
    look = PaceOutput(allow_null=True)
    accuracy = AccuracyOutput()
    past = PastRollbackOutput(many=True)


class CalibrationOfDeployers(ConsoleView):
    """Quoted against measured."""

    @extend_schema(
        summary="Read how fast deployers were, and how good their quotes",
        responses={200: CalibrationOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return every deployer, with the rollbacks of the plans that the caller may see."""
        user = asking(request)
        require(user, "view")
        return Response(CalibrationOutput(calibrations(visible_plans(user)), many=True).data)

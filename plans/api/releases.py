"""REST: signed releases: register, look, verify, quarantine."""

import json
import uuid
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, require_scope, taken, via
from plans.api.input import DigestInput, NeededReasonInput, ReleaseInput
from plans.api.lists import CursorPages, CursorQuery
from plans.api.output import PROBLEMS, ReleaseOutput
from plans.api.step_up import ProvedReasonInput, proving
from plans.models import Release
from plans.people.permissions import require
from plans.refusal import NotFound
from plans.releases.reach import (
    release_state,
    runs_another_artifact,
    tenants_running,
)
from plans.releases.registering import register_release
from plans.releases.signed_forms import cosign_text
from plans.releases.standing import (
    check_artifact,
    check_release,
    lift_quarantine,
    quarantine_release,
)

MOST_TENANTS = 1000


class ReleaseRow(ReleaseOutput):
    """A release with its standing."""

    state = serializers.ChoiceField(choices=Release.STATES)
    state_why = serializers.CharField(allow_blank=True)
    state_at = serializers.DateTimeField(allow_null=True)
    usable = serializers.SerializerMethodField(
        help_text="Trusted, and the key whose signature counts is valid now."
    )

    def get_usable(self, release: Release) -> bool:
        """Tell whether it may be planned and installed now."""
        return release_state(release, timezone.now())[0] == "approved"


class SignatureOutput(serializers.Serializer[Any]):
    """A signature that the release has, or had."""

    key_id = serializers.CharField(source="key.key_id")
    form = serializers.CharField(help_text="dsse or cosign.")
    verified_at = serializers.DateTimeField()
    counts = serializers.SerializerMethodField()

    def get_counts(self, signature: Any) -> bool:
        """Tell whether the release goes by this one."""
        return bool(signature.envelope == signature.release.envelope)


class RunningOutput(serializers.Serializer[Any]):
    """A tenant on which the release was last seen."""

    tenant = serializers.CharField(source="tenant.key")
    digest = serializers.CharField(allow_blank=True, help_text="Empty: the platform tells none.")
    other_artifact = serializers.SerializerMethodField()
    observed_at = serializers.DateTimeField(allow_null=True)

    def get_other_artifact(self, installation: Any) -> bool:
        """Tell whether another artifact runs there than was signed."""
        return runs_another_artifact(installation, self.context["release"])


class ReleaseDetail(ReleaseRow):
    """A release with every signature that it ever had and who runs it."""

    signatures = SignatureOutput(many=True)
    tenants = serializers.SerializerMethodField(
        help_text="Who runs it as far as is known, of the tenants that you may see; the first"
        f" {MOST_TENANTS}."
    )

    def get_tenants(self, release: Release) -> list[dict[str, Any]]:
        """Return where it was last seen."""
        rows = tenants_running(release, seen_by=self.context["seen_by"])[:MOST_TENANTS]
        shown = RunningOutput(rows, many=True, context={"release": release})
        return [dict(row) for row in shown.data]


class ReleaseCursor(CursorPages):
    """Pages of releases, newest first."""

    ordering = ("-created_at", "pk")


class ReleaseQuery(CursorQuery):
    """Which releases."""

    plugin = serializers.CharField(default="", allow_blank=True, help_text="The plugin's key.")
    state = serializers.ChoiceField(choices=Release.STATES, default="", allow_blank=True)


def _found(release_id: uuid.UUID) -> Release:
    releases = Release.objects.select_related("plugin", "signed_by")
    found = releases.filter(pk=release_id).first()
    if found is None:
        raise NotFound("There is no such release.")
    return found


def _detail(release_id: uuid.UUID, request: Request) -> Response:
    context = {"seen_by": asking(request)}
    return Response(ReleaseDetail(_found(release_id), context=context).data)


@extend_schema_view(
    get=extend_schema(
        summary="List releases",
        parameters=[ReleaseQuery],
        responses={200: ReleaseRow(many=True), **PROBLEMS},
    )
)
class Releases(ConsoleView, ListAPIView):  # type: ignore[type-arg]
    """Every release, and the way in for a signed one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "manage_releases"}
    query = ReleaseQuery
    serializer_class = ReleaseRow
    pagination_class = ReleaseCursor
    queryset = Release.objects.none()

    def get_queryset(self) -> Any:
        """Return the releases of the wanted plugin in the wanted state."""
        require(asking(self.request), "view")
        releases = Release.objects.select_related("plugin", "signed_by")
        if plugin := self.asked["plugin"]:
            releases = releases.filter(plugin__key=plugin)
        if state := self.asked["state"]:
            releases = releases.filter(state=state)
        return releases

    @extend_schema(
        summary="Register a signed release (DSSE envelope, or what cosign signed)",
        request=ReleaseInput,
        responses={201: ReleaseOutput, 200: ReleaseOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Verify the signature and register the release."""
        given = taken(ReleaseInput, request)
        now = timezone.now()
        registered = register_release(
            envelope=_envelope(given),
            by=asking(request),
            now=now,
            via=via(request),
            irreversible=given["irreversible"],
        )
        release = _found(registered.pk)
        made_now = release.verified_at == now
        return Response(ReleaseOutput(release).data, status=201 if made_now else 200)


def _envelope(given: dict[str, Any]) -> str:
    if "payload" in given:
        return cosign_text(given["payload"], given["signature"])
    envelope = given["envelope"]
    return envelope if isinstance(envelope, str) else json.dumps(envelope)


class ReleaseOne(ConsoleView):
    """One release."""

    @extend_schema(summary="Read a release", responses={200: ReleaseDetail, **PROBLEMS})
    def get(self, request: Request, release: uuid.UUID) -> Response:
        """Return it with its signatures and who runs it."""
        require(asking(request), "view")
        return _detail(release, request)


class ReleaseVerify(ConsoleView):
    """Check a release once more."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "view"}

    @extend_schema(
        summary="Verify a release now; with a digest, that artifact too",
        description="409 with the reason when it may not be used. What was kept of it and tampered"
        " with puts it into quarantine; an artifact with another digest does so if you ask for it.",
        request=DigestInput,
        responses={200: ReleaseDetail, **PROBLEMS},
    )
    def post(self, request: Request, release: uuid.UUID) -> Response:
        """Verify it."""
        user = asking(request)
        require(user, "view")
        given = taken(DigestInput, request)
        common: dict[str, Any] = {"by": user, "now": timezone.now(), "via": via(request)}
        if "digest" not in given:
            check_release(release_id=release, **common)
        else:
            if given["quarantine"]:
                require_scope(request, "quarantine")
            check_artifact(release_id=release, **given, **common)
        return _detail(release, request)


class ReleaseQuarantine(ConsoleView):
    """Let nothing of a release be installed any more."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "quarantine"}

    @extend_schema(
        summary="Put a release into quarantine; plans under way are held",
        request=NeededReasonInput,
        responses={200: ReleaseDetail, **PROBLEMS},
    )
    def post(self, request: Request, release: uuid.UUID) -> Response:
        """Quarantine it."""
        by = asking(request)
        require(by, "view")
        quarantine_release(
            release_id=release,
            reason=taken(NeededReasonInput, request)["reason"],
            by=by,
            now=timezone.now(),
            via=via(request),
        )
        return _detail(release, request)


class ReleaseLift(ConsoleView):
    """End a quarantine."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Lift the quarantine of a release; takes a fresh second factor",
        request=ProvedReasonInput,
        responses={200: ReleaseDetail, **PROBLEMS},
    )
    def post(self, request: Request, release: uuid.UUID) -> Response:
        """Lift it."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(ProvedReasonInput, request)
        with proving(request, given, now=now):
            lift_quarantine(
                release_id=release, reason=given["reason"], by=by, now=now, via=via(request)
            )
        return _detail(release, request)

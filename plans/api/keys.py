"""REST: the keys whose signatures count: trust, look, retire, revoke."""

from typing import ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import KeyInput, RetireInput
from plans.api.output import PROBLEMS
from plans.api.step_up import CodeInput, ProvedReasonInput, proving
from plans.models import TrustKey
from plans.people.permissions import require
from plans.refusal import BadInput, NotFound
from plans.releases.reach import key_rows, key_state, releases_signed_by
from plans.releases.registering import retire_key, revoke_key, trust_key
from plans.releases.signing_keys import key_id_of


class KeyOutput(serializers.Serializer[TrustKey]):
    """A key of the trust store."""

    key_id = serializers.CharField()
    name = serializers.CharField()
    public_key = serializers.CharField()
    state = serializers.SerializerMethodField(help_text="trusted, not valid yet, expired, revoked.")
    not_before = serializers.DateTimeField()
    not_after = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)
    revoked_why = serializers.CharField(allow_blank=True)
    plugins = serializers.ListField(child=serializers.CharField(), help_text="Empty: every plugin.")

    def get_state(self, key: TrustKey) -> str:
        """Return its state now."""
        return key_state(key, timezone.now())[1]


class KeyDetail(KeyOutput):
    """A key with what it signed."""

    releases = serializers.SerializerMethodField()

    def get_releases(self, key: TrustKey) -> list[str]:
        """Return plugin@version of all that it ever signed."""
        return [f"{one.plugin.key}@{one.version}" for one in releases_signed_by(key)]


class KeyTrustInput(KeyInput, CodeInput):
    """A public key to trust, and the proof that whoever asks is there."""


class KeyRetireInput(RetireInput, CodeInput):
    """When a key shall end, and the proof that whoever asks is there."""


class Keys(ConsoleView):
    """The trust store."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "administer"}

    @extend_schema(
        operation_id="api_v1_keys_list",
        summary="List the trusted keys",
        responses={200: KeyOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return all keys, those that count now first."""
        require(asking(request), "view")
        rows = [KeyOutput(row.key).data for row in key_rows(timezone.now())]
        return Response(rows)

    @extend_schema(
        summary="Trust a public key; takes a fresh second factor",
        request=KeyTrustInput,
        responses={201: KeyDetail, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Trust it."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(KeyTrustInput, request)
        try:
            key_id = key_id_of(given["public_key"])
        except ValueError as error:
            raise BadInput([f"public_key: {error}"]) from error
        with proving(request, given, now=now):
            made = trust_key(
                key_id=key_id,
                public_key=given["public_key"],
                name=given["name"],
                not_before=given.get("not_before") or now,
                not_after=given["not_after"],
                plugins=tuple(given["plugins"]),
                by=by,
                now=now,
                via=via(request),
            )
        return Response(KeyDetail(made).data, status=201)


def _key(key_id: str) -> TrustKey:
    found = TrustKey.objects.filter(key_id=key_id).first()
    if found is None:
        raise NotFound("There is no such key.")
    return found


class KeyOne(ConsoleView):
    """One key."""

    @extend_schema(summary="Read a key", responses={200: KeyDetail, **PROBLEMS})
    def get(self, request: Request, key: str) -> Response:
        """Return it with what it signed."""
        require(asking(request), "view")
        return Response(KeyDetail(_key(key)).data)


class KeyRevoke(ConsoleView):
    """Stop trusting a key."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Revoke a key from now on; what it alone signed is not installed any more",
        request=ProvedReasonInput,
        responses={200: KeyDetail, **PROBLEMS},
    )
    def post(self, request: Request, key: str) -> Response:
        """Revoke it."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(ProvedReasonInput, request)
        with proving(request, given, now=now):
            revoked = revoke_key(
                key_id=key, reason=given["reason"], by=by, now=now, via=via(request)
            )
        return Response(KeyDetail(revoked).data)


class KeyRetire(ConsoleView):
    """Let a key end earlier."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Let a key end earlier than it would",
        request=KeyRetireInput,
        responses={200: KeyDetail, **PROBLEMS},
    )
    def post(self, request: Request, key: str) -> Response:
        """Set its end."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(KeyRetireInput, request)
        with proving(request, given, now=now):
            retired = retire_key(key_id=key, **given, by=by, now=now, via=via(request))
        return Response(KeyDetail(retired).data)

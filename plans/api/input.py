"""What the API takes: shapes only, and nothing that is not named here."""

import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from plans.releases.signed_forms import MAX_BYTES

EXTERNAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,119}")


class StrictSerializer(serializers.Serializer[Any]):
    """Refuse members that nobody reads, so that nobody believes in a guard that is not there."""

    def to_internal_value(self, data: Any) -> Any:
        """Name every unknown member beside every other problem of the request."""
        problems: dict[str, Any] = {}
        if isinstance(data, Mapping):
            known = ", ".join(self.fields)
            problems = {
                str(name): [f"is not known here; known: {known or 'nothing'}"]
                for name in data
                if name not in self.fields
            }
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if problems and isinstance(error.detail, dict):
                raise serializers.ValidationError({**error.detail, **problems}) from error
            raise
        if problems:
            raise serializers.ValidationError(problems)
        return value


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": ["all"]},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {
                "type": "object",
                "properties": {
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}}
                },
                "required": ["labels"],
                "additionalProperties": False,
            },
        ]
    }
)
class TenantsField(serializers.Field[Any, Any, Any, Any]):
    """Which tenants: `"all"`, a list of keys, or `{"labels": {"region": "eu"}}`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the keyword arguments of a TenantChoice."""
        if data == "all":
            return {"all": True}
        if isinstance(data, list) and data and all(isinstance(key, str) and key for key in data):
            return {"keys": tuple(data)}
        if isinstance(data, dict) and set(data) == {"labels"}:
            labels = data["labels"]
            if (
                isinstance(labels, dict)
                and labels
                and all(isinstance(value, str) for value in labels.values())
            ):
                return {"labels": labels}
        raise serializers.ValidationError(
            'write "all", a list of tenant keys, or {"labels": {"region": "eu"}}'
        )

    def to_representation(self, value: Any) -> Any:
        """Return the value as it came."""
        return value


class PlanInput(StrictSerializer):
    """A plan as a pipeline hands it in."""

    external_id = serializers.RegexField(
        EXTERNAL_ID,
        max_length=120,
        error_messages={"invalid": "use letters, digits and . _ : @ + -, at most 120"},
    )
    plugin = serializers.CharField(max_length=63)
    to_version = serializers.CharField(max_length=64)
    policy = serializers.CharField(max_length=120)
    deployer = serializers.CharField(max_length=63, required=False)
    tenants = TenantsField()
    approvals = serializers.CharField(max_length=120, required=False)
    not_before = serializers.DateTimeField(required=False, allow_null=True)
    submit = serializers.BooleanField(default=False)


class ReasonInput(StrictSerializer):
    """An act with its reason."""

    reason = serializers.CharField(max_length=300, allow_blank=True, default="")


class NeededReasonInput(StrictSerializer):
    """An act that is refused without a reason."""

    reason = serializers.CharField(max_length=300)


class FreezeInput(StrictSerializer):
    """A freeze; without tenants and labels it covers every tenant."""

    name = serializers.CharField(max_length=120)
    reason = serializers.CharField(max_length=300)
    begins_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Without it: now."
    )
    ends_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Without it: until it is lifted."
    )
    plugin = serializers.CharField(
        max_length=63, required=False, allow_blank=True, help_text="Without it: every plugin."
    )
    tenants = serializers.ListField(
        child=serializers.CharField(max_length=63), required=False, max_length=10_000
    )
    labels = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    overriders = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        max_length=50,
        help_text="Console or approval roles that may let a plan through.",
    )


class NothingInput(StrictSerializer):
    """An act that takes no particulars."""


class RollbackInput(StrictSerializer):
    """What to take back."""

    scope = serializers.ChoiceField(choices=["plan", "batch"], default="plan")
    tenants = serializers.ListField(
        child=serializers.CharField(max_length=63), required=False, min_length=1
    )
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a scope beside named tenants: one of the two would not be meant."""
        if attrs.get("tenants") and attrs["scope"] == "batch":
            raise serializers.ValidationError(
                {"scope": "name tenants, or write scope batch, not both"}
            )
        return attrs


class RollbackOrder(RollbackInput):
    """What to take back, of a plan named in the body."""

    plan = serializers.CharField(required=False)
    external_id = serializers.CharField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for one name of the plan."""
        if ("plan" in attrs) == ("external_id" in attrs):
            raise serializers.ValidationError({"plan": "name the plan by plan or external_id"})
        return super().validate(attrs)


class ReleaseInput(StrictSerializer):
    """A signed release: an envelope (text or JSON object), or what cosign signed and how."""

    envelope = serializers.JSONField(required=False)
    payload = serializers.CharField(
        required=False,
        trim_whitespace=False,
        max_length=MAX_BYTES,
        help_text="release.json as cosign signed it, byte for byte.",
    )
    signature = serializers.CharField(
        required=False, max_length=4096, help_text="What cosign wrote: base64 of the signature."
    )
    irreversible = serializers.BooleanField(default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for one of both forms, whole."""
        by_cosign = "payload" in attrs and "signature" in attrs
        if ("payload" in attrs) != ("signature" in attrs) or by_cosign == ("envelope" in attrs):
            raise serializers.ValidationError(
                {"envelope": "hand in an envelope, or both payload and signature"}
            )
        return attrs


class DigestInput(StrictSerializer):
    """The SHA-256 of an artifact that was found somewhere."""

    digest = serializers.RegexField(r"^(sha256:)?[0-9a-fA-F]{64}\Z", required=False)
    quarantine = serializers.BooleanField(
        default=False, help_text="Another digest than was signed puts the release into quarantine."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a consequence without what it would follow from."""
        if attrs["quarantine"] and "digest" not in attrs:
            raise serializers.ValidationError({"quarantine": "give the digest that was found, too"})
        return attrs


class KeyInput(StrictSerializer):
    """A public key to trust."""

    public_key = serializers.CharField(max_length=4096, help_text="PEM; Ed25519 or ECDSA P-256.")
    name = serializers.CharField(max_length=120)
    not_before = serializers.DateTimeField(required=False, help_text="Without it: now.")
    not_after = serializers.DateTimeField()
    plugins = serializers.ListField(
        child=serializers.CharField(max_length=63), default=list, help_text="Empty: every plugin."
    )


class RetireInput(StrictSerializer):
    """When a key shall end."""

    not_after = serializers.DateTimeField()
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")

"""The forms of the pages of keys; they parse and shape, the use cases decide."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from plans.models import Plugin
from plans.releases.signing_keys import key_id_of

LONGEST_KEY = 4096
USUAL_DAYS = 365


def _moment(label: str, hint: str, *, required: bool = False) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=required,
        label=label,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=hint,
    )


class KeyForm(forms.Form):
    """A public key to trust."""

    use_required_attribute = False

    public_key = forms.CharField(
        max_length=LONGEST_KEY,
        label="Public key",
        widget=forms.Textarea(attrs={"class": "code", "rows": 5, "spellcheck": "false"}),
        help_text="PEM (-----BEGIN PUBLIC KEY-----), Ed25519 or ECDSA P-256. Never a private key.",
    )
    name = forms.CharField(max_length=120, help_text="Whose it is: build-2027.")
    not_before = _moment("Trusted from (UTC)", "Empty: now.")
    not_after = _moment("until (UTC)", f"Empty: {USUAL_DAYS} days from its beginning.")
    plugins = forms.MultipleChoiceField(
        required=False,
        label="May sign",
        widget=forms.CheckboxSelectMultiple,
        help_text="Without any: every plugin, also those to come.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["plugins"]
        if isinstance(field, forms.ChoiceField):
            keys = Plugin.objects.order_by("key").values_list("key", flat=True)
            field.choices = [(key, key) for key in keys]

    def clean_public_key(self) -> str:
        """Return the key's text; refuse what is none, and what nobody should ever hand over."""
        text = str(self.cleaned_data["public_key"])
        if "PRIVATE KEY" in text:
            raise forms.ValidationError(
                "This is a private key: keep it where it is, take it as known to others from now"
                " on, and hand in the public one of a new pair."
            )
        try:
            self.cleaned_data["key_id"] = key_id_of(text)
        except ValueError as error:
            raise forms.ValidationError(f"This cannot be trusted: {error}.") from error
        return text

    def clean(self) -> dict[str, Any]:
        """Fill in the times that were left open."""
        cleaned: dict[str, Any] = super().clean() or {}
        begins = cleaned.get("not_before") or timezone.now()
        cleaned["not_before"] = begins
        cleaned["not_after"] = cleaned.get("not_after") or begins + timedelta(days=USUAL_DAYS)
        cleaned["plugins"] = tuple(cleaned.get("plugins") or ())
        return cleaned


class RetireForm(forms.Form):
    """When a key shall end, and why."""

    use_required_attribute = False

    not_after = _moment("Trusted until (UTC)", "Earlier than now planned.", required=True)
    reason = forms.CharField(
        max_length=300, required=False, help_text="Its successor, for example."
    )

"""The form of a machine that is told of alerts: its address is judged, its secret goes one way."""

from typing import Any

from django import forms

from batches.alerting.kinds import ALERT_KINDS
from batches.configured import outbound_rules
from plans.admin.rights import AnyModelForm
from plans.reading_direction import turning_problems
from plans.sealed_secrets import keyring
from reports.models import Endpoint
from reports.telling.checkpoint_news import KIND as CHECKPOINT
from upgradeconsole.known_secrets import remember
from upgradeconsole.outbound import refusal_of
from upgradeconsole.sealing import KeysUnusable

SHORTEST_SECRET = 16


class EndpointForm(AnyModelForm):
    """Takes a secret and never shows one; empty keeps what is there."""

    url = forms.URLField(
        label="URL",
        max_length=500,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vTextField"}),
        help_text="http or https; gets CloudEvents 1.0 JSON. A private address needs a line in"
        " outbound.yaml.",
    )
    new_secret = forms.CharField(
        label="New secret",
        required=False,
        min_length=SHORTEST_SECRET,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text="Signs each delivery: X-Upgrade-Signature is HMAC-SHA256 over the body. Kept"
        " sealed and never shown again; left empty, the secret stays as it is.",
    )
    forget_secret = forms.BooleanField(
        label="Forget the secret", required=False, help_text="Deliveries are no longer signed."
    )

    kinds = forms.MultipleChoiceField(
        label="Kinds of alerts",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Which alerts it gets; none ticked means every kind of them, also of later"
        " versions. Checkpoints of the trail are sent only where they are ticked.",
    )

    class Meta:
        model = Endpoint
        fields = ("name", "url", "kinds", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = {kind: f"{kind}: {_plain(meant.when)}" for kind, meant in ALERT_KINDS.items()}
        known[CHECKPOINT] = f"{CHECKPOINT}: No alert: the trail was signed up to this moment."
        # Who named a kind of another version keeps it until the box is emptied.
        others = {kind: f"{kind}: This version has no such kind." for kind in self.instance.kinds}
        field = self.fields["kinds"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101  (as declared above)
        field.choices = list((others | known).items())

    def clean_name(self) -> str:
        """Refuse a name that would turn the sentences that it stands in."""
        name: str = self.cleaned_data["name"]
        if problems := turning_problems(name):
            raise forms.ValidationError(problems)
        return name

    def clean_url(self) -> str:
        """Refuse an address that would never be connected to, as far as that can be told now."""
        url: str = self.cleaned_data["url"]
        if why := refusal_of(url, outbound_rules()(), "webhooks"):
            raise forms.ValidationError(f"It cannot be connected to: {why}.")
        return url

    def clean_new_secret(self) -> str:
        """Let nothing write down what was entered, whatever becomes of the form."""
        secret: str = self.cleaned_data["new_secret"]
        remember(secret)
        try:
            keyring().keys()
        except KeysUnusable as unusable:
            raise forms.ValidationError(f"It cannot be sealed: {unusable}.") from unusable
        return secret

    def clean(self) -> dict[str, Any]:
        """Refuse both at once."""
        given = super().clean() or {}
        if given.get("new_secret") and given.get("forget_secret"):
            self.add_error("forget_secret", "Enter a new secret or forget the old one, not both.")
        return given


def _plain(text: str) -> str:
    """Return a sentence of the documents as a form shows it, without its marks of code."""
    return text.replace("`", "")

"""The form of a freeze; it parses and shapes, the use case decides."""

from typing import Any

from django import forms

from plans.models import Plugin
from plans.openings.freezing import known_roles


def _moment(label: str, hint: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=hint,
    )


class FreezeForm(forms.Form):
    """What somebody says about a freeze."""

    use_required_attribute = False

    name = forms.CharField(max_length=120, help_text="How people call it: Black Friday.")
    reason = forms.CharField(
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Everybody who is held up reads it.",
    )
    begins_at = _moment("Begins (UTC)", "Empty: now.")
    ends_at = _moment("Ends (UTC)", "Empty: when somebody lifts it.")
    plugin = forms.ChoiceField(required=False)
    tenants = forms.CharField(
        required=False,
        label="Tenant keys",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Separated by commas or spaces. Without keys and labels: every tenant.",
    )
    labels = forms.CharField(
        required=False,
        label="or tenants with all of these labels",
        widget=forms.TextInput(attrs={"placeholder": "region=eu, tier=gold"}),
    )
    overriders = forms.MultipleChoiceField(
        required=False,
        label="Who may let a plan through",
        widget=forms.CheckboxSelectMultiple,
        help_text="Roles. Without any nobody may, and the freeze has to be lifted.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plugins = Plugin.objects.order_by("key").values_list("key", flat=True)
        self._offer("plugin", [("", "Every plugin"), *((key, key) for key in plugins)])
        roles = known_roles()
        self._offer("overriders", [(role, role.replace("_", " ")) for role in roles])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            field.choices = choices

    def clean_tenants(self) -> list[str]:
        """Return the keys."""
        return str(self.cleaned_data["tenants"]).replace(",", " ").split()

    def clean_labels(self) -> dict[str, str]:
        """Return the labels; refuse what is none."""
        labels = {}
        for part in str(self.cleaned_data["labels"]).replace(";", ",").split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not (name or equals or value):
                continue
            if not (name and equals and value):
                raise forms.ValidationError(
                    f"'{part.strip()}' is no label; write it like region=eu"
                )
            labels[name] = value
        return labels

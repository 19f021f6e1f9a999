"""The form by which an administrator gives a role; it parses and shapes, the use case decides."""

from typing import Any

from django import forms

from plans.models import CONSOLE_ROLES, RoleBinding, User
from plans.people.role_confirming import takes_two
from plans.reach import selector_problems

SECOND = " (another administrator has to confirm it)"


class RoleForm(forms.Form):
    """Who is to hold which role, for which tenants, until when, and why."""

    use_required_attribute = False

    person = forms.EmailField(
        label="Person",
        widget=forms.EmailInput(attrs={"list": "people", "autocomplete": "off"}),
        help_text="Their e-mail address here.",
    )
    console_role = forms.ChoiceField(
        required=False,
        label="Console role",
        help_text="One of the two: this, or an approval role.",
    )
    approval_role = forms.CharField(
        required=False,
        max_length=64,
        label="or approval role",
        widget=forms.TextInput(attrs={"list": "approval-roles", "autocomplete": "off"}),
        help_text="As a policy asks for it. Another administrator has to confirm it.",
    )
    labels = forms.CharField(
        required=False,
        max_length=300,
        label="Only for tenants with all of these labels",
        help_text="Such as region=eu, tier=gold. Empty: for all tenants.",
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Until (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: until somebody ends it.",
    )
    why = forms.CharField(
        max_length=300,
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Stands in the trail and in every access review.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["console_role"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", "-"), *map(_choice, CONSOLE_ROLES)]

    def clean_person(self) -> User:
        """Return the person; say so when nobody has that address."""
        found = User.objects.filter(email__iexact=self.cleaned_data["person"]).first()
        if found is None:
            raise forms.ValidationError(
                "Nobody has this address here; make their account under Admin, Users first."
            )
        return found

    def clean_labels(self) -> dict[str, str]:
        """Read the labels as a selector."""
        written = str(self.cleaned_data["labels"]).replace(";", ",").split(",")
        pairs = [part.partition("=") for part in written if part.strip()]
        selector = {name.strip(): value.strip() for name, _equals, value in pairs}
        if selector_problems(selector) or len(selector) < len(pairs):
            raise forms.ValidationError("Write each label once, like region=eu.")
        return selector

    def clean(self) -> dict[str, Any]:
        """Take one of both kinds of role."""
        given: dict[str, Any] = super().clean() or {}
        console, approval = given.get("console_role"), str(given.get("approval_role", "")).strip()
        if bool(console) == bool(approval) and not self.has_error("console_role"):
            self.add_error("console_role", "Choose a console role or write an approval role.")
        return given

    def wanted(self) -> dict[str, Any]:
        """Return what the use case takes."""
        given = self.cleaned_data
        console = given["console_role"]
        return {
            "user": given["person"],
            "kind": RoleBinding.CONSOLE if console else RoleBinding.APPROVAL,
            "role": console or given["approval_role"].strip(),
            "selector": given["labels"],
            "expires_at": given["expires_at"],
        }


FIELDS = {"user": "person", "selector": "labels", "kind": "console_role"}
"""Where the form asks for what the use case calls otherwise."""


def field_of(form: RoleForm, name: str) -> str | None:
    """Return which field a problem of the use case is about, None for none of the form."""
    if name == "role":
        return "console_role" if form.cleaned_data["console_role"] else "approval_role"
    name = FIELDS.get(name, name)
    return name if name in form.fields else None


def _choice(role: tuple[str, str]) -> tuple[str, str]:
    name, label = role
    return name, f"{label}{SECOND if takes_two(RoleBinding.CONSOLE, name) else ''}"

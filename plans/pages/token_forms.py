"""The form of a new API token."""

from typing import Any

from django import forms

from plans.people.machine_access import LONGEST_DAYS
from plans.people.token_scopes import SCOPES
from plans.reach import selector_problems

MEANINGS = {
    "read": "look at plans, tenants and reports",
    "plan": "draft, submit and change plans",
    "approve": "approve and reject",
    "break_glass": "act without the approvers, with a reason that somebody reviews",
    "operate": "start, pause, resume, roll back and mend",
    "push": "send metrics and pipeline events",
    "manage": "tenants, releases and policies",
}


class TokenForm(forms.Form):
    """What a token is for, what it may be used for, and how long."""

    name = forms.CharField(max_length=120, label="What it is for", help_text="E.g. pipeline.")
    days = forms.IntegerField(
        min_value=1, max_value=LONGEST_DAYS, initial=30, label="Good for how many days"
    )
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {MEANINGS[scope]}") for scope in SCOPES],
        required=False,
        label="Narrowed to",
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all that you may do, as long as you may.",
    )
    labels = forms.CharField(
        required=False,
        max_length=300,
        label="Only for tenants with these labels",
        help_text="Such as region=eu, tier=gold. Empty: all that are yours.",
    )

    def clean(self) -> dict[str, Any]:
        """Read the labels as a selector."""
        given: dict[str, Any] = super().clean() or {}
        written = str(given.pop("labels", "")).replace(";", ",").split(",")
        pairs = [part.partition("=") for part in written if part.strip()]
        selector = {name.strip(): value.strip() for name, _equals, value in pairs}
        if selector_problems(selector) or len(selector) < len(pairs):
            self.add_error("labels", "Write each label once, like region=eu.")
        given["selector"] = selector
        return given

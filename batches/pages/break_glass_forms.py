"""The form of acts without the approvers."""

from django import forms

from batches.break_glass.acting_alone import ACTS, SHORTEST_REASON


class BreakGlassForm(forms.Form):
    """What cannot wait, and why."""

    act = forms.ChoiceField(choices=list(ACTS.items()), widget=forms.HiddenInput)
    batch = forms.IntegerField(min_value=1, required=False, widget=forms.HiddenInput)
    reason = forms.CharField(
        label="What cannot wait, and why",
        min_length=SHORTEST_REASON,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=f"At least {SHORTEST_REASON} characters; everybody who could have agreed reads"
        " it, and so does whoever reviews it.",
    )
    sure = forms.BooleanField(
        label="I act without the approvers, in my own name",
        error_messages={"required": "Say that you mean it."},
    )

"""The forms of drills; they parse and shape, the use cases decide."""

from typing import Any

from django import forms

from batches.configured import deployers
from batches.drills.rehearsing import Wanted
from batches.drills.schedules import NewSchedule
from batches.drills.times import DAYS
from batches.models import RollbackDrill
from plans.drafting.drafting import TenantChoice
from plans.models import Release
from plans.refusal import BadInput

DAY_WORDS = dict(
    zip(
        DAYS,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)


def read_tenants(text: str) -> TenantChoice:
    """Return the tenants of a line: keys, or labels such as ring=drill; BadInput otherwise."""
    parts = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    labels = [part for part in parts if "=" in part]
    if labels and len(labels) < len(parts):
        raise BadInput(["tenants: write tenant keys or labels, not both"])
    if not labels:
        return TenantChoice(keys=tuple(parts))
    pairs = [part.partition("=") for part in labels]
    return TenantChoice(labels={name.strip(): value.strip() for name, _equals, value in pairs})


class DrillForm(forms.Form):
    """One drill: what goes where, and what goes wrong."""

    use_required_attribute = False

    release = forms.ChoiceField(help_text="It is really put on the tenants, and taken back.")
    deployer = forms.ChoiceField()
    tenants = forms.CharField(
        max_length=2000,
        help_text="Keys (acorn, birch) or labels (ring=drill). Choose tenants that nobody needs.",
    )
    inject = forms.ChoiceField(
        label="What goes wrong", choices=RollbackDrill.INJECTS, widget=forms.RadioSelect
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        releases = Release.objects.select_related("plugin").order_by("plugin__key", "-created_at")
        self.fields["release"].choices = [  # type: ignore[attr-defined]
            (str(row.pk), f"{row.plugin.key} {row.version}") for row in releases
        ]
        self.fields["deployer"].choices = [(name, name) for name in _deployers()]  # type: ignore[attr-defined]

    def clean_tenants(self) -> TenantChoice:
        """Return the choice."""
        try:
            return read_tenants(self.cleaned_data["tenants"])
        except BadInput as refused:
            raise forms.ValidationError(list(refused.problems)) from refused

    def _release(self) -> Release:
        return Release.objects.select_related("plugin").get(pk=self.cleaned_data["release"])

    def wanted(self) -> Wanted:
        """Return what is to be rehearsed."""
        release = self._release()
        return Wanted(
            self.cleaned_data["deployer"],
            release.plugin.key,
            release.version,
            self.cleaned_data["tenants"],
            self.cleaned_data["inject"],
        )


class ScheduleForm(DrillForm):
    """A drill that comes again."""

    field_order = (
        "name", "release", "deployer", "tenants", "injects", "days", "at", "timezone",
    )  # fmt: skip

    name = forms.SlugField(max_length=60, help_text="Letters, digits and -.")
    inject = None  # type: ignore[assignment]
    injects = forms.MultipleChoiceField(
        label="What goes wrong, in turn",
        choices=RollbackDrill.INJECTS,
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.MultipleChoiceField(
        choices=list(DAY_WORDS.items()), widget=forms.CheckboxSelectMultiple
    )
    at = forms.TimeField(label="At", widget=forms.TimeInput(attrs={"type": "time"}))
    timezone = forms.CharField(max_length=63, initial="UTC", help_text="Such as Europe/Berlin.")

    def given(self) -> NewSchedule:
        """Return the schedule as it was handed in."""
        release = self._release()
        given = self.cleaned_data
        return NewSchedule(
            name=given["name"],
            deployer=given["deployer"],
            plugin=release.plugin.key,
            to_version=release.version,
            tenants=given["tenants"],
            injects=tuple(given["injects"]),
            days=tuple(given["days"]),
            at=given["at"],
            timezone=given["timezone"],
        )


def _deployers() -> list[str]:
    try:
        return sorted(deployers())
    except BadInput:
        return []

"""The form that changes a running plan: one field per value that may change, or the whole text."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms

from batches.adjust.batches import rows_of, standing_of
from batches.adjust.proposal import Expiry
from batches.adjust.wanted import ChangeSet, in_kpi_words, slots_of
from plans.changes.adjustment import limit_text
from plans.drafting.drafting import current_revision, written_policy
from plans.models import Plan
from plans.policies.policy import BatchSpec, UpgradePolicy
from plans.policies.policy_text import is_threshold

_LIMITS = {
    "failure_rate": "Failure rate (%)",
    "success_rate": "Success rate (%)",
    "batch_minutes": "Calling of a batch (min)",
    "missing_metrics_minutes": "Missing metrics (min)",
    "hold_minutes": "Hold (min)",
    "rollback_seconds": "Rollback (s)",
    "parallelism": "Calls at once",
    "attempts": "Attempts",
    "call_timeout_seconds": "Time-out of a call (s)",
    "look_seconds": "Between two looks (s)",
}
_CONDITIONS = {
    "failure_rate": "Too many failures",
    "batch_overrun": "A batch calls too long",
    "missing_metrics": "Metrics are missing",
    "hold_expired": "A hold lasts too long",
}
_ENDS = (("", "Until it is changed"), ("15", "For 15 min"), ("60", "For 1 h"),
         ("240", "For 4 h"), ("1440", "For 24 h"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one guardrail or batch, under its name."""

    name: str
    note: str
    fields: tuple[Any, ...]


class AdjustForm(forms.Form):
    """What a release manager changes; a field that is left as it is changes nothing."""

    reason = forms.CharField(max_length=300, help_text="In the trail, the inbox and the report.")
    ends = forms.ChoiceField(
        required=False,
        choices=_ENDS,
        label="A loosening holds",
        help_text="Then the console puts back what was loosened, by itself.",
    )
    split = forms.BooleanField(
        required=False,
        initial=True,
        label="Apply the tightening now, ask for the rest",
    )
    text = forms.CharField(
        required=False,
        label="The whole policy text",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "class": "code"}),
        help_text="For everything else, such as a guardrail more or other batches.",
    )

    def __init__(self, plan: Plan, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._revision = current_revision(plan)
        self._policy: UpgradePolicy = written_policy(self._revision)
        self.fields["text"].initial = self._revision.policy_text
        self._slots = slots_of(self._policy)
        standing = standing_of(plan)
        self._pending = {row.name for row in rows_of(plan) if str(row.state) == "pending"}
        self._open = [
            (index, batch, index >= standing.begun)
            for index, batch in enumerate(self._policy.batches)
            if batch.name not in standing.over
        ]
        self._add_guardrails()
        self._add_batches()
        for name, label in _LIMITS.items():
            self._number(f"limit_{name}", label, getattr(self._policy.limits, name))
        for name, label in _CONDITIONS.items():
            value = getattr(self._policy.on, name)
            choices = [("rollback", "roll back"), ("hold", "hold, a person decides")]
            self._choice(f"on_{name}", label, value, choices)

    def _number(self, name: str, label: str, value: float) -> None:
        self.fields[name] = forms.FloatField(
            label=label,
            initial=f"{value:g}" if value == float(f"{value:g}") else repr(value),
            widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        )

    def _choice(self, name: str, label: str, value: str, choices: Any) -> None:
        self.fields[name] = forms.ChoiceField(label=label, initial=value, choices=choices)

    def _add_guardrails(self) -> None:
        actions = [("rollback", "roll back"), ("pause", "pause"), ("warn", "warn")]
        for index, rule in enumerate(self._slots.values()):
            number = rule.at_least if rule.at_most is None else rule.at_most
            # The number as it is written, the side as its Kpi reads it.
            side = "At least" if in_kpi_words(rule).at_most is None else "At most"
            self._number(f"rail_{index}_number", f"{side} {rule.unit or ''}".strip(), number or 0)
            self._number(f"rail_{index}_failure_limit", "Failed looks let by", rule.failure_limit)
            self._choice(f"rail_{index}_action", "On a breach", rule.action, actions)

    def _add_batches(self) -> None:
        gates = [("automatic", "by itself"), ("manual", "by a person")]
        for index, batch, waits in self._open:
            if waits:
                self._number(f"batch_{index}_percentage", "Share (%)", batch.percentage)
            minutes = batch.soak_seconds / 60
            self._number(f"batch_{index}_soak_minutes", "Soak (min)", minutes)
            if waits:
                self._choice(f"batch_{index}_advance", "Begins", batch.advance, gates)

    # What the page shows.

    def guardrail_rows(self) -> list[Row]:
        """Return the fields of each guardrail."""
        return [
            Row(slot, limit_text(in_kpi_words(rule)), self._fields(f"rail_{index}_"))
            for index, (slot, rule) in enumerate(self._slots.items())
        ]

    def batch_rows(self) -> list[Row]:
        """Return the fields of each batch that is not over."""
        return [
            Row(batch.name, "" if waits else self._stands(batch), self._fields(f"batch_{index}_"))
            for index, batch, waits in self._open
        ]

    def _stands(self, batch: BatchSpec) -> str:
        return "in front of a skipped batch" if batch.name in self._pending else "has begun"

    def limit_fields(self) -> tuple[Any, ...]:
        """Return the fields of the limits."""
        return self._fields("limit_")

    def condition_fields(self) -> tuple[Any, ...]:
        """Return the fields of the conditions."""
        return self._fields("on_")

    def _fields(self, prefix: str) -> tuple[Any, ...]:
        return tuple(self[name] for name in self.fields if name.startswith(prefix))

    # What the form says.

    def clean(self) -> dict[str, Any]:
        """Refuse a changed text beside changed values: one of the two would not be meant."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and self._text_changed() and self._values():
            self.add_error("text", "Change either the values above or the text, not both.")
        return cleaned

    def wanted(self) -> ChangeSet:
        """Return the change set of the valid form; one without changes says so when it is used."""
        if self._text_changed():
            return ChangeSet(text=self.cleaned_data["text"].replace("\r\n", "\n"))
        values = self._values()
        if not values:
            # The text as it is: what it is read to is that nothing would change.
            return ChangeSet(text=self._revision.policy_text)
        return ChangeSet(**values)

    def has_changes(self) -> bool:
        """Tell whether the valid form says anything that is not so already."""
        return self._text_changed() or bool(self._values())

    def expiry(self) -> Expiry | None:
        """Return how long a loosening is to hold."""
        minutes = self.cleaned_data.get("ends")
        return Expiry(after=timedelta(minutes=int(minutes))) if minutes else None

    def _text_changed(self) -> bool:
        text = self.cleaned_data.get("text", "").replace("\r\n", "\n").strip()
        return bool(text) and text != self._revision.policy_text.strip()

    def _values(self) -> dict[str, Any]:
        groups = {
            "guardrails": self._changed_guardrails(),
            "batches": self._changed_batches(),
            "limits": self._changed_fields("limit_", self._policy.limits),
            "on": self._changed_fields("on_", self._policy.on),
        }
        return {name: values for name, values in groups.items() if values}

    def _changed_guardrails(self) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for index, (slot, rule) in enumerate(self._slots.items()):
            side = "at_least" if rule.at_most is None else "at_most"
            there = {
                "number": getattr(rule, side),
                "failure_limit": rule.failure_limit,
                "action": rule.action,
            }
            said = self._said(f"rail_{index}_", there)
            if "number" in said:
                said[side] = said.pop("number")
            if is_threshold(rule) and set(said) == {"at_most"}:
                changed[slot] = said["at_most"]
            elif said:
                changed[slot] = said
        return changed

    def _changed_batches(self) -> dict[str, Any]:
        changed = {}
        for index, batch, _waits in self._open:
            there = {
                "percentage": batch.percentage,
                "soak_minutes": batch.soak_seconds / 60,
                "advance": batch.advance,
            }
            if said := self._said(f"batch_{index}_", there):
                changed[batch.name] = said
        return changed

    def _changed_fields(self, prefix: str, there: Any) -> dict[str, Any]:
        names = {f.removeprefix(prefix) for f in self.fields if f.startswith(prefix)}
        return self._said(prefix, {name: getattr(there, name) for name in names})

    def _said(self, prefix: str, there: dict[str, Any]) -> dict[str, Any]:
        """Return the values that differ from what is there, whole numbers as such."""
        said = {}
        for name, was in there.items():
            value = self.cleaned_data.get(f"{prefix}{name}")
            if value is None or value == was:
                continue
            whole = isinstance(value, float) and value.is_integer()
            said[name] = int(value) if whole else value
        return said

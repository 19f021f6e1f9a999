"""The form of a plan, and how a plan reads as the form's values."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django import forms

from batches.configured import deployers
from plans.drafting.drafting import PlanDraft, TenantChoice, current_revision
from plans.models import Plan, Release, Tenant, User
from plans.policies.newest import written_by_people
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput

LABELS_OFFERED = 12
KNOWN_LABELS_READ = 2000
CHOICES_OF_TENANTS = (
    ("all", "All tenants"),
    ("labels", "Those with all of these labels"),
    ("keys", "These tenants"),
)


def _releases() -> list[tuple[str, Any]]:
    """Return the releases to choose from, newest first under their plugin."""
    groups: dict[str, list[tuple[str, str]]] = {}
    rows = Release.objects.select_related("plugin").order_by("plugin__key", "-created_at")
    for release in rows:
        key, version = release.plugin.key, release.version
        label = f"{key} {version}{' (cannot be taken back)' if release.irreversible else ''}"
        if release.state != Release.TRUSTED:
            label += f" ({str(release.get_state_display()).lower()})"
        groups.setdefault(key, []).append((f"{key}@{version}", label))
    return [("", "Choose a release"), *groups.items()]


def _policies() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the policies and the approvals entries to choose from."""
    policies, approvals = [("", "Choose a policy")], [("", "As the policy says")]
    entries: dict[str, str] = {}
    for row in written_by_people():
        policy_file = parse_policy_file(row.text)
        policies.append((row.name, row.name))
        for name, rule in policy_file.approvals.items():
            entries.setdefault(name, f"{name}: {', '.join(rule.required_roles)}")
    return policies, [*approvals, *sorted(entries.items())]


def _deployers() -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Return the deployers to choose from, and what is wrong with their file."""
    try:
        names = sorted(deployers())
    except BadInput as bad:
        return [], bad.problems
    return [(name, name) for name in names], ()


def known_labels(by: User) -> list[str]:
    """Return the labels that most of the person's tenants carry, as the form takes them."""
    counted: Counter[str] = Counter()
    seen = Tenant.objects.visible_to(by).order_by()
    for labels in seen.values_list("labels", flat=True)[:KNOWN_LABELS_READ]:
        counted.update(f"{name}={value}" for name, value in labels.items())
    shared = [label for label, n in counted.most_common(4 * LABELS_OFFERED) if n > 1]
    return sorted(shared[:LABELS_OFFERED])


class PlanForm(forms.Form):
    """What a release manager says about a plan."""

    release = forms.ChoiceField(label="Plugin and release")
    policy = forms.ChoiceField()
    deployer = forms.ChoiceField(help_text="The platform's hook that installs and restores.")
    tenants = forms.ChoiceField(
        label="Which tenants",
        choices=CHOICES_OF_TENANTS,
        widget=forms.RadioSelect,
        initial="all",
    )
    labels = forms.CharField(required=False, label="Labels")
    keys = forms.CharField(
        required=False,
        label="Tenant keys",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Separated by commas, spaces or new lines.",
    )
    approvals = forms.ChoiceField(required=False, label="Who approves")
    not_before = forms.DateTimeField(
        required=False,
        label="Not before (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Nobody can start it earlier; the policy's windows hold as well.",
    )
    owner_name = forms.CharField(required=False, max_length=120, label="Owner")
    owner_email = forms.EmailField(
        required=False, label="Owner's e-mail", help_text="Alerts of this plan go there."
    )
    note = forms.CharField(
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Why now, what to look at: the approvers read it.",
    )
    external_id = forms.CharField(
        required=False,
        max_length=120,
        label="Name",
        help_text="How pipelines and people call the plan; made up when empty.",
    )

    def __init__(self, *args: Any, by: User, fixed_name: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        policies, approvals = _policies()
        releases = _releases()
        # The first of each is the empty choice.
        self.ready = len(policies) > 1 and len(releases) > 1
        names, self.deployer_problems = _deployers()
        self._offer("release", releases)
        self._offer("policy", policies)
        self._offer("approvals", approvals)
        self._offer("deployer", names)
        labels = known_labels(by)
        if labels:
            self.fields["labels"].help_text = f"Known: {', '.join(labels)}"
        self.fields["labels"].widget.attrs["placeholder"] = "region=eu, tier=gold"
        if fixed_name:
            del self.fields["external_id"]

    def _offer(self, name: str, choices: Sequence[tuple[str, Any]]) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            field.choices = choices

    def clean(self) -> dict[str, Any]:
        """Refuse a choice of tenants that says nothing, and labels that cannot be read."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("tenants") == "labels":
            parts = [part.strip() for part in cleaned["labels"].replace(";", ",").split(",")]
            wrong = [part for part in parts if part and not _is_label(part)]
            if wrong:
                self.add_error("labels", f"'{wrong[0]}' is no label; write it like region=eu")
            elif not any(parts):
                self.add_error("labels", "Write at least one label, such as region=eu.")
        if cleaned.get("tenants") == "keys" and not cleaned["keys"].replace(",", " ").split():
            self.add_error("keys", "Write at least one tenant key.")
        return cleaned

    def draft(self) -> PlanDraft:
        """Return what the valid form says."""
        said = self.cleaned_data
        plugin, _at, version = said["release"].rpartition("@")
        return PlanDraft(
            plugin=plugin,
            to_version=version,
            policy=said["policy"],
            deployer=said["deployer"],
            tenants=_choice(said),
            external_id=said.get("external_id", "").strip(),
            approvals=said["approvals"] or None,
            not_before=said["not_before"],
            owner_name=said["owner_name"].strip(),
            owner_email=said["owner_email"],
            note=said["note"].strip(),
        )


def _is_label(part: str) -> bool:
    name, equals, value = part.partition("=")
    return bool(equals and name.strip() and value.strip())


def _choice(said: dict[str, Any]) -> TenantChoice:
    if said["tenants"] == "keys":
        return TenantChoice(keys=tuple(said["keys"].replace(",", " ").split()))
    if said["tenants"] == "labels":
        parts = [part for part in said["labels"].replace(";", ",").split(",") if part.strip()]
        split = (part.partition("=") for part in parts)
        return TenantChoice(labels={name.strip(): value.strip() for name, _eq, value in split})
    return TenantChoice(all=True)


def values_of(plan: Plan) -> dict[str, Any]:
    """Return a plan as the form's values: for a revision, or to plan the same again."""
    revision = current_revision(plan)
    choice = TenantChoice.from_json(revision.tenant_choice)
    policy = parse_policy_file(revision.policy_text).policies[revision.policy_name]
    return {
        "release": f"{plan.plugin.key}@{plan.release.version}",
        "policy": revision.policy_name,
        "deployer": plan.deployer,
        "tenants": "keys" if choice.keys else "labels" if choice.labels else "all",
        "labels": ", ".join(f"{name}={value}" for name, value in choice.labels.items()),
        "keys": "\n".join(choice.keys),
        "approvals": "" if revision.approvals == policy.approvals else revision.approvals,
        "not_before": plan.not_before,
        "owner_name": plan.owner_name,
        "owner_email": plan.owner_email,
        "note": plan.note,
    }

"""The page that judges a plan's stored looks under other rules."""

import uuid
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from batches.guardrails.pinned_policy import definition_of
from batches.replay.counterfactual import own_policy, replay_under, scaled, with_thresholds
from batches.replay.course import differences, left_out
from batches.replay.other_rules import ACTIONS, evidence_of, named_policy, with_evidence
from batches.replay.past import tally
from plans.models import Plan
from plans.pages.access import person, visible_plan, visible_plans
from plans.policies.newest import newest_policies
from plans.policies.policy import EvidenceRules, UpgradePolicy
from plans.refusal import BadInput, Refused

PLANS_AT_ONCE = 20
OF_THE_TEST = ("kpis", "action", "risk", "ratio", "points", "detect", "power")


class ReplayForm(forms.Form):
    """Other rules: another policy, other numbers; what is left empty stays as it is."""

    policy = forms.ChoiceField(required=False, label="Policy")
    kpis = forms.CharField(required=False, label="Over which Kpis", max_length=400)
    action = forms.ChoiceField(required=False, label="At 100 %")
    risk = forms.FloatField(required=False, label="Risk of a false rollback")
    ratio = forms.FloatField(required=False, label="Tolerated ratio")
    points = forms.FloatField(required=False, label="Tolerated points")
    detect = forms.FloatField(required=False, label="Rate to detect")
    power = forms.FloatField(required=False, label="Power")
    everywhere = forms.BooleanField(required=False, label="Over all past plans, too")

    def __init__(self, policy: UpgradePolicy, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = newest_policies().order_by("name").values_list("name", flat=True)
        choice = self.fields["policy"]
        if isinstance(choice, forms.ChoiceField):
            choice.choices = [("", "The plan's own"), *((name, name) for name in names)]
        self.tested = policy.evidence is not None
        self._say_what_the_test_is(policy.evidence)
        self.judged = {rule.kpi: rule for rule in policy.guardrails}
        for number, (kpi, rule) in enumerate(self.judged.items()):
            limit = rule.at_least if rule.at_most is None else rule.at_most
            definition = definition_of(kpi)
            unit = rule.unit or (definition.unit if definition is not None else "")
            self.fields[f"limit_{number}"] = forms.FloatField(
                required=False,
                label=f"{kpi} {'at least' if rule.at_most is None else 'at most'}",
                help_text=f"{limit:g} {unit}".strip() + " in the plan's policy",
                widget=forms.NumberInput(attrs={"step": "any"}),
            )

    def _say_what_the_test_is(self, rules: EvidenceRules | None) -> None:
        """Say beside each field of the evidence test how it is in the plan's policy."""
        action = self.fields["action"]
        if isinstance(action, forms.ChoiceField):
            action.choices = [("", "As it is"), *((name, name) for name in ACTIONS)]
        known, where = rules or EvidenceRules(), "in the plan's policy" if rules else "by default"
        said = {
            "kpis": ", ".join(known.kpis),
            "action": known.action,
            "risk": f"{known.max_false_rollback_risk:g} %",
            "ratio": f"x{known.ratio:g}",
            "points": f"{known.points:g}",
            "detect": f"{known.detect:g} %",
            "power": f"{known.power:g} %",
        }
        for name, words in said.items():
            self.fields[name].help_text = f"{words} {where}"
        if rules is None:
            self.fields["kpis"].help_text = "The plan's policy has no test; name one Kpi or more."

    @property
    def evidence_fields(self) -> list[Any]:
        """Return the fields of the evidence test."""
        return [self[name] for name in OF_THE_TEST]

    @property
    def changes_the_test(self) -> bool:
        """Tell whether one of them is filled in."""
        return self.is_bound and any(self.data.get(name) for name in OF_THE_TEST)

    def evidence(self) -> dict[str, Any]:
        """Return what was given of the evidence test."""
        given = {name: self.cleaned_data.get(name) for name in OF_THE_TEST}
        filled = {name: value for name, value in given.items() if value not in (None, "")}
        return evidence_of(f"{name}={value}" for name, value in filled.items())

    def thresholds(self) -> dict[str, float]:
        """Return the numbers that were given."""
        given = {kpi: self.cleaned_data.get(f"limit_{n}") for n, kpi in enumerate(self.judged)}
        return {kpi: float(number) for kpi, number in given.items() if number is not None}

    @property
    def limit_fields(self) -> list[Any]:
        """Return the fields of the limits."""
        return [self[name] for name in self.fields if name.startswith("limit_")]


@login_required
@require_GET
def replay_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Show what would have happened under the rules of the address line; writes nothing."""
    plan = visible_plan(request, plan_id)
    own = own_policy(plan)
    form = ReplayForm(own, request.GET or None)
    context: dict[str, Any] = {"plan": plan, "form": form}
    if form.is_bound and form.is_valid():
        context |= _replayed(request, plan, own, form)
    return render(request, "batches/replay.html", context)


def _replayed(
    request: HttpRequest, plan: Plan, own: UpgradePolicy, form: ReplayForm
) -> dict[str, Any]:
    name, thresholds = form.cleaned_data["policy"], form.thresholds()
    try:
        policy, evidence = named_policy(name) if name else None, form.evidence()
        if policy is None and not thresholds and not evidence:
            different = differences(plan, on_a_page=True)
            return {"same": True, "differences": different, "left_out": left_out(plan)}
        rules = with_evidence(with_thresholds(policy or own, thresholds), evidence)
        found: dict[str, Any] = {"replay": replay_under(plan, scaled(rules), on_a_page=True)}
        if form.cleaned_data["everywhere"]:
            found["tally"] = tally(
                visible_plans(person(request)),
                policy=policy,
                thresholds=thresholds,
                evidence=evidence,
                most=PLANS_AT_ONCE,
                on_a_page=True,
            )
    except BadInput as bad:
        return {"problems": bad.problems}
    except Refused as refused:
        return {"problems": [refused.sentence]}
    return found

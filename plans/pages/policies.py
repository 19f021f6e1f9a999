"""The pages of policies: the list, one policy in text and words, and the check of a text."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from plans.models import Plan, Policy
from plans.pages.access import asked, person, viewer
from plans.pages.forms import PolicyTextForm
from plans.people.permissions import may
from plans.policies.keeping import save_policy_text
from plans.policies.kpi_advice import advice
from plans.policies.newest import REHEARSALS, newest_policies, written_by_people
from plans.policies.policy import PolicyFile, UpgradePolicy
from plans.policies.policy_words import meaning, span
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import NotFound


def steps(policy: UpgradePolicy) -> str:
    """Return the batches in one line: canary 5 %, wave-1 30 %."""
    return ", ".join(f"{batch.name} {batch.percentage:g} %" for batch in policy.batches)


@login_required
@require_GET
def policy_list(request: HttpRequest) -> HttpResponse:
    """List the newest of each policy; those of rehearsals only when asked for."""
    user = viewer(request)
    counted = Policy.objects.order_by().values("name").annotate(n=Count("pk"))
    versions = {row["name"]: row["n"] for row in counted}
    rows = []
    rehearsals = newest_policies().filter(source=REHEARSALS).count()
    shows_all = asked(request, "rehearsals") == "1"
    shown = newest_policies() if shows_all else written_by_people()
    for row in shown.select_related("created_by"):
        policy_file = parse_policy_file(row.text)
        policy = policy_file.policies[row.name]
        rule = policy_file.approvals.get(policy.approvals)
        rows.append(
            {
                "row": row,
                "policy": policy,
                "steps": steps(policy),
                "soak": span(sum(batch.soak_seconds for batch in policy.batches)),
                "roles": rule.required_roles if rule else (),
                "versions": versions[row.name],
                "rehearsal": row.source == REHEARSALS,
            }
        )
    context = {
        "rows": rows,
        "rehearsals": rehearsals,
        "shows_all": shows_all,
        "may_manage": may(user, "manage_policies"),
    }
    return render(request, "plans/policy_list.html", context)


@login_required
@require_GET
def policy_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one policy: its text, what it means, its versions and who uses it."""
    user = viewer(request)
    versions = Policy.objects.filter(name=name).select_related("created_by")
    digest = asked(request, "digest")
    row = (versions.filter(digest__startswith=digest) if digest else versions).first()
    if row is None:
        raise NotFound("There is no such policy.")
    policy_file = parse_policy_file(row.text)
    policy = policy_file.policies[name]
    using = Plan.objects.visible_to(user).filter(revisions__policy=row)
    plans = using.order_by().distinct().count()
    context = {
        "row": row,
        "policy": policy,
        "lines": row.text.splitlines(),
        "meaning": meaning(policy, policy_file.approvals.get(policy.approvals)),
        "versions": versions,
        "newest": versions[0],
        "plans": plans,
    }
    return render(request, "plans/policy_detail.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def policy_check(request: HttpRequest) -> HttpResponse:
    """Say all that is wrong with a policy file, or what it means; save it where asked."""
    user = viewer(request)
    form = PolicyTextForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {"form": form, "may_save": may(user, "manage_policies")}
    if request.method != "POST" or not form.is_valid():
        return render(request, "plans/policy_check.html", context)
    text = form.cleaned_data["text"]
    # A file that was chosen is put into the text field, so that it can be mended there.
    context["form"] = PolicyTextForm({"text": text})
    try:
        policy_file = parse_policy_file(text)
    except PolicyRejected as rejected:
        context |= {"problems": rejected.problems, "lines": _marked(text, rejected)}
        return render(request, "plans/policy_check.html", context)
    if request.POST.get("act") == "save":
        rows = save_policy_text(
            text=text, source="page", by=person(request), now=timezone.now(), via="page"
        )
        messages.success(request, f"Saved: {', '.join(row.name for row in rows)}.")
        for one in advice(text, policy_file):
            messages.warning(request, f"{one.path}: {one.message}.")
        return redirect("policy-list")
    context["meanings"] = _meanings(policy_file)
    context["advice"] = advice(text, policy_file)
    return render(request, "plans/policy_check.html", context)


def _marked(text: str, rejected: PolicyRejected) -> list[tuple[int, str, bool]]:
    wrong = {problem.line for problem in rejected.problems}
    return [
        (number, line, number in wrong) for number, line in enumerate(text.splitlines(), start=1)
    ]


def _meanings(policy_file: PolicyFile) -> list[dict[str, Any]]:
    return [
        {
            "policy": policy,
            "meaning": meaning(policy, policy_file.approvals.get(policy.approvals)),
        }
        for policy in policy_file.policies.values()
    ]

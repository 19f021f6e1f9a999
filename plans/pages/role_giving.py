"""The page by which an administrator gives somebody a role."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from plans.log_in.step_up import StepUpRequired, stepping_up
from plans.models import RoleRequest, User
from plans.pages.access import person
from plans.pages.role_form import RoleForm, field_of
from plans.people.known_roles import known_approval_roles
from plans.people.permissions import require
from plans.people.role_giving import give_role
from plans.people.role_records import shown
from plans.refusal import BadInput, Refused


@login_required
@require_http_methods(["GET", "POST"])
def role_give(request: HttpRequest) -> HttpResponse:
    """Ask who is to hold which role, and give it."""
    require(person(request), "administer")
    # From the page of a person or of a request that lacks the role.
    asked = {"person": request.GET.get("person", "")}
    form = RoleForm(request.POST) if request.method == "POST" else RoleForm(initial=asked)
    if request.method == "POST" and form.is_valid() and _given(request, form):
        return redirect("access-review")
    people = User.objects.filter(is_active=True).order_by("name", "email")
    context = {
        "form": form,
        "people": people.values_list("email", "name"),
        "approval_roles": known_approval_roles(),
    }
    return render(request, "plans/role_give.html", context)


def _given(request: HttpRequest, form: RoleForm) -> bool:
    """Give what the form says; put what is refused beside it, before a factor is asked for."""
    by, now, wanted = person(request), timezone.now(), form.wanted()
    try:
        with stepping_up(request, now=now):
            made = give_role(**wanted, why=form.cleaned_data["why"], by=by, now=now, via="page")
    except StepUpRequired:
        # What was typed waits, and is posted again with the proof.
        raise
    except BadInput as bad:
        for problem in bad.problems:
            name, colon, message = problem.partition(": ")
            field = field_of(form, name) if colon else None
            form.add_error(field, message if field else problem)
        return False
    except Refused as refused:
        if refused.status != Refused.status:
            raise
        form.add_error(None, refused.sentence)
        return False
    whose, role = made.user.get_full_name(), shown(made.role)
    if isinstance(made, RoleRequest):
        messages.warning(
            request,
            f"{whose} is not {role} yet: another administrator has to confirm it, on this page.",
        )
    else:
        messages.success(request, f"{whose} is {role} now.")
    return True

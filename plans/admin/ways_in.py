"""The admin's pages by which an administrator opens a way into somebody's account.

They say beforehand what waits for another administrator then (`plans/people/ways_in.py`).
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from plans.admin.rights import AnyModelForm, EditableAdmin, administrator
from plans.log_in.step_up import step_up_of, stepping_up
from plans.models import RoleRequest, User
from plans.people.account_changes import change_email, change_person, set_password
from plans.people.role_records import shown
from plans.people.ways_in import what_waits

if TYPE_CHECKING:
    PasswordForm = AdminPasswordChangeForm[User]
else:
    PasswordForm = AdminPasswordChangeForm
WITH_ANOTHER_ADDRESS = (
    "With another e-mail address the old one lets in no more, nor does the log-in at the company"
    " that was found by it."
)


class PersonPasswordForm(PasswordForm):
    """Another password for somebody, and why."""

    reason = forms.CharField(
        max_length=300,
        help_text="How you know that it is really this person who asks; it stands in the trail.",
    )


def waits_line(user: User, request: HttpRequest) -> str:
    """Return what waits when this administrator opens this person's account; empty for nothing."""
    return what_waits(user, by=administrator(request), now=timezone.now())


class WaysInAdmin(EditableAdmin):
    """People's passwords and addresses, written by administrators with a fresh second factor."""

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the people with what of theirs waits, in one question for all rows."""
        waiting = RoleRequest.objects.filter(outcome="").order_by("asked_at", "kind", "role", "pk")
        return (
            super()
            .get_queryset(request)
            .prefetch_related(Prefetch("role_requests", waiting, to_attr="roles_that_wait"))
        )

    @admin.display(description="Roles that wait")
    def waits(self, user: Any) -> str:
        """Return the roles that do not count until somebody else confirms them."""
        return ", ".join(shown(one.role) for one in user.roles_that_wait) or "-"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say above the address what becomes of the person's roles with another one."""
        fieldsets = super().get_fieldsets(request, obj)
        if not isinstance(obj, User) or not self.has_change_permission(request, obj):
            return fieldsets
        (name, options), *others = fieldsets
        told = f"{WITH_ANOTHER_ADDRESS} {waits_line(obj, request)}".strip()
        return [(name, {**options, "description": told}), *others]

    def save_model(self, request: HttpRequest, obj: Any, form: AnyModelForm, change: bool) -> None:
        """Let each change be written by its use case: this row may be older than others' acts."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        now, by, changed = timezone.now(), administrator(request), set(form.changed_data)
        if "email" in changed:
            with stepping_up(request, now=now):
                change_email(
                    user_id=obj.pk, email=obj.email, reason="", by=by, now=now, via="admin"
                )
        if changes := {name: getattr(obj, name) for name in sorted(changed - {"email"})}:
            change_person(user_id=obj.pk, changes=changes, by=by, now=now, via="admin")

    @method_decorator(sensitive_post_parameters())
    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        """Ask for another password and why, and set it.

        The second factor is asked for before anything is typed: no form with a password in it
        waits in a session meanwhile.
        """
        person = self.get_object(request, unquote(id))
        if not self.has_change_permission(request, person):
            raise PermissionDenied
        if step_up_of(request, now=timezone.now()) is None:
            return redirect(f"{reverse('step-up')}?{urlencode({'next': request.get_full_path()})}")
        form = PersonPasswordForm(person, request.POST or None)
        if request.method == "POST" and form.is_valid():
            return self._set(request, person, form)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Set a password for {person.get_full_name()}",
            "form": form,
            "person": person,
            "waits": waits_line(person, request),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/set_password.html", context)

    def _set(self, request: HttpRequest, person: User, form: PersonPasswordForm) -> HttpResponse:
        given = form.cleaned_data
        changed = set_password(
            user_id=person.pk,
            password=given["password1"] if given["set_usable_password"] else None,
            reason=given["reason"],
            by=administrator(request),
            now=timezone.now(),
            via="admin",
        )
        # One's own session goes on; everybody else's of that account has ended.
        if changed.pk == administrator(request).pk:
            update_session_auth_hash(request, changed)
        messages.success(request, f"{changed.get_full_name()} has been told by mail.")
        return redirect("admin:plans_user_change", changed.pk)

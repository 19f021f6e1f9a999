"""The admin pages of people, their roles and the tokens of their machines."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from plans.admin_acts import Act, as_action
from plans.admin_rights import (
    AnyModelForm,
    EditableAdmin,
    EditableHistoryAdmin,
    IntakeAdmin,
    administrator,
)
from plans.machine_access import LONGEST_DAYS, SCOPES, NewToken, make_token, revoke_token
from plans.models import CONSOLE_ROLES, ApiToken, RoleBinding, User
from plans.second_factors import reset_factors

if TYPE_CHECKING:
    CreationForm = BaseUserCreationForm[User]
    PeopleAdmin = UserAdmin[User]
else:
    CreationForm = BaseUserCreationForm
    PeopleAdmin = UserAdmin


class PersonCreationForm(CreationForm):
    """A new person."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        """Keep one spelling of an address."""
        return str(self.cleaned_data["email"]).lower()


@admin.register(User)
class PersonAdmin(EditableAdmin, PeopleAdmin):
    """People; somebody who leaves is made inactive, since the trail names them for ever."""

    add_form = PersonCreationForm
    list_display = ("email", "name", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    actions = (
        as_action(
            Act(
                name="reset_factors",
                label="Reset second factors",
                meaning="Their app, passkeys and recovery codes no longer count and their sessions"
                " end. They enrol anew at the next log-in; a mail tells them. Say how you know"
                " that it is really this person who asks.",
                run=lambda user, by, reason, now: reset_factors(
                    user=user, by=by, reason=reason, now=now, via="admin"
                ),
                reason_needed=True,
                step_up_needed=True,
            )
        ),
    )
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)


class RoleBindingForm(AnyModelForm):
    """A role for a person."""

    by: ClassVar[User]

    class Meta:
        model = RoleBinding
        fields = ("user", "kind", "role", "selector", "expires_at")

    def clean(self) -> dict[str, Any]:
        """Refuse roles that mean nothing, and approval roles given to oneself."""
        given = super().clean() or {}
        kind, role = given.get("kind"), given.get("role")
        known = [name for name, _label in CONSOLE_ROLES]
        if kind == RoleBinding.CONSOLE and role not in known:
            self.add_error("role", f"A console role is one of {', '.join(known)}.")
        if kind == RoleBinding.APPROVAL and given.get("user") == self.by:
            self.add_error("user", "Another administrator has to give you an approval role.")
        selector = given.get("selector")
        if not isinstance(selector, dict) or not all(
            isinstance(value, str) for value in selector.values()
        ):
            self.add_error("selector", 'Write labels as {"region": "eu"}, or {} for all tenants.')
        return given


@admin.register(RoleBinding)
class RoleBindingAdmin(EditableHistoryAdmin):
    """Who may do what, where and until when."""

    form = RoleBindingForm
    list_display = ("user", "kind", "role", "selector", "expires_at")
    list_filter = ("kind", "role")
    search_fields = ("user__email", "user__name", "role")
    autocomplete_fields = ("user",)
    list_select_related = ("user",)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[AnyModelForm]:
        """Tell the form who gives the role."""
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"by": administrator(request)})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let administrators take a role away; the trail and the history keep that it was held."""
        return self.has_change_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: RoleBinding) -> None:
        """Take the role away and tell the trail."""
        self.tell(request, obj, "removed", [])
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Take the roles away one by one, so that each is told."""
        for binding in queryset:
            self.delete_model(request, binding)


class SecondFactorAdmin(EditableAdmin):
    """Second factors: to look at. Who has lost theirs is reset on the list of people."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "user__name")
    fields = ("user", "type", "created_at", "last_used_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody add: people enrol their own."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change."""
        return False


class TokenForm(AnyModelForm):
    """A new token."""

    days = forms.IntegerField(min_value=1, max_value=LONGEST_DAYS, initial=30)
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all that the person may do.",
    )

    class Meta:
        model = ApiToken
        fields = ("user", "name")


@admin.register(ApiToken)
class ApiTokenAdmin(IntakeAdmin):
    """Tokens: made once, shown once, then only revoked."""

    intake_form = TokenForm
    list_display = ("name", "prefix", "user", "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__email")
    fields = ("user", "name", "prefix", "scopes", "expires_at", "revoked_at", "last_used_at")
    actions = (
        as_action(
            Act(
                name="revoke",
                label="Revoke",
                meaning="Whoever uses these tokens is refused from now on. This cannot be undone.",
                run=lambda token, by, _reason, now: revoke_token(
                    token_id=token.pk, by=by, now=now, via="admin"
                ),
            )
        ),
    )

    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> ApiToken:
        """Make the token."""
        made = make_token(**given, by=administrator(request), now=timezone.now(), via="admin")
        request.made_token = made  # type: ignore[attr-defined]
        return made.token

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the token, this once; it is in no message, no session and no log."""
        made: NewToken = request.made_token  # type: ignore[attr-defined]
        return TemplateResponse(
            request,
            "admin/token_made.html",
            {
                **self.admin_site.each_context(request),
                "title": "Copy the token now",
                "token": made.token,
                "secret": made.secret,
                "list_url": reverse("admin:plans_apitoken_changelist"),
            },
        )

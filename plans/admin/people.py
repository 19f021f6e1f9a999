"""The admin pages of people, their roles and the tokens of their machines."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from plans.admin.acts import Act, as_action
from plans.admin.rights import (
    AnyModelForm,
    EditableAdmin,
    HistoryAdmin,
    IntakeAdmin,
    administrator,
)
from plans.admin.ways_in import WaysInAdmin, waits_line
from plans.log_in.second_factors import reset_factors
from plans.log_in.step_up import stepping_up
from plans.models import ApiToken, RoleBinding, RoleRequest, User
from plans.people.leavers import let_go, let_in
from plans.people.machine_access import LONGEST_DAYS, NewToken, make_token, revoke_token
from plans.people.role_confirming import confirm_role, refuse_role, warning_of
from plans.people.role_giving import end_role, give_role
from plans.people.role_records import KNOWN_CONSOLE_ROLES
from plans.people.token_scopes import SCOPES
from plans.reach import selector_problems
from plans.reading_direction import turning_problems
from plans.sso.binding import release_log_in

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

    def clean_name(self) -> str:
        """Refuse a name that would turn the sentences that it stands in."""
        name = str(self.cleaned_data["name"])
        if problems := turning_problems(name):
            raise forms.ValidationError(problems)
        return name


@admin.register(User)
class PersonAdmin(WaysInAdmin, PeopleAdmin):
    """People; somebody who leaves is made inactive, since the trail names them for ever."""

    add_form = PersonCreationForm
    list_display = ("email", "name", "waits", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("is_active", "last_login", "date_joined")
    looked_at_by = "review_access"
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)
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
                warns=waits_line,
                reason_needed=True,
                steps_up=True,
            )
        ),
        as_action(
            Act(
                name="release_log_in",
                label="Release the log-in at the company",
                meaning="The account there that was bound to theirs lets them in no more; the next"
                " one with their e-mail address is bound. Their sessions end and a mail tells them."
                " Say how you know that it is really this person who asks.",
                run=lambda user, by, reason, now: release_log_in(
                    user_id=user.pk, by=by, reason=reason, now=now, via="admin"
                ),
                warns=waits_line,
                reason_needed=True,
                steps_up=True,
            )
        ),
        as_action(
            Act(
                name="let_go",
                label="Let in no more",
                meaning="Their log-ins, all of their roles and all of their tokens end at once.",
                reason_needed=True,
                run=lambda person, by, reason, now: let_go(
                    user_id=person.pk, why=reason, by=by, now=now, via="admin"
                ),
            )
        ),
        as_action(
            Act(
                name="let_in",
                label="Let in again",
                meaning="They can log in again; roles are given anew.",
                run=lambda person, by, _reason, now: let_in(
                    user_id=person.pk, by=by, now=now, via="admin"
                ),
            )
        ),
    )


class RoleBindingForm(AnyModelForm):
    """A role for a person."""

    class Meta:
        model = RoleBinding
        fields = ("user", "kind", "role", "selector", "expires_at", "why")

    def clean(self) -> dict[str, Any]:
        """Refuse roles and tenants that mean nothing, beside their fields."""
        given = super().clean() or {}
        kind, role = given.get("kind"), given.get("role")
        if kind == RoleBinding.CONSOLE and role not in KNOWN_CONSOLE_ROLES:
            self.add_error("role", f"A console role is one of {', '.join(KNOWN_CONSOLE_ROLES)}.")
        selector = given["selector"] = given.get("selector") or {}
        if not isinstance(selector, dict) or selector_problems(selector):
            self.add_error("selector", 'Write labels as {"region": "eu"}, or {} for all tenants.')
        return given


@admin.register(RoleBinding)
class RoleBindingAdmin(IntakeAdmin):
    """Who may do what, where and until when: given and ended, never edited."""

    looked_at_by = "review_access"
    intake_form = RoleBindingForm
    list_display = ("user", "kind", "role", "selector", "created_at", "expires_at", "ended_at")
    list_filter = ("kind", "role")
    search_fields = ("user__email", "user__name", "role")
    autocomplete_fields = ("user",)
    list_select_related = ("user",)
    actions = (
        as_action(
            Act(
                name="end",
                label="End",
                meaning="These people hold these roles no more from now on; that they did, stays.",
                reason_needed=True,
                run=lambda binding, by, reason, now: end_role(
                    binding_id=binding.pk, why=reason, by=by, now=now, via="admin"
                ),
            )
        ),
    )

    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> RoleBinding | RoleRequest:
        """Give the role, or keep the request for it."""
        by, now = administrator(request), timezone.now()
        with stepping_up(request, now=now):
            made = give_role(**given, by=by, now=now, via="admin")
        request.given_role = made  # type: ignore[attr-defined]
        return made

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Say where the second administrator finds what waits for them."""
        if isinstance(request.given_role, RoleBinding):  # type: ignore[attr-defined]
            return super().response_add(request, obj, post_url_continue)
        messages.warning(
            request,
            "Another administrator has to confirm this: nobody alone makes somebody an approver,"
            " an administrator, or lets them break glass. It does not count until then.",
        )
        return redirect("admin:plans_rolerequest_changelist")


@admin.register(RoleRequest)
class RoleRequestAdmin(HistoryAdmin):
    """Roles that take two: asked for by one administrator, decided by another."""

    looked_at_by = "review_access"
    list_display = (
        *("user", "kind", "role", "selector", "asked_by", "asked_at", "why"),
        *("outcome", "decided_by"),
    )
    list_select_related = ("user", "asked_by", "decided_by")
    list_filter = ("outcome",)
    actions = (
        as_action(
            Act(
                name="confirm",
                label="Confirm",
                meaning="These people hold these roles from now on.",
                warns=lambda asked, _request: warning_of(asked),
                steps_up=True,
                run=lambda asked, by, _reason, now: confirm_role(
                    request_id=asked.pk, by=by, now=now, via="admin"
                ),
            )
        ),
        as_action(
            Act(
                name="refuse",
                label="Refuse",
                meaning="They do not get these roles.",
                reason_needed=True,
                run=lambda asked, by, reason, now: refuse_role(
                    request_id=asked.pk, why=reason, by=by, now=now, via="admin"
                ),
            )
        ),
    )


class SecondFactorAdmin(EditableAdmin):
    """Second factors: to look at. Who has lost theirs is reset on the list of people."""

    looked_at_by = "review_access"
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
        help_text="None chosen: all that the person may do; it approves nothing.",
    )

    class Meta:
        model = ApiToken
        fields = ("user", "name", "selector")

    def clean_selector(self) -> dict[str, str]:
        """Refuse labels that mean nothing."""
        selector = self.cleaned_data["selector"] or {}
        if not isinstance(selector, dict) or selector_problems(selector):
            raise forms.ValidationError('Write labels as {"region": "eu"}, or {} for no narrowing.')
        return selector


@admin.register(ApiToken)
class ApiTokenAdmin(IntakeAdmin):
    """Tokens: made once, shown once, then only revoked."""

    looked_at_by = "review_access"
    intake_form = TokenForm
    list_display = (
        *("name", "prefix", "user", "made_by", "expires_at", "revoked_at"),
        *("last_used_at", "last_used_from"),
    )
    list_select_related = ("user", "made_by")
    search_fields = ("name", "prefix", "user__email")
    fields = (
        *("user", "name", "prefix", "scopes", "selector", "made_by", "expires_at"),
        *("revoked_at", "revoked_by", "last_used_at", "last_used_from"),
    )
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
        now = timezone.now()
        with stepping_up(request, now=now):
            made = make_token(**given, by=administrator(request), now=now, via="admin")
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

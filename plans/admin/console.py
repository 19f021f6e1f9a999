"""The admin pages of tenants, releases, keys, policies, switches and the trail.

Plans themselves are in batches/admin.py, since taking them back touches tenants.
"""

from contextlib import nullcontext
from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from auditlog.models import LogEntry
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success

from plans import flags
from plans.admin.acts import Act, as_action
from plans.admin.people import SecondFactorAdmin
from plans.admin.rights import (
    AnyModelForm,
    EditableAdmin,
    EditableHistoryAdmin,
    IntakeAdmin,
    ReadOnlyAdmin,
    administrator,
)
from plans.log_in.step_up import stepping_up
from plans.models import (
    Checkpoint,
    Event,
    Flag,
    Installation,
    Plugin,
    Policy,
    Release,
    Tenant,
    TrailCheck,
    TrustKey,
)
from plans.people.permissions import may, reach_of, require_over
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release, revoke_key, trust_key

admin.site.site_header = "Upgrade Console administration"
admin.site.site_title = "Upgrade Console"
# The admin's own log-in asks for a password only; the console's asks for the second factor too.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# Nobody edits the queue by hand, rights do not come from groups, the log-in is the e-mail, and the
# secrets of second factors are nobody's to read (plans/admin/people.py shows them without).
admin.site.unregister([Schedule, Success, Failure, OrmQ, Group, EmailAddress, Authenticator])
# Whom to trust for single sign-on is configuration, and sessions are their people's.
admin.site.unregister([SocialAccount, SocialApp, SocialToken, UserSession])
admin.site.register(Authenticator, SecondFactorAdmin)


@admin.register(Tenant)
class TenantAdmin(EditableHistoryAdmin):
    """Tenants; a tenant that leaves stays, since old plans name it."""

    needed = "manage_tenants"
    fixed_fields = ("key",)
    list_display = ("key", "name", "labels", "owner_email")
    search_fields = ("key", "name", "owner_email")
    readonly_fields = ("created_at", "updated_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the right over this tenant."""
        theirs = reach_of(administrator(request), "manage_tenants")
        reached = obj is None or theirs.covers(obj.labels)
        return reached and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: AnyModelForm, change: bool) -> None:
        """Refuse labels that would take the tenant out of the person's reach, or one into it."""
        require_over(administrator(request), "manage_tenants", [obj.labels])
        super().save_model(request, obj, form, change)


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """What was last observed where."""

    list_display = ("tenant", "plugin", "version", "last_stable_version", "observed_at", "fence")
    list_select_related = ("tenant", "plugin")
    search_fields = ("tenant__key", "plugin__key", "version")


@admin.register(Plugin)
class PluginAdmin(EditableAdmin):
    """Plugins."""

    needed = "manage_releases"
    fixed_fields = ("key",)
    list_display = ("key", "name")
    search_fields = ("key", "name")


class ReleaseForm(AnyModelForm):
    """A release to take in."""

    envelope = forms.CharField(
        widget=forms.Textarea, help_text="The content of the file release.json.dsse."
    )
    irreversible = forms.BooleanField(
        required=False, help_text="It cannot be taken back, e.g. because it migrates data."
    )

    class Meta:
        model = Release
        fields = ("envelope", "irreversible")


@admin.register(Release)
class ReleaseAdmin(IntakeAdmin):
    """Releases: taken in by their signed envelope, then only looked at."""

    needed = "manage_releases"
    intake_form = ReleaseForm
    list_display = (
        *("plugin", "version", "state", "digest", "signed_by", "irreversible", "verified_at"),
    )
    list_select_related = ("plugin", "signed_by")
    search_fields = ("plugin__key", "version", "digest")

    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> Release:
        """Verify the signature and register the release."""
        by = administrator(request)
        return register_release(**given, by=by, now=timezone.now(), via="admin")


class TrustKeyForm(AnyModelForm):
    """A key to trust."""

    plugins = forms.CharField(
        required=False, help_text="Plugins it may sign, with commas between; empty = all."
    )

    class Meta:
        model = TrustKey
        fields = ("key_id", "name", "public_key", "not_before", "not_after")

    def clean_plugins(self) -> tuple[str, ...]:
        """Return the keys of the plugins."""
        names = str(self.cleaned_data["plugins"]).split(",")
        return tuple(name.strip() for name in names if name.strip())


@admin.register(TrustKey)
class TrustKeyAdmin(IntakeAdmin):
    """Keys whose signatures count; never edited, only revoked."""

    intake_form = TrustKeyForm
    list_display = ("key_id", "name", "not_before", "not_after", "revoked_at", "plugins")
    search_fields = ("key_id", "name")
    actions = (
        as_action(
            Act(
                name="revoke",
                label="Revoke",
                meaning="Releases signed with these keys are refused at their next check.",
                reason_needed=True,
                steps_up=True,
                run=lambda key, by, reason, now: revoke_key(
                    key_id=key.key_id, reason=reason, by=by, now=now, via="admin"
                ),
            )
        ),
    )

    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> TrustKey:
        """Add the key to the trust store."""
        now = timezone.now()
        with stepping_up(request, now=now):
            return trust_key(**given, by=administrator(request), now=now, via="admin")


class PolicyForm(AnyModelForm):
    """A policy file."""

    text = forms.CharField(
        widget=forms.Textarea, help_text="The whole YAML file; each policy in it becomes a row."
    )

    class Meta:
        model = Policy
        fields = ("text",)


@admin.register(Policy)
class PolicyAdmin(IntakeAdmin):
    """Policies: handed in as text; a change is a new row."""

    needed = "manage_policies"
    intake_form = PolicyForm
    list_display = ("name", "digest", "source", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name", "digest", "source")

    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> Policy:
        """Keep every policy of the file; the page shows the last."""
        by = administrator(request)
        rows = save_policy_text(
            text=given["text"], source="admin", by=by, now=timezone.now(), via="admin"
        )
        return rows[-1]


class FlagForm(AnyModelForm):
    """A switch to turn."""

    name = forms.ChoiceField(choices=[(n, f"{n} ({why})") for n, why in flags.MEANINGS.items()])
    reason = forms.CharField(max_length=300)

    class Meta:
        model = Flag
        fields = ("name", "enabled", "reason")


@admin.register(Flag)
class FlagAdmin(EditableHistoryAdmin):
    """The switches; one that nobody ever turned is on and has no row."""

    form = FlagForm
    fixed_fields = ("name",)
    list_display = ("name", "enabled", "reason", "changed_by", "changed_at")
    list_select_related = ("changed_by",)
    readonly_fields = ("changed_by", "changed_at")
    fields = ("name", "enabled", "reason", "changed_by", "changed_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Turn the switch by its use case, which tells the trail."""
        now = timezone.now()
        critical = flags.lets_more_happen(obj.name, on=obj.enabled)
        with stepping_up(request, now=now) if critical else nullcontext():
            turned = flags.turn(
                name=obj.name,
                on=obj.enabled,
                reason=obj.reason,
                by=administrator(request),
                now=now,
                via="admin",
            )
        obj.__dict__.update(turned.__dict__)


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Signed checkpoints over the trail."""

    list_display = ("number", "at", "why", "size", "kid")
    list_filter = ("why", "kid")
    ordering = ("-number",)


@admin.register(TrailCheck)
class TrailCheckAdmin(ReadOnlyAdmin):
    """What the checks of the trail have found."""

    list_display = ("at", "outcome", "sentence", "events", "checkpoints", "seconds")
    list_filter = ("outcome",)
    ordering = ("-at",)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The trail."""

    list_display = ("at", "stream", "seq", "kind", "actor_name", "via", "sentence")
    list_select_related = ("stream",)
    list_filter = ("via",)
    search_fields = ("kind", "sentence", "stream__key")
    ordering = ("-at", "-pk")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the events of visible plans, and the system's to those who may read that trail."""
        by = administrator(request)
        seen = Event.objects.visible_to(by)
        if may(by, "read_trail"):
            seen |= Event.objects.told_of(None)
        return seen


class FieldHistoryAdmin(ReadOnlyAdmin):
    """The field-level history of all tables: for those who may read the system's trail."""

    looked_at_by = "read_trail"
    list_display = ("timestamp", "content_type", "object_repr", "action", "actor")
    list_select_related = ("content_type", "actor")
    list_filter = ("action", "content_type")
    search_fields = ("object_repr", "changes")
    ordering = ("-timestamp", "-pk")


admin.site.unregister(LogEntry)
admin.site.register(LogEntry, FieldHistoryAdmin)

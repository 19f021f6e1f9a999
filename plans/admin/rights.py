"""What administrators may do in the admin pages: see everything, edit what may be edited."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from auditlog.mixins import AuditlogHistoryAdminMixin
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from plans.models import User
from plans.people.permissions import may
from plans.people.visible_rows import visible_rows
from plans.refusal import NotFound
from plans.trail import events

if TYPE_CHECKING:
    # Django's own classes take no parameter at run time.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyModelForm = ModelForm[Any]
    AnyInline = admin.TabularInline[Any, Any]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyModelForm = ModelForm
    AnyInline = admin.TabularInline


def administrator(request: HttpRequest) -> User:
    """Return the administrator; the admin site has let in nobody else."""
    if not isinstance(request.user, User):
        raise TypeError("The admin site let in somebody who is not logged in.")
    return request.user


class ReadOnlyAdmin(AnyModelAdmin):
    """Rows to look at: nothing can be added, changed or deleted here."""

    show_full_result_count = False

    # Who may look, besides being staff; None = all staff, at what they may see of it.
    looked_at_by: ClassVar[str | None] = None

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows that the person may see: others do not exist, here as on every page."""
        return visible_rows(super().get_queryset(request), administrator(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return the row; a 404 where there is none for this person."""
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise NotFound("There is no such row.")
        return found

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the section to staff."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let staff look, where it takes a right those who have it."""
        staff = bool(request.user.is_active and request.user.is_staff)
        return staff and (self.looked_at_by is None or may(request.user, self.looked_at_by))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete: what happened stays."""
        return False


class HistoryAdmin(AuditlogHistoryAdminMixin, ReadOnlyAdmin):
    """Rows with their field-level history."""

    show_auditlog_history_link = True


class EditableAdmin(ReadOnlyAdmin):
    """Rows that whoever may do `needed` adds and changes; each change is told in the trail."""

    needed: ClassVar[str] = "administer"
    # What names a row for good: written once, then only shown.
    fixed_fields: ClassVar[tuple[str, ...]] = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the console's own permissions."""
        return self.has_view_permission(request) and may(administrator(request), self.needed)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the console's own permissions."""
        return self.has_view_permission(request) and may(administrator(request), self.needed)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the names of existing rows as they are."""
        fixed = self.fixed_fields if obj is not None else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def save_model(self, request: HttpRequest, obj: Any, form: AnyModelForm, change: bool) -> None:
        """Save and tell the trail who changed which fields; the page is one transaction."""
        super().save_model(request, obj, form, change)
        self.tell(request, obj, "changed" if change else "added", form.changed_data)

    def tell(self, request: HttpRequest, obj: Any, verb: str, fields: list[str]) -> None:
        """Record in the system's trail what was done to a row."""
        by = administrator(request)
        noun = str(self.opts.verbose_name)
        shown = [name for name in fields if "password" not in name]
        detail = f" ({', '.join(shown)})" if shown and verb == "changed" else ""
        events.record(
            stream=None,
            kind=f"{self.opts.model_name}_{verb}",
            sentence=f"{by.get_full_name()} {verb} the {noun} {obj}{detail}.",
            actor=by,
            via="admin",
            now=timezone.now(),
            payload={"id": str(obj.pk), "fields": shown},
        )


class EditableHistoryAdmin(AuditlogHistoryAdminMixin, EditableAdmin):
    """Editable rows with their field-level history."""

    show_auditlog_history_link = True


class IntakeAdmin(HistoryAdmin):
    """Rows that a use case makes from a form and that are only looked at afterwards."""

    needed: ClassVar[str] = "administer"
    intake_form: ClassVar[type[AnyModelForm]]

    @abstractmethod
    def take_in(self, request: HttpRequest, given: dict[str, Any]) -> Any:
        """Return the row that the use case made of the form's values."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the console's own permissions."""
        return self.has_view_permission(request) and may(administrator(request), self.needed)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[AnyModelForm]:
        """Ask for what the use case takes."""
        if obj is None:
            kwargs["form"] = self.intake_form
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for what the use case takes; show all of a row that is there."""
        return (
            list(self.intake_form.base_fields) if obj is None else super().get_fields(request, obj)
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Let the use case make the row; it tells the trail."""
        made = self.take_in(request, dict(form.cleaned_data))
        obj.__dict__.update(made.__dict__)

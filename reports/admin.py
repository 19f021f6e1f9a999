"""The admin pages of reports, endpoints and deliveries."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from plans.admin.acts import Act, as_action
from plans.admin.rights import AnyModelForm, EditableHistoryAdmin, ReadOnlyAdmin
from plans.models import User
from reports.endpoint_form import EndpointForm
from reports.models import Announcement, Delivery, Endpoint, UpgradeReport
from reports.telling.deliveries import send_again


@admin.register(UpgradeReport)
class UpgradeReportAdmin(ReadOnlyAdmin):
    """Reports: issued once, then only read."""

    list_display = ("plan", "state", "ending", "issued_at", "seconds", "size", "sha256", "error")
    list_select_related = ("plan",)
    list_filter = ("state",)
    search_fields = ("plan__external_id", "sha256", "data_digest")
    date_hierarchy = "ending"


@admin.register(Endpoint)
class EndpointAdmin(EditableHistoryAdmin):
    """Machines that are told of alerts; an address that is not wanted any more is made inactive."""

    form = EndpointForm
    list_display = ("name", "url", "kinds", "active", "signs", "created_at")
    search_fields = ("name", "url")
    readonly_fields = ("signs", "created_at")

    @admin.display(description="Secret")
    def signs(self, endpoint: Endpoint) -> str:
        """Tell whether there is a secret; what it is, nobody is shown."""
        return "set" if endpoint.has_secret else "not set"

    def save_model(
        self, request: HttpRequest, obj: Endpoint, form: AnyModelForm, change: bool
    ) -> None:
        """Take a secret that was entered, or forget the one that is there."""
        if form.cleaned_data["new_secret"] or form.cleaned_data["forget_secret"]:
            obj.keep_secret(form.cleaned_data["new_secret"])
        super().save_model(request, obj, form, change)


@admin.register(Announcement)
class AnnouncementAdmin(ReadOnlyAdmin):
    """What was announced, word for word."""

    list_display = ("alert", "status", "made_at")
    list_select_related = ("alert",)
    list_filter = ("status",)


def _send_again(delivery: Delivery, by: User, _reason: str, now: datetime) -> None:
    send_again(delivery_id=delivery.pk, by=by, now=now)


class ByOutcome(admin.SimpleListFilter):
    """Finds what has not arrived."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name what can have become of a delivery."""
        return [("waiting", "Waiting"), ("given_up", "Given up"), ("delivered", "Delivered")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Return the deliveries of the chosen outcome."""
        if self.value() == "delivered":
            return queryset.filter(delivered_at__isnull=False)
        if self.value() in {"waiting", "given_up"}:
            given_up = self.value() == "given_up"
            return queryset.filter(delivered_at=None, given_up_at__isnull=not given_up)
        return queryset


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Who was told what, and what became of it."""

    list_display = (
        "channel",
        "target",
        "announcement",
        "outcome",
        "attempts",
        "last_error",
        "next_try",
    )
    list_select_related = ("announcement",)
    list_filter = (ByOutcome, "channel")
    search_fields = ("target", "last_error")
    actions = (
        as_action(
            Act(
                "send_again",
                "Send again now",
                "What was given up or waits is tried at once; what arrived stays as it is.",
                _send_again,
            )
        ),
    )

    @admin.display(description="Next try", ordering="next_at")
    def next_try(self, delivery: Delivery) -> datetime | None:
        """Return when it is tried again; nothing where it is not."""
        return delivery.next_at if delivery.outcome() == "waiting" else None

"""Turn alerts into announcements: the words that are sent, and a delivery for each address.

Called by the watch once a second. Writing an announcement and its deliveries is one transaction, so
an alert is announced exactly once; each delivery is then sent until it arrives.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from batches.alerting.alerts import UNTIL_REVIEWED
from batches.break_glass.acting_alone import OVERDUE
from batches.models import Alert, Rollback, TenantUpgrade
from plans.models import BreakGlass, Plan, RoleBinding, Tenant, User
from plans.people.permissions import ROLES_OF_ACTION
from reports.models import Announcement, Delivery, Endpoint

SOON_AFTER = timedelta(seconds=5)
EVENT_TYPE = "plugin.version.gray.alert"
AT_ONCE = 20
ROWS_AT_ONCE = 500


def announce_alerts(now: datetime) -> list[Announcement]:
    """Announce alerts that began or ended and that nobody was told of yet."""
    made = []
    for status, alerts in (
        (Announcement.FIRING, Alert.objects.all()),
        (Announcement.RESOLVED, Alert.objects.filter(resolved_at__isnull=False)),
    ):
        told = Announcement.objects.filter(alert=OuterRef("pk"), status=status)
        untold = alerts.filter(~Exists(told)).order_by("pk")
        rows = untold.select_related("batch", "plan__plugin", "plan__release", "plan__author")
        made += [announce(alert=alert, status=status, now=now) for alert in rows[:AT_ONCE]]
    return made


@transaction.atomic
def announce(*, alert: Alert, status: str, now: datetime) -> Announcement:
    """Write the event of one alert and a delivery for everybody who is told."""
    touched = _touched(alert)
    announcement, is_new = Announcement.objects.get_or_create(
        alert=alert,
        status=status,
        defaults={"event": cloud_event(alert, status, sorted(touched)), "made_at": now},
    )
    if not is_new:
        return announcement
    deliveries = [
        Delivery(
            announcement=announcement,
            channel=Delivery.WEBHOOK,
            target=url,
            endpoint=endpoint,
            next_at=now,
        )
        for url, endpoint in _machines(alert.kind).items()
    ]
    deliveries += [
        Delivery(
            announcement=announcement,
            channel=Delivery.MAIL,
            target=address,
            tenants=tenants,
            next_at=now,
        )
        for address, tenants in _told_by_mail(alert, touched).items()
    ]
    Delivery.objects.bulk_create(deliveries, batch_size=ROWS_AT_ONCE)
    return announcement


def cloud_event(alert: Alert, status: str, tenants: list[str]) -> dict[str, Any]:
    """Return the CloudEvent of an alert; its id is the same however often it is made."""
    plan, payload = alert.plan, dict(alert.payload)
    at = alert.opened_at if status == Announcement.FIRING else alert.resolved_at
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{settings.INSTANCE_NAME}/{alert.pk}/{status}")
    return {
        "specversion": "1.0",
        "id": str(identity),
        "source": f"/upgradeconsole/{settings.INSTANCE_NAME}",
        "type": EVENT_TYPE,
        "subject": f"plan/{plan.pk}" if plan is not None else "system",
        "time": _rfc3339(at),
        "datacontenttype": "application/json",
        "data": {
            "plan": str(plan.pk) if plan is not None else None,
            "external_id": plan.external_id if plan is not None else None,
            "plugin": plan.plugin.key if plan is not None else None,
            "from": ", ".join(_versions_before(plan)) or None,
            "to": plan.release.version if plan is not None else None,
            "batch": alert.batch.name if alert.batch is not None else None,
            "kind": alert.kind,
            "status": status,
            "kpi": payload.get("kpi"),
            "value": payload.get("value"),
            "threshold": payload.get("threshold"),
            "unit": payload.get("unit"),
            "tenants": tenants,
            "owner": owner_address(plan),
            "sentence": alert.sentence,
            "deadline": _deadline(plan, alert),
            "url": plan_url(plan),
            **({"irreversible": True} if plan is not None and plan.release.irreversible else {}),
        },
    }


def owner_address(plan: Plan | None) -> str | None:
    """Return who owns the plan: the named owner, else its author."""
    if plan is None:
        return None
    return str(plan.owner_email or plan.author.email)


def plan_url(plan: Plan | None) -> str:
    """Return where a person can act on it."""
    base = str(settings.CONSOLE_URL)
    return f"{base}/plans/{plan.pk}/" if plan is not None else f"{base}/"


def _machines(kind: str) -> dict[str, Endpoint | None]:
    machines: dict[str, Endpoint | None] = dict.fromkeys(settings.ALERT_EVENT_URLS)
    machines |= {endpoint.url: endpoint for endpoint in Endpoint.objects.all().wanting(kind)}
    return machines


def _touched(alert: Alert) -> dict[str, str]:
    """Return the tenants that the alert is about, with their owners' addresses."""
    named = alert.payload.get("tenants")
    if alert.plan is None:
        rows = Tenant.objects.filter(key__in=named if isinstance(named, list) else ())
        return dict(rows.values_list("key", "owner_email"))
    upgrades = TenantUpgrade.objects.filter(plan=alert.plan).touched()
    if alert.batch is not None:
        upgrades = upgrades.filter(batch=alert.batch)
    touched = dict(upgrades.values_list("tenant_key", "tenant__owner_email"))
    if isinstance(named, list):
        return {key: touched.get(key, "") for key in map(str, named)}
    return touched


def _told_by_mail(alert: Alert, touched: dict[str, str]) -> dict[str, list[str]]:
    """Return who gets a mail, with the tenants of theirs that it names."""
    others = _could_have_agreed(alert) if alert.plan is not None else _administrators(alert)
    return others | _owners(alert.plan, touched)


def _administrators(alert: Alert) -> dict[str, list[str]]:
    """Return who runs the console: what is about no plan is theirs."""
    bindings = RoleBinding.objects.in_force(alert.opened_at).filter(
        kind=RoleBinding.CONSOLE, role="administrator", user__is_active=True
    )
    return {address: [] for address in bindings.values_list("user__email", flat=True)}


def _owners(plan: Plan | None, touched: dict[str, str]) -> dict[str, list[str]]:
    """Group the tenants by owner; the plan's owner comes first and is told in any case."""
    owners: dict[str, list[str]] = {}
    address = owner_address(plan)
    if address:
        owners[address] = []
    for key, owner in sorted(touched.items()):
        if owner:
            owners.setdefault(owner, []).append(key)
    return owners


def _could_have_agreed(alert: Alert) -> dict[str, list[str]]:
    """Return the addresses of those who could have agreed; no tenants of theirs.

    Whoever else may review it is told where nobody could have, and when the review is overdue.
    """
    if alert.kind not in UNTIL_REVIEWED:
        return {}
    broken = BreakGlass.objects.filter(pk=alert.payload.get("break_glass")).first()
    if broken is None:
        return {}
    told = {str(pk) for pk in broken.told}
    if not told or alert.kind == OVERDUE:
        reviewers = RoleBinding.objects.in_force(alert.opened_at).filter(
            kind=RoleBinding.CONSOLE, role__in=ROLES_OF_ACTION["review_break_glass"]
        )
        told |= {str(pk) for pk in reviewers.values_list("user", flat=True)} - {str(broken.by_id)}
    people = User.objects.filter(pk__in=told, is_active=True).order_by("email")
    return {address: [] for address in people.values_list("email", flat=True)}


def _versions_before(plan: Plan | None) -> list[str]:
    if plan is None:
        return []
    versions = TenantUpgrade.objects.filter(plan=plan).exclude(version_before="").order_by()
    return sorted(versions.values_list("version_before", flat=True).distinct())


def _deadline(plan: Plan | None, alert: Alert) -> str | None:
    if plan is None:
        return None
    # One that the alert began may be over before anybody is told.
    going_back = Q(finished_at=None) | Q(triggered_at__gte=alert.opened_at - SOON_AFTER)
    rollback = Rollback.objects.filter(going_back, plan=plan).order_by("-triggered_at").first()
    at = rollback.deadline if rollback is not None else plan.pause_deadline
    return _rfc3339(at) if at is not None else None


def _rfc3339(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at is not None else None

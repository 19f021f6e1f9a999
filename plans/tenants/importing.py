"""Import tenants, all rows or none, and for every row what became of it; add or change one."""

import csv
import io
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from plans.models import Installation, Plugin, Tenant, User
from plans.people.permissions import reach_of, require, require_over
from plans.reach import EVERYTHING, Reach
from plans.refusal import BadInput, NotFound
from plans.tenants.rows import TenantRow, parse_tenants
from plans.trail import events


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What an import says of one row: new, changed, same or wrong."""

    key: str
    status: str
    line: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """All outcomes; nothing was written when one row is wrong or it was a dry run."""

    rows: tuple[RowOutcome, ...]
    written: bool
    versions_left: int = 0
    """Of how many rows the version is not kept, since no plugin was named whose it is."""

    def count(self, status: str) -> int:
        """Return how many rows have the status."""
        return sum(1 for row in self.rows if row.status == status)

    @property
    def refused(self) -> bool:
        """Tell whether a wrong row kept everything out."""
        return any(row.status == "wrong" for row in self.rows)


def _changes(tenant: Tenant, row: TenantRow) -> list[str]:
    wanted = {
        "name": row.name,
        "owner_email": row.owner_email,
        "labels": dict(row.labels),
    }
    return [name for name, value in wanted.items() if getattr(tenant, name) != value]


def import_tenants(
    *,
    text: str,
    form: str,
    by: User | None,
    now: datetime,
    via: str,
    plugin: str = "",
    dry_run: bool = False,
) -> ImportResult:
    """Import tenants from CSV or YAML text.

    A row's `version` is kept as the version of `plugin` at that tenant (when a plugin is named);
    it is a starting point that the first observation replaces.
    """
    if by is not None:
        require(by, "manage_tenants")
    reach = EVERYTHING if by is None else reach_of(by, "manage_tenants")
    parsed = parse_tenants(text, form=form)
    wrong = [RowOutcome(p.key, "wrong", p.line, p.message) for p in parsed.problems]
    known = {tenant.key: tenant for tenant in Tenant.objects.all()}
    new: list[Tenant] = []
    changed: list[Tenant] = []
    outcomes: list[RowOutcome] = []
    for row in parsed.rows:
        tenant = known.get(row.key)
        if not reach.covers(row.labels) or (tenant is not None and not reach.covers(tenant.labels)):
            wrong.append(RowOutcome(row.key, "wrong", row.line, beyond(reach, row.key)))
            continue
        if tenant is None:
            made = Tenant(
                key=row.key, name=row.name, owner_email=row.owner_email, labels=dict(row.labels)
            )
            new.append(made)
            known[row.key] = made
            outcomes.append(RowOutcome(row.key, "new", row.line))
            continue
        differences = _changes(tenant, row)
        if not differences:
            outcomes.append(RowOutcome(row.key, "same", row.line))
            continue
        tenant.name, tenant.owner_email = row.name, row.owner_email
        tenant.labels = dict(row.labels)
        tenant.updated_at = now
        changed.append(tenant)
        outcomes.append(RowOutcome(row.key, "changed", row.line, ", ".join(differences)))
    rows = tuple(sorted([*outcomes, *wrong], key=lambda outcome: outcome.line))
    left = 0 if plugin else sum(1 for row in parsed.rows if row.version)
    if wrong or dry_run:
        return ImportResult(rows, written=False, versions_left=left)
    with transaction.atomic():
        # Two imports of the same tenants lock them in the same order, whatever that of their rows.
        written = sorted([*new, *changed], key=lambda tenant: tenant.key)
        # One upsert for both: a bulk update of 10,000 rows takes ten times as long.
        Tenant.objects.bulk_create(
            written,
            batch_size=500,
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["name", "owner_email", "labels", "updated_at"],
        )
        if plugin:
            _keep_versions(plugin, parsed.rows, known)
        events.record(
            stream=None,
            kind="tenants_imported",
            sentence=f"{by.get_full_name() if by else 'The console'} imported tenants:"
            f" {len(new)} new, {len(changed)} changed,"
            f" {len(parsed.rows) - len(new) - len(changed)} the same.",
            actor=by,
            via=via,
            now=now,
            payload={
                "new": len(new),
                "changed": {row.key: row.why for row in outcomes if row.status == "changed"},
            },
        )
    return ImportResult(rows, written=True, versions_left=left)


def beyond(reach: Reach, key: str) -> str:
    """Return why a tenant may not be written: the same words whether it is there or not."""
    return (
        f"you may write tenants with {reach.words()} only, and '{key}' is not one of them, before"
        " this change or after it; give it these labels, or another key"
    )


def _keep_versions(plugin: str, rows: tuple[TenantRow, ...], known: dict[str, Tenant]) -> None:
    row_of_plugin, _made = Plugin.objects.get_or_create(key=plugin, defaults={"name": plugin})
    Installation.objects.bulk_create(
        [
            Installation(tenant=known[row.key], plugin=row_of_plugin, version=row.version)
            for row in sorted(rows, key=lambda row: row.key)
            if row.version
        ],
        batch_size=500,
        ignore_conflicts=True,
    )


def save_tenant(
    *,
    key: str,
    name: str,
    owner_name: str,
    owner_email: str,
    labels: str,
    notes: str,
    by: User,
    now: datetime,
    via: str,
    new: bool = False,
) -> Tenant:
    """Add one tenant, or change one; saying what is there already changes nothing.

    `labels` is written as in an import (`region=eu;tier=gold`) and judged by the same rules.
    Raises BadInput with all problems, NotFound for a key to change that is unknown.
    """
    require(by, "manage_tenants")
    row = _one_row(key=key, name=name, owner_email=owner_email, labels=labels)
    wanted = {
        "name": row.name,
        "owner_name": owner_name.strip(),
        "owner_email": row.owner_email,
        "labels": dict(row.labels),
        "notes": notes.strip(),
    }
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).filter(key=row.key).first()
        reach = reach_of(by, "manage_tenants")
        if tenant is not None and not new and not reach.covers(tenant.labels):
            _refuse_change(by, tenant)
        if not reach.covers(row.labels) or (tenant is not None and not reach.covers(tenant.labels)):
            raise BadInput([f"labels: {beyond(reach, row.key)}"])
        if new and tenant is not None:
            raise BadInput([f"key: there is a tenant '{row.key}' already; choose another key"])
        if tenant is None:
            if not new:
                raise NotFound("There is no such tenant.")
            tenant = Tenant(key=row.key)
        changed = [field for field, value in wanted.items() if getattr(tenant, field) != value]
        if not changed and not new:
            return tenant
        for field, value in wanted.items():
            setattr(tenant, field, value)
        tenant.save()
        what = "added" if new else "changed"
        events.record(
            stream=None,
            kind=f"tenant_{what}",
            sentence=f"{by.get_full_name()} {what} the tenant {row.key}"
            f"{'' if new else ': ' + ', '.join(changed).replace('_', ' ')}.",
            actor=by,
            via=via,
            now=now,
            payload={"tenant": row.key, "fields": changed},
        )
    return tenant


def _refuse_change(by: User, tenant: Tenant) -> None:
    """Raise what somebody is told who may not change the tenant: whether they may see it or not."""
    if not Tenant.objects.visible_to(by).filter(pk=tenant.pk).exists():
        raise NotFound("There is no such tenant.")
    require_over(by, "manage_tenants", [tenant.labels])


def _one_row(*, key: str, name: str, owner_email: str, labels: str) -> TenantRow:
    """Return the values as an import would read them; raise BadInput with its problems."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["tenant", "name", "owner_email", "labels"])
    writer.writerow([key, name, owner_email, labels])
    parsed = parse_tenants(text.getvalue(), form="csv")
    if parsed.problems:
        raise BadInput([problem.message for problem in parsed.problems])
    return parsed.rows[0]

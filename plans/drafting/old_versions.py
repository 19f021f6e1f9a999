"""The versions that a plan's tenants run now: what a rollback would bring back, and what is newer.

Looked up before the plan begins, when there is still a choice. A rollback itself never asks: what
it brings back without a signature that holds is told, on the page, in the trail and in the report.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from plans.counted_words import counted
from plans.drafting.version_order import is_older
from plans.models import Installation, Plan, PlanTenant, Plugin, Release, Tenant
from plans.policies.policy import UpgradePolicy
from plans.refusal import Refused
from plans.releases.trust import ReleaseNotTrusted, trusted_keys, verify_again

NAMED = 5
"""How many tenants or versions a sentence names."""


class OldVersionUnverified(Refused):
    """The policy refuses plans whose rollback would bring back what nobody signed."""

    default_code = "old_version_unverified"


class Downgrade(Refused):
    """The plan would take tenants to an older version that is not their way back."""

    default_code = "downgrade"


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A version that tenants come from, and why it is not verified (empty when it is)."""

    version: str
    tenants: int
    problem: str = ""

    @property
    def sentence(self) -> str:
        """Say what a rollback to it means."""
        if not self.version:
            of_whom = counted(self.tenants, "tenant runs", "tenants run")
            return f"which version {of_whom} is not known: {self.problem}"
        of_whom = counted(self.tenants, "tenant")
        return f"a rollback brings {of_whom} back to {self.version} unverified: {self.problem}"


def standing_of_versions(
    plugin: Plugin, counted: Mapping[str, int], now: datetime
) -> list[OldVersion]:
    """Return each version with what is wrong with its signature; three queries at most."""
    releases = {
        release.version: release
        for release in Release.objects.filter(plugin=plugin, version__in=list(counted))
        .select_related("plugin")
        .order_by("version")
    }
    keys = trusted_keys() if releases else []
    found = []
    for version, tenants in sorted(counted.items()):
        problem = "nobody has observed it yet, and no import told it"
        if version:
            problem = f"{plugin.key} {version} is no registered release"
        if version in releases:
            try:
                verify_again(release=releases[version], now=now, keys=keys)
                problem = ""
            except ReleaseNotTrusted as refused:
                problem = refused.why.rstrip(".")
        found.append(OldVersion(version, tenants, problem))
    return found


def old_versions(
    plugin: Plugin, tenants: Collection[Any], now: datetime, *, target: str
) -> list[OldVersion]:
    """Return what the tenants run, as it is known, but for who runs the target already."""
    known = _installed(plugin, tenants)
    counted = Counter(known.get(tenant, ("", ""))[0] for tenant in tenants)
    counted.pop(target, None)
    return standing_of_versions(plugin, counted, now)


def _installed(plugin: Plugin, tenants: Collection[Any]) -> dict[Any, tuple[str, str]]:
    """Return version and last stable version by tenant; read as a whole: lists may be long."""
    wanted = set(tenants)
    rows = Installation.objects.filter(plugin=plugin)
    return {
        tenant: (version, stable)
        for tenant, version, stable in rows.values_list(
            "tenant_id", "version", "last_stable_version"
        ).iterator(chunk_size=2000)
        if tenant in wanted
    }


def unverified(found: Iterable[OldVersion]) -> list[OldVersion]:
    """Return those that a rollback would bring back without a signature that holds."""
    return [one for one in found if one.problem]


def _tenant_ids(plan: Plan) -> list[Any]:
    places = PlanTenant.objects.filter(plan=plan, excluded=False)
    return list(places.values_list("tenant_id", flat=True))


def look_before(plan: Plan, policy: UpgradePolicy, now: datetime) -> list[OldVersion]:
    """Return what the plan's rollback would bring back unverified, and note it on the plan.

    Raises OldVersionUnverified where the policy refuses that, and Downgrade where the plan would
    take a tenant to an older version. The caller saves the plan.
    """
    ids = _tenant_ids(plan)
    if problem := downgrade_problem(plan.release, ids):
        raise Downgrade(f"The plan goes the wrong way: {problem}.")
    # Of what is never taken back, nobody needs the old versions.
    if plan.release.irreversible:
        plan.old_versions = []
        return []
    found = unverified(old_versions(plan.plugin, ids, now, target=plan.release.version))
    if found and policy.rollback.unverified == "refuse":
        raise OldVersionUnverified(
            f"The policy refuses it (rollback.unverified): {words_of(found)}. Register the signed"
            " releases that the tenants run, then hand the plan in again."
        )
    plan.old_versions = [asdict(one) for one in found]
    return found


def words_of(found: Sequence[OldVersion]) -> str:
    """Return the sentences of a few, and how many more there are."""
    said = "; ".join(one.sentence for one in found[:NAMED])
    return said + (f"; and {len(found) - NAMED} more versions" if len(found) > NAMED else "")


def downgrade_problem(release: Release, tenants: Collection[Any]) -> str:
    """Return who would get an older version than they run, empty when nobody would.

    A version that a tenant's record keeps as its last stable one is its way back, not a downgrade.
    Of versions that cannot be compared nobody can tell.
    """
    known = _installed(release.plugin, tenants)
    newer = {
        version
        for version in {version for version, _stable in known.values()}
        if is_older(release.version, version)
    }
    gone_on = {
        tenant: version
        for tenant, (version, stable) in known.items()
        if version in newer and stable != release.version
    }
    if not gone_on:
        return ""
    keys = Tenant.objects.in_bulk(list(gone_on)[:NAMED])
    named = sorted(f"{tenant.key} {gone_on[pk]}" for pk, tenant in keys.items())
    more = f" and {len(gone_on) - NAMED} more" if len(gone_on) > NAMED else ""
    return (
        f"{', '.join(named)}{more} run{'s' if len(gone_on) == 1 else ''} a newer version than"
        f" {release.version}, which is not the recorded way back; leave them out, or roll back the"
        " plan that brought them there"
    )

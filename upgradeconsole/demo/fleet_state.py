"""What the demo fleet's tenants run, kept in a file over restarts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from upgradeconsole.demo.releases import BASELINE, digest_of
from upgradeconsole.demo.tenants import demo_tenants

# Keys remembered per tenant: more than the attempts of any plan that still runs.
_KEYS_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Change:
    """What an upgrade or a rollback asks for."""

    tenant: str
    direction: str
    version: str
    key: str
    fence: int | None
    digest: str = ""
    config: object | None = None


@dataclass(slots=True)
class FleetTenant:
    """One tenant of the fleet."""

    version: str = BASELINE
    digest: str = field(default_factory=lambda: digest_of(BASELINE))
    config: object | None = None
    changed_at: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


class KeyReused(Exception):
    """The idempotency key came before with another change."""


class FleetState:
    """The tenants by key. Changes are applied at most once per idempotency key."""

    def __init__(self, tenant_count: int, path: Path | None) -> None:
        self._path = path
        self.dirty = False
        self.tenants: dict[str, FleetTenant] = {
            tenant["tenant"]: FleetTenant(config=_first_config(tenant["labels"]["tier"]))
            for tenant in demo_tenants(tenant_count)
        }
        if path is not None and path.exists():
            for key, kept in json.loads(path.read_text(encoding="utf-8"))["tenants"].items():
                self.tenants[key] = FleetTenant(**kept)

    def was_done(self, change: Change) -> bool:
        """Return whether the change was made before under its key. Raises KeyReused."""
        if not change.key:
            return False
        before = self.tenants[change.tenant].keys.get(change.key)
        if before is not None and before != f"{change.direction} {change.version}":
            raise KeyReused(f"the key {change.key} came before to {before}")
        return before is not None

    def apply(self, change: Change) -> None:
        """Make the change and remember its key."""
        tenant = self.tenants[change.tenant]
        # A platform knows what it had: a rollback brings the digest back too.
        tenant.digests[tenant.version] = tenant.digest
        tenant.version = change.version
        known = tenant.digests.get(change.version) or digest_of(change.version)
        tenant.digest = change.digest or known
        if change.direction == "install":
            # Upgrades migrate the tenant's config; only a restored snapshot undoes that.
            if isinstance(tenant.config, dict):
                tenant.config = {**tenant.config, "schema": change.version}
        elif change.config is not None:
            tenant.config = change.config
        tenant.changed_at = datetime.now(UTC).isoformat(timespec="microseconds")
        self.remember(change)

    def remember(self, change: Change) -> None:
        """Remember the key as done."""
        tenant = self.tenants[change.tenant]
        if change.key:
            tenant.keys[change.key] = f"{change.direction} {change.version}"
            while len(tenant.keys) > _KEYS_KEPT:
                del tenant.keys[next(iter(tenant.keys))]
        self.dirty = True

    def save(self) -> None:
        """Write the file if anything changed, as a whole or not at all."""
        if self._path is None or not self.dirty:
            return
        self.dirty = False
        document = {"tenants": {key: asdict(tenant) for key, tenant in self.tenants.items()}}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(self._path)


def _first_config(tier: str) -> dict[str, object]:
    return {"schema": BASELINE, "format": "pdf", "monthly_limit": 5000 if tier == "gold" else 500}

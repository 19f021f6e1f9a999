"""What the tests of REST and admin start from: the cast, a trusted release, a policy, tenants."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rest_framework.test import APIClient

from batches.models import Batch, TenantUpgrade
from plans.models import Plan, Plugin, RoleBinding, Tenant, User
from plans.people.machine_access import make_token
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release, trust_key
from plans.releases.signature import new_key, sign_release

POLICY_TEXT = """
policies:
  safe-rollout:
    description: "Two steps"
    batches:
      - {name: canary, percentage: 34, soak_minutes: 1}
      - {name: rest, percentage: 66, soak_minutes: 1}
    rollback_thresholds: {error_rate: 5}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
DEPLOYERS_TEXT = """
deployers:
  fleet: {kind: simulated, parallelism: 20, expected_seconds: 0.1}
"""
DICTIONARY_TEXT = """
{"kpis": [{"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"}],
 "sources": {"fleet": {"kind": "simulated"}},
 "mappings": [{"kpi": "error_rate", "source": "fleet", "tenant_label": "tenant",
               "bad": {"metric": "errors_total"}, "total": {"metric": "requests_total"}}],
 "dashboards": []}
"""
HAND_IN = "/internal/version/upgrade/plan"
TENANTS = ("acorn", "birch", "cedar")


def now() -> datetime:
    return datetime.now(UTC)


def configure(settings: Any, folder: Path) -> None:
    """Give the installation a deployer and a metric source that nobody calls here."""
    settings.DEPLOYERS_FILE = folder / "deployers.yaml"
    settings.DEPLOYERS_FILE.write_text(DEPLOYERS_TEXT)
    settings.DICTIONARY_FILE = folder / "dictionary.json"
    settings.DICTIONARY_FILE.write_text(DICTIONARY_TEXT)


def person(name: str, *, console: str = "", approval: str = "", **fields: Any) -> User:
    user = User.objects.create_user(f"{name.lower()}@example.org", name=name, **fields)
    if console:
        RoleBinding.objects.create(user=user, kind=RoleBinding.CONSOLE, role=console)
    if approval:
        RoleBinding.objects.create(user=user, kind=RoleBinding.APPROVAL, role=approval)
    return user


class Scene:
    """Olga, Aram, Sona, Mara, Rita, Nils and Ada, and all that a plan needs."""

    def __init__(self) -> None:
        self.ada = person("Ada", console="administrator", is_staff=True, is_superuser=True)
        self.mara = person("Mara", console="release_manager")
        self.olga = person("Olga", console="operator")
        self.aram = person("Aram", approval="system_admin")
        self.sona = person("Sona", approval="role_admin")
        self.rita = person("Rita", console="auditor")
        self.nils = person("Nils")
        self.key = new_key()
        trust_key(
            key_id=self.key.key_id,
            public_key=self.key.public_pem,
            name="test",
            not_before=now() - timedelta(days=1),
            not_after=now() + timedelta(days=30),
            plugins=(),
            by=None,
            now=now(),
            via="command",
        )
        self.release = register_release(
            envelope=self.envelope("pay", "1.5.0"), by=None, now=now(), via="command"
        )
        save_policy_text(text=POLICY_TEXT, source="test", by=None, now=now(), via="command")
        for key in TENANTS:
            Tenant.objects.create(key=key, labels={"region": "eu" if key < "cedar" else "us"})
        self.plugin = Plugin.objects.get(key="pay")

    def envelope(self, plugin: str, version: str) -> str:
        digest = hashlib.sha256(f"{plugin}{version}".encode()).hexdigest()
        return sign_release(plugin, version, digest, self.key.private_pem)[1]

    def client(self, user: User, **token: Any) -> APIClient:
        """Return a machine that acts for the person by a token of its own."""
        made = make_token(
            user=user, name="test", days=1, by=None, now=now(), via="command", **token
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.secret}")
        return client


def body(**changes: Any) -> dict[str, Any]:
    return {
        "external_id": "pay-7", "plugin": "pay", "to_version": "1.5.0", "policy": "safe-rollout",
        "deployer": "fleet", "tenants": "all", "submit": True,
    } | changes  # fmt: skip


def url(act: str = "", plan: str = "pay-7") -> str:
    return f"/api/v1/plans/{plan}/{act}"


def post(client: APIClient, where: str, given: dict[str, Any] | None = None) -> Any:
    return client.post(where, given or {}, format="json")


def handed_in(scene: Scene, **changes: Any) -> Plan:
    answer = post(scene.client(scene.mara), HAND_IN, body(**changes))
    assert answer.status_code == 201, answer.json()
    return Plan.objects.get(external_id=body(**changes)["external_id"])


def approved(scene: Scene) -> Plan:
    handed_in(scene)
    for approver in (scene.aram, scene.sona):
        assert post(scene.client(approver), url("approve")).status_code == 200
    return Plan.objects.get()


def started(scene: Scene) -> Plan:
    approved(scene)
    assert post(scene.client(scene.olga), url("start")).status_code == 200
    return Plan.objects.get()


def touched(plan: Plan) -> None:
    """Let the first batch be under way, as the hands leave it."""
    batch = Batch.objects.filter(plan=plan).order_by("number").first()
    assert batch is not None
    batch.move("open")
    batch.save()
    TenantUpgrade.objects.filter(batch=batch).update(
        state="upgraded", touched_at=now(), version_before="1.4.2"
    )

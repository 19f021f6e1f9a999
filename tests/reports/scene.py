"""Plans in the states that reports, alerts and metrics tell of, made through the use cases."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from batches.models import Batch, Rollback, Ruling, TenantUpgrade
from batches.rollback.ending import finish
from batches.rollback.rollback import request_rollback
from batches.rollout import launch
from plans.approvals import approval
from plans.drafting import drafting
from plans.models import Plan, RoleBinding, Tenant, User
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release, trust_key
from plans.releases.signature import new_key, sign_release

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
POLICY = """
policies:
  safe-rollout:
    description: "Two steps"
    batches:
      - {name: canary, percentage: 50, soak_minutes: 1}
      - {name: rest, percentage: 50, soak_minutes: 1}
    rollback_thresholds: {error_rate: 5}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


def after(minutes: float) -> datetime:
    """Return a moment of the scene's day."""
    return NOW + timedelta(minutes=minutes)


def person(name: str, *, console: str = "", approval_role: str = "", **fields: Any) -> User:
    """Return one of the cast with a role."""
    user = User.objects.create_user(f"{name.lower()}@example.com", name=name, **fields)
    if console:
        RoleBinding.objects.create(user=user, kind=RoleBinding.CONSOLE, role=console)
    if approval_role:
        RoleBinding.objects.create(user=user, kind=RoleBinding.APPROVAL, role=approval_role)
    return user


class Scene:
    """The cast, a trusted release, a policy and the tenants acorn to fir."""

    tenants = ("acorn", "birch", "cedar", "fir")

    def __init__(self) -> None:
        self.ada = person("Ada", console="administrator", is_staff=True, is_superuser=True)
        self.mara = person("Mara", console="release_manager")
        self.olga = person("Olga", console="operator")
        self.aram = person("Aram", approval_role="system_admin")
        self.sona = person("Sona", approval_role="role_admin")
        self.rita = person("Rita", console="auditor")
        self.nils = person("Nils")
        key = new_key()
        trust_key(
            key_id=key.key_id,
            public_key=key.public_pem,
            name="release-key",
            not_before=NOW - timedelta(days=1),
            not_after=NOW + timedelta(days=30),
            plugins=(),
            by=None,
            now=NOW,
            via="command",
        )
        digest = hashlib.sha256(b"payments 1.5.0").hexdigest()
        envelope = sign_release("payments", "1.5.0", digest, key.private_pem)[1]
        self.release = register_release(envelope=envelope, by=None, now=NOW, via="command")
        save_policy_text(text=POLICY, source="test", by=None, now=NOW, via="command")
        for name in self.tenants:
            Tenant.objects.create(key=name, owner_email=f"{name}@tenants.example")

    def draft(self, external_id: str = "CHG-1") -> Plan:
        """Return a plan that nobody has seen yet."""
        draft = drafting.PlanDraft(
            external_id=external_id,
            plugin="payments",
            to_version="1.5.0",
            policy="safe-rollout",
            deployer="fleet",
            tenants=drafting.TenantChoice(all=True),
            approvals=None,
            not_before=None,
            owner_name="Payments team",
            owner_email="payments@example.com",
            note="ticket PAY-88",
        )
        return drafting.draft_plan(draft=draft, author=self.mara, now=NOW, via="page")

    def approved(self) -> Plan:
        """Return a plan that both roles have approved."""
        plan = self.draft()
        approval.submit(plan_id=plan.pk, by=self.mara, now=after(5), via="page")
        approval.approve(plan_id=plan.pk, approver=self.aram, now=after(10), via="page")
        return approval.approve(plan_id=plan.pk, approver=self.sona, now=after(20), via="page")

    def rejected(self) -> Plan:
        """Return a plan that Aram said no to."""
        plan = self.draft()
        approval.submit(plan_id=plan.pk, by=self.mara, now=after(5), via="page")
        return approval.reject(
            plan_id=plan.pk, approver=self.aram, reason="not on a Friday", now=after(9), via="page"
        )

    def running(self) -> Plan:
        """Return a plan whose canary's tenants were called and read back on the new version."""
        plan = self.approved()
        launch.start(plan_id=plan.pk, by=self.olga, now=after(30), via="page")
        batch = Batch.objects.get(plan=plan, number=1)
        launch.open_batch(batch_id=batch.pk, now=after(31))
        TenantUpgrade.objects.filter(batch=batch).update(
            state="upgraded",
            generation=1,
            attempts=1,
            version_before="1.4.2",
            version_observed="1.5.0",
            observed_at=after(31.2),
            started_at=after(31),
            touched_at=after(31),
            upgraded_at=after(31.2),
        )
        return Plan.objects.get(pk=plan.pk)


def taken_back(scene) -> Plan:
    """Return a plan whose canary breached and was taken back in 41 seconds."""
    plan = scene.running()
    canary = Batch.objects.get(plan=plan, number=1)
    ruling = Ruling.objects.create(
        plan=plan,
        batch=canary,
        guardrail="error_rate",
        kpi="error_rate",
        verdict="breached",
        action="rollback",
        sentence="error_rate 9.4 % is over its limit of 5 %",
        value=9.4,
        threshold=5.0,
        unit="%",
        n=2412,
        window_seconds=60,
        inputs_digest="9c" * 32,
        at=after(40),
    )
    record = request_rollback(
        plan_id=plan.pk,
        by=None,
        reason="error_rate 9.4 % is over its limit of 5 %",
        now=after(40),
        via="watch",
        trigger="breach",
        ruling=ruling,
    )
    end = after(40) + timedelta(seconds=41)
    TenantUpgrade.objects.filter(plan=plan, touched_at__isnull=False).update(
        state="rolled_back", version_observed="1.4.2", restored_at=end, observed_at=end
    )
    Rollback.objects.filter(pk=record.pk).update(first_call_at=after(40.01))
    return finish(rollback_id=record.pk, now=end)


def completed(scene) -> Plan:
    """Return a plan that is completed as far as its own row tells."""
    plan = scene.running()
    plan.move("complete")
    plan.ended_at = after(50)
    plan.save()
    return plan

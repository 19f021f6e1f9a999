"""A console to measure: its own database with people, a release, policies and tenants.

With DATABASE_URL the database named there is used and must be empty; else a new SQLite file.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

PLUGIN, OLD, NEW = "bench", "1.0.0", "1.1.0"
POLICY = """
policies:
  bench:
    batches: [{{name: all, percentage: 100, soak_minutes: 0}}]
    rollback: {{on_manual_pause: {{rollback_after_seconds: 0}}}}
    limits: {{parallelism: {in_flight}, call_timeout_seconds: {call_timeout}}}
{more}
approvals:
  default: {{required_roles: [bench], max_pending_minutes: 60}}
"""
QUIET = """
  quiet:
    batches: [{name: all, percentage: 100, soak_minutes: 1440}]
    limits: {parallelism: 100, call_timeout_seconds: 5}
"""
DEPLOYERS = """
deployers:
  stub:
    kind: http
    base_url: {base}
    install: {{method: POST, path: "/tenants/{{tenant}}/upgrade",
      json: {{version: "{{version}}", idempotency_key: "{{key}}"}}}}
    restore: {{method: POST, path: "/tenants/{{tenant}}/rollback",
      json: {{version: "{{version}}", idempotency_key: "{{key}}"}}}}
    observe: {{method: GET, path: "/tenants/{{tenant}}", version: "$.version"}}
    parallelism: {in_flight}
    expected_seconds: {latency}
"""
LOOPBACK = """
allow: [{cidr: 127.0.0.0/8, ports: [9, "1024-65535"], purpose: [deployers, metrics, webhooks]}]
"""
ONE_KPI = """
{"kpis": [{"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"}],
 "sources": {"none": {"kind": "simulated"}},
 "mappings": [{"kpi": "error_rate", "source": "none", "tenant_label": "tenant",
   "bad": {"metric": "errors_total"}, "total": {"metric": "requests_total"}}], "dashboards": []}
"""


def prepare(
    folder: Path,
    *,
    base: str,
    tenants: int,
    in_flight: int = 100,
    latency: float = 0.2,
    call_timeout: float = 10,
    policies: str = "",
    dictionary: str = ONE_KPI,
) -> None:
    """Set Django up over a new database and fill it; `policies` are further ones, indented by 2."""
    os.environ["UPGRADECONSOLE_DATA"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "upgradeconsole.settings"
    os.environ["UPGRADECONSOLE_LOG_LEVEL"] = "WARNING"
    # Its people have no second factors; what is measured is the pages that they work with.
    os.environ["UPGRADECONSOLE_REQUIRE_MFA"] = "0"
    for variable, name, text in (
        (
            "UPGRADECONSOLE_DEPLOYERS",
            "deployers.yaml",
            DEPLOYERS.format(base=base, in_flight=in_flight, latency=latency),
        ),
        ("UPGRADECONSOLE_DICTIONARY", "dictionary.json", dictionary),
        ("UPGRADECONSOLE_OUTBOUND", "outbound.yaml", LOOPBACK),
    ):
        (folder / name).write_text(text)
        os.environ[variable] = str(folder / name)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    _fill(POLICY.format(in_flight=in_flight, call_timeout=call_timeout, more=policies), tenants)


def _fill(policy: str, tenants: int) -> None:
    from django.utils import timezone

    from plans.models import RoleBinding, Tenant, User
    from plans.policies.keeping import save_policy_text
    from plans.releases.registering import register_release, trust_key
    from plans.releases.signature import new_key, sign_release

    now = timezone.now()
    author = User.objects.create_user("author@example.org", name="Author", password="bench-bench")
    approver = User.objects.create_user("approver@example.org", name="Approver")
    RoleBinding.objects.create(user=author, kind="console", role="release_manager")
    RoleBinding.objects.create(user=approver, kind="approval", role="bench")
    key = new_key()
    trust_key(
        key_id=key.key_id,
        public_key=key.public_pem,
        name="bench",
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=1),
        plugins=(),
        by=None,
        now=now,
        via="command",
    )
    envelope = sign_release(PLUGIN, NEW, "ab" * 32, key.private_pem)[1]
    register_release(envelope=envelope, by=None, now=now, via="command")
    save_policy_text(text=policy, source="bench", by=None, now=now, via="command")
    Tenant.objects.bulk_create(
        [Tenant(key=f"t{number}") for number in range(tenants)], batch_size=500
    )


def approved(name: str, *, policy: str = "bench", keys: tuple[str, ...] = ()) -> Any:
    """Return an approved plan over these tenants, or over all."""
    from django.utils import timezone

    from batches.rollout.planning import draft_plan
    from plans.approvals import approval
    from plans.approvals.grants import REHEARSED
    from plans.drafting.drafting import PlanDraft, TenantChoice
    from plans.log_in.step_up import StepUp
    from plans.models import User

    now = timezone.now()
    author = User.objects.get(name="Author")
    plan = draft_plan(
        draft=PlanDraft(
            plugin=PLUGIN,
            to_version=NEW,
            policy=policy,
            deployer="stub",
            tenants=TenantChoice(all=not keys, keys=keys),
            external_id=name,
        ),
        author=author,
        now=now,
        via="command",
    )
    approval.submit(plan_id=plan.pk, by=author, now=now, via="command")
    approver = User.objects.get(name="Approver")
    proved = StepUp((REHEARSED,), now)
    return approval.approve(
        plan_id=plan.pk, approver=approver, now=now, via="command", step_up=proved
    )


def started(name: str, *, policy: str = "bench", keys: tuple[str, ...] = ()) -> Any:
    """Return a running plan of which no batch has begun."""
    from django.utils import timezone

    from batches.rollout.launch import start

    plan = approved(name, policy=policy, keys=keys)
    return start(plan_id=plan.pk, by=None, now=timezone.now(), via="command")


def soaking(name: str, *, policy: str, keys: tuple[str, ...] = ()) -> Any:
    """Return a plan whose tenants are all upgraded, and that soaks, without calling anybody."""
    from django.utils import timezone

    from batches.models import Batch, TenantUpgrade

    plan = started(name, policy=policy, keys=keys)
    now = timezone.now()
    TenantUpgrade.objects.filter(plan=plan).update(
        state="upgraded",
        generation=1,
        version_before=OLD,
        version_observed=NEW,
        touched_at=now,
        upgraded_at=now,
        observed_at=now,
    )
    Batch.objects.filter(plan=plan).update(
        state="soaking",
        opened_at=now,
        calling_since=now,
        calls_done_at=now,
        soak_counted_at=now,
        soak_left=86_400,
        soak_seconds=86_400,
    )
    return plan

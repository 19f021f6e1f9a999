"""A good rollout and its rollback beside a bare aiohttp script, in the same run.

`./console bench rollout [--tenants 500] [--latency 0.2] [--in-flight 100] [--rounds 5]` prints, per
round, the seconds from the first call to the last read-back as the platform saw them, and the
ratio to the bare script (which keeps no journal and reads nothing back).
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

POLICY = """
policies:
  bench:
    batches: [{{name: all, percentage: 100, soak_minutes: 0}}]
    rollback: {{on_manual_pause: {{rollback_after_seconds: 0}}}}
    limits: {{parallelism: {in_flight}, call_timeout_seconds: 10}}
approvals:
  default: {{required_roles: [bench], max_pending_minutes: 60}}
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


@contextmanager
def platform(latency: float) -> Iterator[str]:
    """Start the stub platform; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stub_platform", "--latency", str(latency)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def span(base: str) -> float:
    """Return what the platform saw: seconds from the first change to the last answer."""
    with urllib.request.urlopen(f"{base}/_span") as answer:
        return float(json.load(answer)["seconds"])


def reset(base: str) -> None:
    """Let the platform forget."""
    urllib.request.urlopen(
        urllib.request.Request(f"{base}/_reset", data=b"{}", method="POST")
    ).close()


def raw_seconds(base: str, tenants: int, in_flight: int) -> float:
    """Run the bare script in a process of its own."""
    reset(base)
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.raw_rollout", base),
            *("--tenants", str(tenants), "--in-flight", str(in_flight)),
        ],
        check=True,
    )
    return span(base)


def our_seconds(base: str, tenants: int, number: int) -> tuple[float, float]:
    """Upgrade all tenants by the product and take them back; return both spans."""
    from django.utils import timezone

    from batches import progress, rollback
    from batches.execution import call_batch, new_effect_loop, take_back
    from batches.launch import open_batch, start
    from batches.models import Batch, TenantUpgrade
    from batches.planning import draft_plan
    from plans import approval
    from plans.drafting import PlanDraft, TenantChoice
    from plans.models import User

    now = timezone.now()
    author = User.objects.get(name="Author")
    plan = draft_plan(
        draft=PlanDraft(
            plugin="bench",
            to_version="1.1.0",
            policy="bench",
            deployer="stub",
            tenants=TenantChoice(all=True),
            external_id=f"bench-{number}",
        ),
        author=author,
        now=now,
        via="command",
    )
    approval.submit(plan_id=plan.pk, by=author, now=now, via="command")
    approver = User.objects.get(name="Approver")
    approval.approve(plan_id=plan.pk, approver=approver, now=now, via="command")
    start(plan_id=plan.pk, by=None, now=now, via="command")
    batch = Batch.objects.get(plan=plan)
    open_batch(batch_id=batch.pk, now=now)
    reset(base)
    loop = new_effect_loop()

    async def forward() -> None:
        await call_batch(loop, batch_id=batch.pk, plan_id=plan.pk, executor="hands")
        await loop.close()

    asyncio.run(forward())
    forward_seconds = span(base)
    assert TenantUpgrade.objects.filter(plan=plan).counts() == {"upgraded": tenants}
    progress.settle_calls(batch_id=batch.pk, now=timezone.now())
    record = rollback.request_rollback(
        plan_id=plan.pk, by=None, reason="bench", now=timezone.now(), via="command"
    )
    loop = new_effect_loop()
    reset_span(base)

    async def back() -> None:
        await take_back(loop, rollback_id=record.pk, plan_id=plan.pk, executor="watch")
        await loop.close()

    asyncio.run(back())
    back_seconds = span(base)
    rollback.finish(rollback_id=record.pk, now=timezone.now())
    assert TenantUpgrade.objects.filter(plan=plan).counts() == {"rolled_back": tenants}
    return forward_seconds, back_seconds


def reset_span(base: str) -> None:
    """Forget the span but keep the versions."""
    urllib.request.urlopen(
        urllib.request.Request(f"{base}/_reset_span", data=b"{}", method="POST")
    ).close()


def prepare(base: str, tenants: int, in_flight: int, latency: float, folder: Path) -> None:
    """Make a database with people, a release, a policy and tenants."""
    os.environ["UPGRADECONSOLE_DATA"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "upgradeconsole.settings"
    os.environ["UPGRADECONSOLE_LOG_LEVEL"] = "WARNING"
    deployers = folder / "deployers.yaml"
    deployers.write_text(DEPLOYERS.format(base=base, in_flight=in_flight, latency=latency))
    os.environ["UPGRADECONSOLE_DEPLOYERS"] = str(deployers)
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    call_command("migrate", verbosity=0)
    from plans.models import RoleBinding, Tenant, User
    from plans.policies import save_policy_text
    from plans.releases import register_release, trust_key
    from plans.signature import new_key, sign_release

    now = timezone.now()
    author = User.objects.create_user("author@example.org", name="Author")
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
    envelope = sign_release("bench", "1.1.0", "ab" * 32, key.private_pem)[1]
    register_release(envelope=envelope, by=None, now=now, via="command")
    save_policy_text(
        text=POLICY.format(in_flight=in_flight), source="bench", by=None, now=now, via="command"
    )
    Tenant.objects.bulk_create([Tenant(key=f"t{number}") for number in range(tenants)])


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="bench rollout")
    parser.add_argument("--tenants", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with platform(options.latency) as base, tempfile.TemporaryDirectory() as folder:
        prepare(base, options.tenants, options.in_flight, options.latency, Path(folder))
        ratios: list[float] = []
        print(
            f"{options.tenants} tenants, {options.latency} s hook, {options.in_flight} in flight"
            " (seconds from the first call to the last answer)"
        )
        for number in range(1, options.rounds + 1):
            raw = raw_seconds(base, options.tenants, options.in_flight)
            ours, back = our_seconds(base, options.tenants, number)
            ratios.append(ours / raw)
            print(
                f"round {number}: bare script {raw:.2f}, rollout {ours:.2f}"
                f" (x{ours / raw:.2f}), rollback {back:.2f} (x{back / raw:.2f})"
            )
        print(f"median ratio of the rollout: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

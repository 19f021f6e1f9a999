"""Plans in the states from which the tests of the engine begin, made through the use cases."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from batches.lifecycle import LIVE_BATCH_STATES
from batches.models import Batch, JudgedLook, TenantUpgrade
from batches.replay.course import differences
from batches.rollout import launch, progress
from plans.approvals import approval
from plans.drafting import drafting
from plans.log_in.step_up import StepUp
from plans.models import Event, Plan, Tenant
from plans.policies.keeping import save_policy_text
from plans.trail import events
from tests.web.api_scene import Scene, now

FOREST = ("acorn", "birch", "cedar", "dogwood", "elm", "fir")
BATCHES = """
      - {name: canary, percentage: 34, soak_minutes: 1}
      - {name: rest, percentage: 66, soak_minutes: 1}"""


def policy_text(name: str = "quick", *, batches: str = BATCHES, more: str = "") -> str:
    """Return a policy file with two batches; `more` are further keys of the policy."""
    rest = "".join(f"\n    {line}" for line in more.strip().splitlines())
    return (
        f'policies:\n  {name}:\n    description: "For tests"\n    batches:{batches}{rest}\n'
        "approvals:\n"
        "  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}\n"
    )


def tenants(*keys: str) -> None:
    """Have these tenants beside those of the scene."""
    for key in keys:
        Tenant.objects.get_or_create(key=key)


def a_draft(
    scene: Scene,
    *,
    policy: str = "",
    keys: Sequence[str] = (),
    external_id: str = "pay-7",
    at: datetime | None = None,
) -> Plan:
    """Return a draft under the policy text, over the tenants or all of them."""
    name = "safe-rollout"
    if policy:
        name = policy.split("\n")[1].strip().rstrip(":")
        save_policy_text(text=policy, source="test", by=None, now=at or now(), via="command")
    choice = drafting.TenantChoice(all=not keys, keys=tuple(keys))
    draft = drafting.PlanDraft("pay", "1.5.0", name, "fleet", choice, external_id)
    return drafting.draft_plan(draft=draft, author=scene.mara, now=at or now(), via="page")


def an_approved(scene: Scene, **choice: Any) -> Plan:
    """Return a plan that both roles have agreed to."""
    at = choice.get("at") or now()
    plan = a_draft(scene, **choice)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=at, via="page")
    proof = StepUp(("totp",), at) if settings.REQUIRE_MFA else None
    for approver in (scene.aram, scene.sona):
        plan = approval.approve(
            plan_id=plan.pk, approver=approver, now=at, via="page", step_up=proof
        )
    return plan


def a_started(scene: Scene, **choice: Any) -> Plan:
    """Return a running plan of which no batch has begun."""
    plan = an_approved(scene, **choice)
    # Within a transaction no source is asked: what a plan meets here is up to each test.
    with transaction.atomic():
        return launch.start(
            plan_id=plan.pk, by=scene.olga, now=choice.get("at") or now(), via="page"
        )


def opened(plan: Plan, number: int = 1) -> Batch:
    """Begin a batch; its tenants wait for their calls."""
    batch = Batch.objects.get(plan=plan, number=number)
    return launch.open_batch(batch_id=batch.pk, now=now())


def called(batch: Batch, state: str = "upgraded", keys: Sequence[str] = ()) -> None:
    """Let tenants of a batch be as the hands leave them after their calls."""
    rows = TenantUpgrade.objects.filter(batch=batch)
    if keys:
        rows = rows.filter(tenant_key__in=keys)
    rows.update(
        state=state,
        generation=F("generation") + 1,
        version_before="1.0.0",
        touched_at=now(),
        upgraded_at=now() if state == "upgraded" else None,
        exhausted_at=now() if state in {"failed", "needs_hand"} else None,
    )


def soaking(plan: Plan, number: int = 1) -> Batch:
    """Return a batch whose tenants are all upgraded and that soaks."""
    batch = opened(plan, number)
    called(batch)
    return progress.settle_calls(batch_id=batch.pk, now=now())


def passed(plan: Plan, number: int = 1) -> Batch:
    """Return a batch that has passed."""
    return progress.pass_soak(batch_id=soaking(plan, number).pk, why="", now=now())


def states(plan: Plan) -> dict[str, str]:
    """Return the state of every tenant of the plan."""
    return dict(TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", "state"))


def kinds(plan: Plan) -> list[str]:
    """Return the kinds of the plan's events, in their order."""
    return list(
        Event.objects.filter(stream__key=plan.stream_key)
        .order_by("seq")
        .values_list("kind", flat=True)
    )


def artifact(plugin: str, version: str) -> str:
    """Return the digest that the scene's releases carry."""
    return hashlib.sha256(f"{plugin}{version}".encode()).hexdigest()


def check_invariants(plan: Plan, *, replays: bool = True) -> None:
    """Check what must hold of a plan at any time: I2, I6, I7, I9 and I10.

    Without `replays` where the dictionary was changed under the plan: it judges otherwise by now.
    """
    plan = Plan.objects.get(pk=plan.pk)
    seen = states(plan)
    chain = events.check_chain(plan.stream_key)
    assert chain.intact, chain
    seqs = Event.objects.filter(stream__key=plan.stream_key).order_by("seq")
    assert list(seqs.values_list("seq", flat=True)) == list(range(1, len(seqs) + 1))
    folded = dict.fromkeys(seen, "pending")
    for event in seqs:
        moved = event.payload.get("tenants")
        if isinstance(moved, dict):
            folded |= moved
    assert folded == seen
    for batch in Batch.objects.filter(plan=plan):
        assert sum(TenantUpgrade.objects.filter(batch=batch).counts().values()) == batch.size
    assert Batch.objects.filter(plan=plan, state__in=LIVE_BATCH_STATES).count() <= 1
    if str(plan.state) in {"completed", "stopped", "rolled_back"}:
        assert set(seen.values()) <= {"upgraded", "rolled_back", "excluded"}, seen
        left = Batch.objects.filter(plan=plan).exclude(
            state__in=("passed", "rolled_back", "skipped", "stopped")
        )
        assert not left.exists(), list(left)
    if replays and JudgedLook.objects.filter(plan=plan).exists():
        assert differences(plan) == []


def after(at: datetime, seconds: float) -> datetime:
    """Return a moment later."""
    return at + timedelta(seconds=seconds)

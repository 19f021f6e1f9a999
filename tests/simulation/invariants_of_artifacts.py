"""What must hold of artifacts: only what was signed is installed, and nothing after its trust."""

from collections.abc import Iterator

from plans.models import Plan
from tests.simulation.judging import MOMENT, all_plans, moved_by
from tests.simulation.world import World

FALLS = {"release_quarantined", "release_distrusted"}


def upgraded_means_the_signed_artifact(world: World) -> Iterator[str]:
    """Whoever counts as upgraded runs, by the platform's own log, what was signed."""
    signed = {plan.stream_key: plan.release.digest for plan in all_plans(world)}
    drifted = {change.tenant for change in world.fleet.applied if not change.key}
    for entry in world.trail:
        if entry.kind != "tenants_moved":
            continue
        for tenant, state in moved_by(entry.payload).items():
            before = [c for c in world.fleet.applied if c.tenant == tenant and c.at <= entry.at]
            if state != "upgraded" or tenant in drifted or not before:
                continue
            if before[-1].digest != signed[entry.stream]:
                yield f"{tenant} counts as upgraded with the artifact {before[-1].digest[:12]}"


def nothing_is_sent_after_its_trust(world: World) -> Iterator[str]:
    """No forward call is begun once the release was quarantined or its key revoked."""
    plans = {plan.stream_key: plan for plan in all_plans(world)}
    for entry in world.trail:
        if entry.kind in FALLS and entry.stream in plans:
            yield from _begun_after(world, plans[entry.stream], entry.at)


def _begun_after(world: World, plan: Plan, fell: float) -> Iterator[str]:
    for row in world.journal:
        if row.install and row.key.startswith(f"{plan.pk}:") and row.at > fell + MOMENT:
            yield f"{row.key} was begun {row.at - fell:.2f} s after its release lost its trust"

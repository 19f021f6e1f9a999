"""What must hold of tenants and of time: I2, I3 and I4, judged by the platform's own log."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from batches.decisions.decide_forward import TAKEOVER_SECONDS
from batches.models import Batch, Rollback, TenantUpgrade
from plans.drafting.drafting import current_revision, policy_of
from plans.lifecycle import PLAN
from plans.models import Freeze, Plan
from plans.policies.policy import PAUSE_SECONDS
from tests.simulation.judging import MOMENT, TICK, all_plans, grace, moved_by, seconds_of
from tests.simulation.scenario import CALL_TIMEOUT
from tests.simulation.world import World

PAUSES = {"plan_paused", "rollback_begun", "plan_stopped_here"}
HOLDS = {"batch_held", "batch_waits"}
STARTS_AGAIN = {
    "plan_resumed": PAUSES,
    "hold_released": {"batch_held"},
    "tenants_retried": {"batch_held"},
    "batch_goes_on": {"batch_waits"},
    "batch_opened": HOLDS,
    "batch_reopened": HOLDS,
}
"""What ends which kind of standing still."""


ENDS_A_PAUSE = {"plan_resumed", "rollback_begun", "plan_stopped_here"}
FOR_EVER = datetime(2100, 1, 1, tzinfo=UTC)


def i4_back_means_back(world: World) -> Iterator[str]:
    """Whoever counts as taken back runs the version before, at that moment."""
    drifted = {change.tenant for change in world.fleet.applied if not change.key}
    for entry in world.trail[world.proven :]:
        for tenant, state in moved_by(entry.payload).items():
            if entry.kind == "tenants_settled" or state != "rolled_back" or tenant in drifted:
                continue
            (before,) = world.shared.raw.execute(
                "SELECT version_before FROM batches_tenantupgrade"
                " WHERE tenant_key = ? AND plan_id = ?",
                (tenant, entry.stream.removeprefix("plan:").replace("-", "")),
            ).fetchone()
            runs = world.fleet.tenant(tenant).version
            if runs != before:
                yield f"{tenant} counts as taken back to {before} while it runs {runs}"
    world.proven = len(world.trail)


def i2_nothing_is_left_half_done(world: World) -> Iterator[str]:
    """A closed plan has no tenant that is neither upgraded, back, left out nor listed."""
    allowed = {"upgraded", "rolled_back", "excluded"}
    for plan in all_plans(world):
        state = str(plan.state)
        rows = list(TenantUpgrade.objects.filter(plan=plan))
        if state in {"completed", "stopped", "rolled_back", "archived", "needs_hand"}:
            fine = allowed | ({"needs_hand"} if state == "needs_hand" else set())
            for row in rows:
                if row.state not in fine:
                    yield f"{row.tenant_key} is {row.state} in a plan that is {state}"
        batches = Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        if state in PLAN.endings and batches.exists():
            yield f"a batch is live in a plan that is {state}"


def i2_the_platform_agrees(world: World) -> Iterator[str]:
    """What the console says of a tenant is what the platform runs."""
    drifted = {change.tenant for change in world.fleet.applied if not change.key}
    newest: dict[str, TenantUpgrade] = {}
    rows = TenantUpgrade.objects.select_related("plan__release").order_by("plan__started_at")
    for row in rows:
        if row.touched_at is not None or row.state == "upgraded":
            newest[row.tenant_key] = row
    for tenant, row in newest.items():
        runs = world.fleet.tenant(tenant).version
        target = row.plan.release.version
        wanted = {"upgraded": target, "rolled_back": row.version_before}.get(row.state)
        by_hand = "settled by" in row.last_error
        if tenant not in drifted and not by_hand and wanted is not None and runs != wanted:
            yield f"{tenant} is {row.state} but runs {runs}, not {wanted}"
    for row in rows.filter(state="excluded", touched_at=None):
        mine = f"{row.plan_id}:{row.tenant_key}:"
        if any(sent.key.startswith(mine) for sent in world.platform.sent):
            yield f"{row.tenant_key} is left out as never touched, but was called"


def i3_back_or_told_in_time(world: World) -> Iterator[str]:
    """Every touched tenant is back by the deadline, or that was said at 150 s and at 180 s."""
    for record in Rollback.objects.select_related("plan"):
        policy = policy_of(current_revision(record.plan))
        promised = record.clock_from + timedelta(seconds=PAUSE_SECONDS)
        longest = record.triggered_at + timedelta(seconds=policy.limits.rollback_seconds)
        if record.deadline > max(promised, longest) or record.deadline > longest:
            yield f"the deadline {record.deadline} is later than what was promised"
        if "widened" in record.sentence:
            continue
        yield from _told_in_time(world, record)


def _told_in_time(world: World, record: Rollback) -> Iterator[str]:
    begin, deadline = seconds_of(record.triggered_at), seconds_of(record.deadline)
    # By the world's own time: what the record says of itself is what is judged.
    ended = [
        e.at
        for e in world.trail
        if e.kind == "rollback_finished" and e.payload["rollback"] == str(record.pk)
    ]
    done = ended[0] if ended else world.ended_at
    late = grace(world, begin, deadline + 30)
    warned, warn_at = record.escalated_at, max(begin, deadline - 30)
    if min(done, world.ended_at) > warn_at + late and warned is None:
        yield f"{record} took until {done:.0f} s and nobody was told 30 s before {deadline:.0f} s"
    if warned is not None and seconds_of(warned) > warn_at + late:
        yield f"{record} was escalated {seconds_of(warned) - warn_at:.0f} s late"
    over = done > deadline + late and world.ended_at > deadline + late
    if over and record.missed_at is None and record.verified_at is not None:
        yield f"{record} was late and does not say so"
    missed = record.missed_at is not None and record.verified_at is not None
    if missed and record.verified_at <= record.deadline:
        yield f"{record} was in time and says that it was missed"


def i3_pauses_end(world: World) -> Iterator[str]:
    """A pause that nobody ends is rolled back when its wait is over."""
    one_way = {plan.stream_key for plan in all_plans(world) if plan.release.irreversible}
    for place, entry in enumerate(world.trail):
        if entry.kind != "plan_paused" or entry.stream in one_way:
            continue
        due = entry.at + 8.0
        later = [e for e in world.trail[place + 1 :] if e.stream == entry.stream]
        ended = [e.at for e in later if e.kind in ENDS_A_PAUSE]
        limit = due + grace(world, entry.at, due + 30)
        if (ended[0] if ended else world.ended_at) > limit:
            yield f"the pause of {entry.at:.1f} s was not ended by {limit:.1f} s"


def i3_measured_is_within_the_quote(world: World) -> Iterator[str]:
    """In an undisturbed world a rollback takes no longer than was quoted."""
    truthful = world.scenario.latency <= 0.2
    if world.downs or world.locks or world.jumps or world.scenario.faults or not truthful:
        return
    for record in Rollback.objects.filter(missed_at=None).exclude(verified_at=None):
        seconds = record.seconds()
        if record.needs_hand == 0 and seconds > (record.quote_seconds or 0) + TICK:
            yield f"{record} took {seconds:.1f} s and was quoted {record.quote_seconds:.1f} s"


def _moves(world: World, plan: Plan) -> dict[str, list[tuple[float, str]]]:
    """Return when each tenant of a plan came into which state, as the trail says."""
    moved: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for entry in world.trail:
        if entry.stream == plan.stream_key:
            for tenant, state in moved_by(entry.payload).items():
                moved[tenant].append((entry.at, state))
    return moved


def i4_nothing_goes_forward_after_the_way_back(world: World) -> Iterator[str]:
    """No forward call is begun after the restore intent, and none is applied after the restore."""
    journalled = defaultdict(list)
    for row in world.journal:
        journalled[row.key].append(row.at)
    for plan in all_plans(world):
        for tenant, moves in _moves(world, plan).items():
            mine = f"{plan.pk}:{tenant}:install:"
            for place, (at, state) in enumerate(moves):
                if state not in {"restoring", "rolled_back"}:
                    continue
                after = [when for when, s in moves[place + 1 :] if s == "upgrading"]
                until = after[0] if after else world.ended_at + 1000
                yield from _forward_between(world, mine, at, until, state)
    for sent in world.platform.sent:
        before = [at for at in journalled[sent.key] if at <= sent.at + MOMENT]
        if not before:
            yield f"{sent.key} was sent at {sent.at:.2f} s before the journal knew of it"
            continue
        waited = sent.at - max(before)
        if sent.install and waited > CALL_TIMEOUT + MOMENT and not world.fleet.strict:
            yield f"{sent.key} was sent {waited:.1f} s after its journal row"


def i4_nothing_starts_in_a_stopped_plan(world: World) -> Iterator[str]:
    """No forward call is begun while the plan is paused, held or going back."""
    stopped: dict[str, dict[str, float]] = defaultdict(dict)
    story: list[tuple[float, int, str, str]] = [
        (entry.at, 0, entry.kind, entry.stream.removeprefix("plan:")) for entry in world.trail
    ]
    story += [(row.at, 1, "call", row.key) for row in world.journal if row.install]
    for at, _order, kind, about in sorted(story):
        plan = about.partition(":")[0]
        if kind in PAUSES | HOLDS:
            stopped[plan].setdefault(kind, at)
        for ended in STARTS_AGAIN.get(kind, ()):
            stopped[plan].pop(ended, None)
        since = min(stopped[plan].values(), default=at)
        if kind == "call" and at > since + MOMENT:
            yield f"{about} was begun {at - since:.2f} s after its plan was stopped"


def i4_nothing_starts_while_closed(world: World) -> Iterator[str]:
    """No covered tenant is called forward during a freeze, and nobody outside of the window."""
    if world.jumps:
        return
    closed = [
        (seconds_of(one.declared_at), seconds_of(one.lifted_at or FOR_EVER), set(one.tenants))
        for one in Freeze.objects.all()
    ]
    windowed = {
        str(plan_id)
        for number, plan_id in world.plans.items()
        if world.scenario.plans[number].policy == "windowed"
    }
    for row in world.journal:
        plan, tenant = row.key.split(":")[:2]
        if not row.install:
            continue
        for begin, end, tenants in closed:
            if begin + MOMENT < row.at < end and (not tenants or tenant in tenants):
                yield f"{row.key} was begun {row.at - begin:.2f} s after its tenant was frozen"
        if plan in windowed and 60 + MOMENT < row.at < 120:
            yield f"{row.key} was begun at {row.at:.2f} s, outside of the window"


def _forward_between(world: World, mine: str, at: float, until: float, state: str) -> Iterator[str]:
    if state == "restoring":
        for row in world.journal:
            if row.install and row.key.startswith(mine) and at + MOMENT < row.at < until:
                yield f"{row.key} was begun {row.at - at:.2f} s after the restore intent"
        return
    for change in world.fleet.applied:
        if change.install and change.key.startswith(mine) and at < change.at < until:
            yield f"{change.key} was applied {change.at - at:.2f} s after its tenant was back"


def batches_are_called(world: World) -> Iterator[str]:
    """A batch that was opened is called within seconds: by the hands, or else by the watch."""
    for place, entry in enumerate(world.trail):
        if entry.kind != "batch_opened":
            continue
        limit = entry.at + TAKEOVER_SECONDS + grace(world, entry.at, entry.at + 20)
        later = [
            e.at
            for e in world.trail[place + 1 :]
            if e.stream == entry.stream
            and e.kind in ("tenants_moved", "batch_waits", *PAUSES, *HOLDS)
        ]
        if min(later, default=world.ended_at) > limit:
            yield f"nobody called the batch that was opened at {entry.at:.1f} s"

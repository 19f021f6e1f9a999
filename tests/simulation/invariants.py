"""What must hold of every world: I1 to I14, each one function, and the judge of them all.

The platform's own log and the order in which things were committed are what they judge by; the
console's rows must agree with both. `DURING` are asked after commits, `AFTERWARDS` at the end.
To add one: a function that yields sentences about what is wrong, and its line in a table.
"""

from collections.abc import Iterator

from batches.alerting.kinds import ALERT_KINDS
from batches.lifecycle import TENANT_UPGRADE
from batches.models import Alert, Rollback, TenantUpgrade
from batches.quotes.quote import Quote, WayBack, pace, rollback_quote
from plans.models import Event, Stream
from plans.trail import events
from tests.simulation.invariants_of_approvals import (
    i5_every_start_was_agreed_to,
    i5_what_needs_a_grant_used_one_up,
)
from tests.simulation.invariants_of_artifacts import (
    nothing_is_sent_after_its_trust,
    upgraded_means_the_signed_artifact,
)
from tests.simulation.invariants_of_effects import (
    batches_are_called,
    i2_nothing_is_left_half_done,
    i2_the_platform_agrees,
    i3_back_or_told_in_time,
    i3_measured_is_within_the_quote,
    i3_pauses_end,
    i4_back_means_back,
    i4_nothing_goes_forward_after_the_way_back,
    i4_nothing_starts_in_a_stopped_plan,
    i4_nothing_starts_while_closed,
)
from tests.simulation.invariants_of_looks import (
    i9_rulings_come_out_again,
    i9_rulings_replay,
    i11_and_i13_nothing_passes_unseen,
)
from tests.simulation.judging import (
    EXPECTED_SECONDS,
    PARALLELISM,
    Invariant,
    all_plans,
    grace,
    moved_by,
    seconds_of,
)
from tests.simulation.scenario import CALL_TIMEOUT
from tests.simulation.world import World

# During the world.


def i1_one_live_batch_per_tenant(world: World) -> Iterator[str]:
    """At most one live batch per tenant and plugin."""
    if len(world.plans) < 2:
        return
    twice = world.shared.raw.execute(
        "SELECT MIN(u.tenant_key) FROM batches_tenantupgrade u"
        " JOIN batches_batch b ON b.id = u.batch_id JOIN plans_plan p ON p.id = u.plan_id"
        " WHERE b.state IN ('deploying', 'soaking', 'held') AND p.state IN ('running', 'paused')"
        " GROUP BY p.plugin_id, u.tenant_id HAVING COUNT(DISTINCT u.plan_id) > 1"
    ).fetchall()
    for (tenant,) in twice:
        yield f"{tenant} is in two live batches"


def i6_each_event_follows_its_predecessor(world: World) -> Iterator[str]:
    """The chain is unbroken after every step."""
    heads: dict[str, tuple[int, str]] = world.heads
    for entry in world.trail[world.checked :]:
        seq, digest = heads.get(entry.stream, (entry.seq - 1, entry.prev_hash))
        if entry.seq != seq + 1 or entry.prev_hash != digest:
            yield f"{entry.stream} #{entry.seq} does not follow #{seq}"
        heads[entry.stream] = (entry.seq, entry.hash)
    world.checked = len(world.trail)


def i7_tenants_add_up(world: World) -> Iterator[str]:
    """The tenants of each batch are as many as its size says."""
    wrong = world.shared.raw.execute(
        "SELECT b.number, b.size, COUNT(u.id) FROM batches_batch b"
        " LEFT JOIN batches_tenantupgrade u ON u.batch_id = b.id"
        " GROUP BY b.id HAVING COUNT(u.id) <> b.size"
    ).fetchall()
    for number, size, count in wrong:
        yield f"batch {number} has {count} tenants, its size is {size}"


_STEPS = {(a, str(t.target)) for t in TENANT_UPGRADE.transitions for a in t.sources}
LEGAL = _STEPS | {(a, c) for a, b in _STEPS for b_, c in _STEPS if b == b_}
"""The moves that the table knows; a chunk of the ledger may tell of two at once."""


def i7_tenants_move_as_the_table_says(world: World) -> Iterator[str]:
    """Nobody tells of a move of a tenant that its lifecycle does not know."""
    states: dict[tuple[str, str], str] = {}
    for entry in world.trail:
        for tenant, state in moved_by(entry.payload).items():
            before = states.get((entry.stream, tenant), TENANT_UPGRADE.initial)
            states[entry.stream, tenant] = state
            if before != state and (before, state) not in LEGAL:
                yield f"{tenant} went from {before} to {state} at {entry.at:.1f} s ({entry.kind})"


def i14_quote_fits_at_each_opening(world: World) -> Iterator[str]:
    """No batch starts whose rollback quote, of all touched and by it, exceeds the limit."""
    for entry in world.trail[world.quoted :]:
        if entry.kind not in {"batch_opened", "batch_reopened"}:
            continue
        told = entry.payload["quote"]
        if not told["reversible"]:
            continue
        if not told["fits"]:
            yield f"batch {entry.payload['batch']} began although {told['sentence']}"
        quote = _quoted_now(world, entry.stream.removeprefix("plan:").replace("-", ""))
        if not quote.fits:
            yield f"batch {entry.payload['batch']} began although {quote.sentence}"
        if abs(quote.seconds - told["seconds"]) > 0.01:
            yield f"batch {entry.payload['batch']}: {told['sentence']}; in truth {quote.sentence}"
    world.quoted = len(world.trail)


def _quoted_now(world: World, plan_id: str) -> Quote:
    """Return the quote for all that is touched or is about to be, from the rows as they are."""
    ask = world.shared.raw.execute
    (touched,) = ask(
        "SELECT COUNT(*) FROM batches_tenantupgrade u JOIN batches_batch b ON b.id = u.batch_id"
        " WHERE u.plan_id = ? AND (u.touched_at IS NOT NULL"
        " AND u.state IN ('upgrading', 'upgraded', 'failed', 'unknown', 'needs_hand', 'restoring')"
        " OR u.state = 'pending' AND b.state = 'deploying')",
        (plan_id,),
    ).fetchone()
    (elsewhere,) = ask(
        "SELECT COALESCE(SUM(b.size), 0) FROM batches_batch b"
        " JOIN plans_plan p ON p.id = b.plan_id WHERE p.id <> ?"
        " AND p.state IN ('running', 'paused', 'rolling_back', 'needs_hand') AND b.state IN"
        " ('deploying', 'soaking', 'held', 'passed', 'stopped', 'needs_hand', 'rolling_back')",
        (plan_id,),
    ).fetchone()
    policy = world.policy_of(plan_id)
    way = WayBack(
        parallelism=min(PARALLELISM, policy.limits.parallelism),
        call_timeout=policy.limits.call_timeout_seconds,
        rollback_seconds=policy.limits.rollback_seconds,
        pause_wait=policy.rollback.rollback_after_seconds,
        restore=pace(*world.measured("restore"), EXPECTED_SECONDS),
        look=pace(*world.measured("observe"), 0.0),
        deployer_parallelism=PARALLELISM,
        elsewhere=elsewhere,
    )
    return rollback_quote(way, touched=touched)


def i6_the_chain_verifies(world: World) -> Iterator[str]:
    """Every stream's chain is intact to its head."""
    for key in Stream.objects.values_list("key", flat=True):
        checked = events.check_chain(key)
        if not checked.intact:
            yield f"{checked}"


def i8_same_key_same_answer(world: World) -> Iterator[str]:
    """A key never means two things, and no attempt is written down twice."""
    known: dict[str, tuple[str, str, str, int]] = {}
    for call in world.fleet.log:
        if not call.key:
            continue
        said = (call.tenant, call.direction, call.version, call.fence)
        if known.setdefault(call.key, said) != said:
            yield f"{call.key} meant {known[call.key]} and then {said}"
    fences: dict[str, int] = {}
    for change in sorted(world.platform.sent, key=lambda sent: sent.at):
        fences[change.tenant] = max(fences.get(change.tenant, 0), change.fence)
    if len(set(world.journal_keys())) != len(world.journal):
        yield "the journal has an attempt twice"


PLAN_AFTER = {
    "plan_drafted": "draft",
    "plan_revised": "draft",
    "plan_submitted": "awaiting_approval",
    "plan_approved": "approved",
    "plan_rejected": "rejected",
    "plan_expired": "expired",
    "plan_cancelled": "cancelled",
    "plan_archived": "archived",
    "plan_started": "running",
    "plan_paused": "paused",
    "plan_resumed": "running",
    "plan_completed": "completed",
    "rollback_begun": "rolling_back",
    "plan_needs_hand": "needs_hand",
}


def _settled_as(sentence: str) -> str:
    for words, state in (("rolled back", "rolled_back"), ("stopped", "stopped")):
        if words in sentence:
            return state
    return "completed"


def i10_events_fold_to_the_snapshot(world: World) -> Iterator[str]:
    """Sequences have no gap, and what the events tell is what the rows say."""
    for plan in all_plans(world):
        told = Event.objects.filter(stream__key=plan.stream_key).order_by("seq")
        seqs = list(told.values_list("seq", flat=True))
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"the trail of {plan} has a gap"
        rows = dict(TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", "state"))
        folded = dict.fromkeys(rows, "pending")
        state, scope = "", "plan"
        for event in told:
            folded |= moved_by(event.payload)
            state = PLAN_AFTER.get(event.kind, state)
            if event.kind == "rollback_begun":
                scope = event.payload["scope"]
            if event.kind == "rollback_finished":
                hand = "needs_hand" if event.payload["needs_hand"] else "rolled_back"
                state = hand if scope == "plan" else "paused"
            if event.kind == "plan_stopped_here":
                state = "needs_hand" if event.payload["needs_hand"] else "stopped"
            if event.kind == "plan_settled":
                state = _settled_as(event.sentence)
        if folded != rows:
            wrong = {k: (folded.get(k), v) for k, v in rows.items() if folded.get(k) != v}
            yield f"the events say otherwise than the tenants of {plan}: {wrong}"
        if state != str(plan.state):
            yield f"the events say that {plan} is {state}"


def i12_the_way_back_is_never_refused(world: World) -> Iterator[str]:
    """A rollback begins at once, and asking for one is refused only where nothing was started."""
    for at, act, words in world.people.refusals:
        possible = "not possible now" not in words and "cannot be taken back" not in words
        if act == "roll_back" and possible:
            yield f"a rollback was refused at {at:.1f} s: {words}"
    for record in Rollback.objects.exclude(touched=0):
        begin = seconds_of(record.triggered_at)
        limit = grace(world, begin, begin + 10) + CALL_TIMEOUT
        first = seconds_of(record.first_call_at) if record.first_call_at else world.ended_at
        left = TenantUpgrade.objects.filter(plan=record.plan_id, state="excluded").count()
        if first - begin > limit and not left and "widened" not in record.sentence:
            yield f"{record} began at {begin:.1f} s, its first call at {first:.1f} s"


def every_alert_says_what_to_do(world: World) -> Iterator[str]:
    """Nobody is woken up by a kind of alert that docs/alerts.md does not explain."""
    unknown = Alert.objects.exclude(kind__in=ALERT_KINDS).order_by()
    yield from (f"nobody explains {kind}" for kind in unknown.values_list("kind", flat=True))


DURING: dict[str, Invariant] = {
    "I1": i1_one_live_batch_per_tenant,
    "I4 back": i4_back_means_back,
    "I6": i6_each_event_follows_its_predecessor,
    "I7": i7_tenants_add_up,
    "I14": i14_quote_fits_at_each_opening,
}
AFTERWARDS: dict[str, Invariant] = {
    "I2": i2_nothing_is_left_half_done,
    "I2 platform": i2_the_platform_agrees,
    "I3": i3_back_or_told_in_time,
    "I3 pause": i3_pauses_end,
    "I3 quote": i3_measured_is_within_the_quote,
    "I4": i4_nothing_goes_forward_after_the_way_back,
    "I4 stop": i4_nothing_starts_in_a_stopped_plan,
    "I7 moves": i7_tenants_move_as_the_table_says,
    "I4 closed": i4_nothing_starts_while_closed,
    "I5": i5_every_start_was_agreed_to,
    "I5 grants": i5_what_needs_a_grant_used_one_up,
    "I6 chain": i6_the_chain_verifies,
    "I8": i8_same_key_same_answer,
    "I9": i9_rulings_replay,
    "I9 exactly": i9_rulings_come_out_again,
    "I10": i10_events_fold_to_the_snapshot,
    "I11, I13": i11_and_i13_nothing_passes_unseen,
    "batches": batches_are_called,
    "I12": i12_the_way_back_is_never_refused,
    "artifact": upgraded_means_the_signed_artifact,
    "trust": nothing_is_sent_after_its_trust,
    "alerts": every_alert_says_what_to_do,
}


def ask_during(world: World) -> None:
    """Ask the cheap ones; called after each commit."""
    for name, invariant in DURING.items():
        world.problems += [f"{name}: {problem}" for problem in invariant(world)]


def ask_afterwards(world: World) -> None:
    """Ask the rest of a world that has ended."""
    for name, invariant in AFTERWARDS.items():
        world.problems += [f"{name}: {problem}" for problem in invariant(world)]

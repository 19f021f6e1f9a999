"""The effect loop over a simulated fleet, a ledger in memory and a virtual clock."""

from dataclasses import replace

import pytest

from tests.effects.simulated_world import MemoryLedger, World, task_for

TENANTS = [f"oak-{number:02d}" for number in range(40)]


@pytest.fixture
def world():
    return World()


# Forward.


def test_every_tenant_is_called_once_and_read_back(world):
    progress = world.run(*map(task_for, TENANTS))
    assert set(world.ledger.states.values()) == {"confirm"}
    assert {world.version(tenant) for tenant in TENANTS} == {"2.0"}
    assert (progress.tasks, progress.calls) == (40, 40)
    assert all(row.outcome == "ok" and row.ended for row in world.ledger.journal)


def test_a_confirmed_tenant_was_seen_on_the_target_after_its_call(world):
    world.run(task_for("acorn"))
    assert [call.direction for call in world.fleet.log] == ["observe", "install", "observe"]
    assert world.ledger.outcomes[-1].observed.version == "2.0"


def test_what_was_there_before_is_handed_in_with_the_journal_row(world):
    world.run(task_for("acorn"))
    assert [start.version_before for start in world.ledger.starts] == ["1.0"]


def test_a_call_that_fails_is_tried_again_under_the_same_key(world):
    world.fault("acorn", "fail", times=2)
    world.run(task_for("acorn"))
    assert world.ledger.states["acorn"] == "confirm"
    assert [(row.key, row.attempt) for row in world.ledger.journal] == [
        ("plan:acorn:install:1", 1),
        ("plan:acorn:install:1", 2),
        ("plan:acorn:install:1", 3),
    ]
    assert "attempt 2 failed" in world.ledger.journal[2].reason


def test_when_all_attempts_are_used_up_the_tenant_has_failed(world):
    world.fault("acorn", "fail")
    world.run(task_for("acorn"), attempts=2)
    assert len(world.calls()) == 2
    assert world.ledger.states["acorn"] == "fail"
    assert world.ledger.outcomes[-1].exhausted
    assert world.ledger.errors["acorn"].startswith("still 1.0 after a call that ended failed 500")


def test_a_refusal_is_not_tried_again(world):
    world.fault("acorn", "refuse")
    world.run(task_for("acorn"))
    assert len(world.calls()) == 1
    assert world.ledger.states["acorn"] == "fail"


def test_a_platform_that_asks_for_patience_gets_it(world):
    world.fault("acorn", "throttle", times=1)
    world.run(task_for("acorn"))
    first, second = world.calls()
    assert second.started - first.ended >= 1.0


def test_an_answer_that_was_lost_is_looked_up_and_not_repeated(world):
    world.fault("acorn", "reset", applies="now", times=1)
    world.run(task_for("acorn"))
    assert world.ledger.states["acorn"] == "confirm"
    assert len(world.calls()) == 1
    assert world.ledger.journal[0].outcome == "unknown"


def test_a_failure_that_took_effect_all_the_same_is_a_success(world):
    world.fault("acorn", "fail", applies="now", times=1)
    world.run(task_for("acorn"))
    assert (world.ledger.states["acorn"], len(world.calls())) == ("confirm", 1)


def test_a_call_that_hangs_ends_at_its_time_out_and_is_lost_in_the_end(world):
    world.fault("acorn", "hang")
    world.run(task_for("acorn"), attempts=1)
    assert world.calls()[0].ended - world.calls()[0].started == world.ledger.call_timeout
    assert world.ledger.states["acorn"] == "lose"
    assert world.ledger.outcomes[-1].exhausted


def test_one_that_hangs_does_not_keep_the_others_waiting(world):
    world.fault("acorn", "hang", times=1)
    world.run(task_for("acorn"), *map(task_for, TENANTS))
    others = [call.ended for call in world.calls() if call.tenant != "acorn"]
    assert max(others) < world.ledger.call_timeout
    assert world.ledger.states["acorn"] == "confirm"


def test_a_tenant_that_is_on_the_target_already_is_not_called(world):
    world.fleet.tenant("acorn").version = "2.0"
    progress = world.run(task_for("acorn"))
    assert (world.ledger.states["acorn"], progress.calls, world.calls()) == ("confirm", 0, [])


def test_the_right_version_with_another_artifact_has_failed(world):
    world.fleet.tenant("acorn").digest = "sha256:bbbb"
    world.fault("acorn", "ok", applies="never")
    world.fleet.tenant("acorn").version = "2.0"
    world.run(replace(task_for("acorn"), digest="aaaa"), attempts=1)
    assert world.ledger.states["acorn"] == "fail"
    error = world.ledger.errors["acorn"]
    assert error.endswith(" 2.0 with another digest than was signed: bbbb, signed aaaa")


def test_another_artifact_than_was_ordered_is_never_an_upgrade(world):
    world.fault("acorn", digest="bbbb")
    world.run(replace(task_for("acorn"), digest="aaaa"), attempts=2)
    assert world.ledger.states["acorn"] == "fail"


def test_a_platform_that_puts_it_right_at_the_second_try_is_believed(world):
    world.fault("acorn", "fail", applies="now", digest="bbbb", times=1)
    world.run(replace(task_for("acorn"), digest="aaaa"), attempts=2)
    assert world.ledger.states["acorn"] == "confirm"


def test_what_was_called_and_restored_carries_its_digest(world):
    world.run(replace(task_for("acorn"), digest="aaaa"))
    assert world.fleet.tenant("acorn").digest == "aaaa"


def test_a_newer_version_than_the_plans_is_not_called_down(world):
    world.fleet.tenant("acorn").version = "2.1"
    progress = world.run(task_for("acorn"))
    assert (world.ledger.states["acorn"], progress.calls) == ("fail", 0)
    assert "runs 2.1, which is newer than 2.0: not called" in world.ledger.errors["acorn"]


@pytest.mark.parametrize("more", [{"way_back": "2.0"}, {"touched": True}])
def test_the_way_back_and_a_second_try_are_called_all_the_same(world, more):
    world.fleet.tenant("acorn").version = "2.1"
    world.run(replace(task_for("acorn"), **more))
    assert world.ledger.states["acorn"] == "confirm"


def test_a_version_that_cannot_be_compared_is_called(world):
    world.fleet.tenant("acorn").version = "nightly"
    world.run(task_for("acorn"))
    assert world.ledger.states["acorn"] == "confirm"


def test_a_digest_with_its_algorithm_is_the_same_digest(world):
    world.fleet.tenant("acorn").digest = "sha256:aaaa"
    world.fleet.tenant("acorn").version = "2.0"
    world.run(replace(task_for("acorn"), digest="aaaa"))
    assert world.ledger.states["acorn"] == "confirm"


def test_a_200_that_changed_nothing_has_failed(world):
    world.fault("acorn", "ok", applies="never")
    world.run(task_for("acorn"), attempts=2)
    assert world.ledger.states["acorn"] == "fail"
    assert "still 1.0 after a call that ended ok 200" in world.ledger.errors["acorn"]


def test_a_platform_that_applies_a_moment_later_is_given_the_moment(world):
    world.fault("acorn", "ok", applies="late", late_seconds=0.5)
    world.run(task_for("acorn"))
    assert (world.ledger.states["acorn"], len(world.calls())) == ("confirm", 1)


def test_a_tenant_that_cannot_be_read_is_not_called(world):
    world.fault("acorn", "fail", directions=frozenset({"observe"}))
    world.run(task_for("acorn"))
    assert world.calls() == []
    assert world.ledger.states["acorn"] == "fail"
    assert "could not be observed" in world.ledger.errors["acorn"]


def test_a_touched_tenant_that_cannot_be_read_is_unknown_and_not_failed(world):
    world.fault("acorn", "fail", directions=frozenset({"observe"}))
    world.run(replace(task_for("acorn"), touched=True))
    assert world.ledger.states["acorn"] == "lose"


# Bounds and stops.


def most_at_once(calls) -> int:
    moments = [(c.started, 1) for c in calls] + [(c.ended, -1) for c in calls]
    running = peak = 0
    for _at, change in sorted(moments):
        running += change
        peak = max(peak, running)
    return peak


@pytest.mark.parametrize(("plan", "deployer"), [(4, 10), (20, 4)])
def test_never_more_calls_at_once_than_allowed_and_a_quarter_more_with_looks(plan, deployer):
    world = World(parallelism=deployer)
    world.run(*map(task_for, TENANTS), parallelism=plan)
    assert most_at_once(world.calls()) == 4
    assert most_at_once(world.fleet.log) == 5


def test_where_less_than_four_are_allowed_looks_count_as_calls_do():
    world = World(parallelism=3)
    world.run(*map(task_for, TENANTS), parallelism=20)
    assert most_at_once(world.fleet.log) == 3


def test_who_has_arrived_keeps_nobody_waiting_until_it_is_written_down(world):
    written_down = world.ledger.record_many

    async def slowly(outcomes):
        await world.clock.sleep(10)
        await written_down(outcomes)

    world.ledger.record_many = slowly
    world.run(*map(task_for, TENANTS[:5]), parallelism=2)
    assert max(call.started for call in world.calls()) < 10


def test_a_stop_launches_nothing_new_and_ends_what_is_in_flight(world):
    world.ledger.stop_after_calls = 5
    world.run(*map(task_for, TENANTS))
    assert len(world.calls()) == 5
    assert all(row.ended for row in world.ledger.journal)
    assert sum(state == "confirm" for state in world.ledger.states.values()) == 5


def test_who_was_claimed_and_not_called_is_given_back_untouched(world):
    world.ledger.stop_after_calls = 5
    world.run(*map(task_for, TENANTS))
    called = {call.tenant for call in world.calls()}
    given_back = {t for t, state in world.ledger.states.items() if state == "release"}
    assert given_back == set(world.ledger.states) - called
    assert given_back


def test_a_stop_between_two_attempts_leaves_the_tenant_unknown_and_not_given_up(world):
    world.fault("acorn", "fail")
    world.ledger.stop_after_calls = 1
    world.run(task_for("acorn"))
    assert world.ledger.states["acorn"] == "lose"
    assert not world.ledger.outcomes[-1].exhausted


def test_a_call_that_the_ledger_refuses_is_not_sent(world):
    world.ledger.deny_calls = True
    world.run(task_for("acorn"))
    assert (world.calls(), world.ledger.states["acorn"]) == ([], "release")


def test_a_platform_that_refuses_our_credentials_stops_everything(world):
    for tenant in TENANTS:
        world.fault(tenant, "unauthorized")
    progress = world.run(*map(task_for, TENANTS), parallelism=2)
    assert "401" in progress.unauthorized
    assert len(world.calls()) <= 2
    assert set(world.ledger.states.values()) <= {"lose", "release"}
    assert not any(outcome.exhausted for outcome in world.ledger.outcomes)


def test_a_process_that_stood_still_before_its_call_does_not_send_it(world):
    begin = world.ledger.begin_calls

    async def frozen(starts):
        ids = await begin(starts)
        if len(world.ledger.journal) == 1:
            await world.clock.sleep(world.ledger.call_timeout + 1)
        return ids

    world.ledger.begin_calls = frozen
    world.run(task_for("acorn"))
    assert world.ledger.journal[0].outcome == "failed"
    assert len(world.calls()) == 1
    assert world.ledger.states["acorn"] == "confirm"


def test_a_process_that_stood_still_before_the_last_attempt_does_not_blame_the_tenant(world):
    begin = world.ledger.begin_calls

    async def frozen(starts):
        ids = await begin(starts)
        await world.clock.sleep(world.ledger.call_timeout + 1)
        return ids

    world.ledger.begin_calls = frozen
    world.run(task_for("acorn"), attempts=1)
    assert (world.calls(), world.ledger.states["acorn"]) == ([], "lose")
    assert not world.ledger.outcomes[-1].exhausted


def test_a_process_that_lost_its_lease_between_journal_and_call_does_not_send_it(world):
    begin = world.ledger.begin_calls

    async def frozen(starts):
        ids = await begin(starts)
        await world.clock.sleep(2)
        world.ledger.stop = True
        return ids

    world.ledger.begin_calls = frozen
    world.run(task_for("acorn"))
    assert (world.calls(), world.ledger.states["acorn"]) == ([], "lose")


# Back.


def upgraded(world, *tenants):
    for tenant in tenants:
        world.fleet.tenant(tenant).version = "2.0"
    return [task_for(tenant, "restore") for tenant in tenants]


def test_every_tenant_is_taken_back_and_read_back(world):
    world.run(*upgraded(world, *TENANTS))
    assert set(world.ledger.states.values()) == {"restored"}
    assert {world.version(tenant) for tenant in TENANTS} == {"1.0"}


def test_the_config_of_before_goes_back_with_the_version(world):
    (task,) = upgraded(world, "acorn")
    world.run(replace(task, config={"limit": 5}))
    assert world.fleet.tenant("acorn").config == {"limit": 5}


def test_a_restore_is_tried_until_it_works(world):
    world.fault("acorn", "fail", times=7)
    world.run(*upgraded(world, "acorn"), attempts=1, give_up_after=300)
    assert (world.ledger.states["acorn"], len(world.calls())) == ("restored", 8)


def test_a_restore_that_never_works_is_handed_to_a_person_at_its_time(world):
    world.fault("acorn", "fail")
    world.run(*upgraded(world, "acorn"), give_up_after=30)
    assert world.ledger.states["acorn"] == "give_up"
    assert 30 <= world.clock.monotonic() < 40
    assert world.ledger.outcomes[-1].exhausted


def test_a_restore_that_is_refused_for_good_is_handed_over_at_once(world):
    world.fault("acorn", "refuse")
    world.run(*upgraded(world, "acorn"), give_up_after=300)
    assert (world.ledger.states["acorn"], len(world.calls())) == ("give_up", 1)


def test_a_restore_goes_on_although_the_platform_refuses_another_tenants_credentials(world):
    world.fault("acorn", "unauthorized")
    world.run(*upgraded(world, "acorn", *TENANTS), give_up_after=300)
    assert world.ledger.states.pop("acorn") == "give_up"
    assert set(world.ledger.states.values()) == {"restored"}


def test_a_restore_that_another_holder_took_over_is_left_to_it(world):
    world.ledger.deny_calls = True
    world.run(*upgraded(world, "acorn"))
    assert (world.ledger.states["acorn"], world.ledger.outcomes) == ("restoring", [])


def hung_forward(world, late_seconds: float):
    """Let a forward call time out after 10 s and be applied later; nobody saw it by 12.7 s."""
    world.ledger.call_timeout = 10.0
    world.fault(
        "acorn",
        "hang",
        applies="late",
        late_seconds=late_seconds,
        directions=frozenset({"install"}),
    )
    world.run(task_for("acorn"), attempts=1)
    assert world.ledger.states["acorn"] == "lose"
    return replace(task_for("acorn", "restore"), late_calls=True)


@pytest.mark.parametrize("late_seconds", [13.0, 14.5, 16.0, 17.5, 19.9])
def test_a_forward_call_that_is_applied_late_ends_on_the_old_version(world, late_seconds):
    world.run(hung_forward(world, late_seconds), give_up_after=300)
    assert world.ledger.states["acorn"] == "restored"
    assert world.version("acorn") == "1.0"


def test_a_restore_counts_only_when_no_late_call_can_undo_it(world):
    task = hung_forward(world, 99)
    world.run(task, give_up_after=300)
    # The call was sent at 0.1 s with a patience of 10 s: it is given as long again.
    settled = world.ledger.outcomes[-1]
    assert settled.move == "restored"
    assert world.clock.monotonic() >= 20.1


def test_a_restore_that_was_undone_is_a_new_intent_with_a_new_key(world):
    world.run(hung_forward(world, 17.0), give_up_after=300)
    keys = [row.key for row in world.ledger.journal if row.direction == "restore"]
    assert keys == ["plan:acorn:restore:1", "plan:acorn:restore:2"]
    assert world.ledger.journal[-1].reason == "a late forward call undid the restore"


def test_the_restore_is_sent_without_waiting_for_the_last_late_moment(world):
    task = hung_forward(world, 99)
    ended = world.clock.monotonic()
    world.run(task, give_up_after=300)
    assert world.calls("restore")[0].started - ended <= 2.3


# What a ledger holds back.


class CappedLedger(MemoryLedger):
    """Hands out no more than two tenants beside those under way."""

    most = 0

    async def claim_many(self, limit):
        under_way = sum(state == "upgrading" for state in self.states.values())
        claimed = await super().claim_many(max(0, min(limit, 2 - under_way)))
        self.most = max(self.most, under_way + len(claimed))
        return claimed


def test_a_ledger_that_holds_back_is_asked_again_until_all_are_called(world):
    world.ledger = CappedLedger(world.clock)
    world.run(*map(task_for, TENANTS))
    assert set(world.ledger.states.values()) == {"confirm"}
    assert len(world.ledger.states) == len(TENANTS)
    assert world.ledger.most == 2

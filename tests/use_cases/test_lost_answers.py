"""The server commits and nobody is told, because the connection is lost: it is done again, once."""

import threading
from collections import Counter

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from batches.effects.ports import Outcome
from batches.models import DeployerCall, TenantUpgrade
from tests.builders import a_started, check_invariants, kinds, opened, states
from tests.use_cases.test_ledger import end_of, moved, scope_of, start_of, using
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def plan(scene):
    """Return a running plan whose first batch waits for its calls."""
    started = a_started(scene)
    opened(started)
    return started


@pytest.fixture
def lose(monkeypatch):
    """Return what lets the answers to the ledger's next commits be lost."""
    to_lose = Counter[str]()
    commit = BaseDatabaseWrapper._commit

    def committing(connection):
        commit(connection)
        if threading.current_thread().name == "ledger" and to_lose["answers"]:
            to_lose["answers"] -= 1
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committing)

    def lose_next(times: int = 1) -> None:
        to_lose["answers"] = times

    return lose_next


@pytest.mark.parametrize("times", [1, 2])
def test_a_call_whose_row_is_there_already_is_sent_under_that_row(plan, lose, times):
    async def work(one):
        tasks = await one.claim_many(10)
        lose(times)
        ids = await one.begin_calls([start_of(task) for task in tasks])
        return ids, [touched.tenant for touched in one._writes.first_touched]

    ids, first_touched = using(scope_of(plan), work)
    calls = DeployerCall.objects.filter(plan=plan)
    assert sorted(ids) == sorted(calls.values_list("pk", flat=True))
    assert len(ids) == 2
    upgrades = TenantUpgrade.objects.filter(plan=plan, state="upgrading")
    assert {row.attempts for row in upgrades} == {1}
    assert {row.version_before for row in upgrades} == {"1.0.0"}
    # Who reads the offline file must know of them, too.
    assert set(first_touched) == {row.tenant_key for row in upgrades}


def test_a_second_attempt_has_a_row_of_its_own(plan, lose):
    async def work(one):
        (task, *_) = await one.claim_many(1)
        (first,) = await one.begin_calls([start_of(task)])
        await one.record_many([Outcome(task, now(), call=end_of(first, "failed"))])
        lose()
        (second,) = await one.begin_calls([start_of(task, attempt=2)])
        return first, second

    first, second = using(scope_of(plan), work)
    assert first != second
    assert list(DeployerCall.objects.order_by("pk").values_list("pk", "attempt")) == [
        (first, 1),
        (second, 2),
    ]


def test_who_was_claimed_is_claimed_anew(plan, lose):
    async def work(one):
        lose()
        return await one.claim_many(10)

    tasks = using(scope_of(plan), work)
    assert len({task.tenant for task in tasks}) == len(tasks) == 2
    assert [task.generation for task in tasks] == [2, 2]
    assert set(TenantUpgrade.objects.filter(state="upgrading").values_list("generation")) == {(2,)}


def test_what_has_happened_is_told_once(plan, lose):
    async def work(one):
        tasks = await one.claim_many(10)
        ids = await one.begin_calls([start_of(task) for task in tasks])
        lose()
        await one.record_many(
            [moved(t, "confirm", call=end_of(pk)) for t, pk in zip(tasks, ids, strict=True)]
        )

    told = kinds(plan).count("tenants_moved")
    using(scope_of(plan), work)
    assert sorted(states(plan).values()).count("upgraded") == 2
    # One of the claim, one of what came of it.
    assert kinds(plan).count("tenants_moved") == told + 2
    check_invariants(plan)

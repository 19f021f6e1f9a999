"""Many people at the same plan in the same moment, through the same door."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.rig import APPROVALS, assert_ended_right
from tests.journeys.stack import OLD, Stack, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  gated:
    description: "A canary, then the rest when a person lets it."
    batches:
      - {{name: canary, percentage: 50, soak_minutes: 0.02}}
      - {{name: rest, percentage: 50, soak_minutes: 0.02, advance: manual}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, call_timeout_seconds: 4}}
{APPROVALS}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("people"), policies=POLICIES) as stack:
        stack.turn(latency_seconds=0.3, jitter_seconds=0)
        yield stack


def at_once(*acts: Callable[[], tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Do everything in the same moment; return the answers in the order of the acts."""
    ready = threading.Barrier(len(acts))
    answers: list[tuple[int, Any]] = [(0, None)] * len(acts)

    def do(number: int, act: Callable[[], tuple[int, Any]]) -> None:
        ready.wait()
        answers[number] = act()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def waits_at_the_gate(stack: Stack, tenants: list[str]) -> str:
    plan = stack.begin(tenants, policy="gated")
    key = plan.replace("-", "")
    gate = "SELECT 1 FROM plans_plan WHERE id = ? AND waiting_for LIKE '%promote%'"
    wait_until(lambda: stack.rows(gate, key), 60, "the second batch waits for a person")
    return plan


def ask(stack: Stack, plan: str, verb: str, by: str) -> Callable[[], tuple[int, Any]]:
    body = {} if verb == "promote" else {"reason": f"{by} wants to {verb}"}
    return lambda: stack.rest("POST", f"/api/v1/plans/{plan}/{verb}", body, by=by, seconds=60)


def test_fault_19_twenty_rollbacks_asked_for_at_once_are_one(stack):
    tenants = stack.take_tenants(4)
    plan = waits_at_the_gate(stack, tenants)

    answers = at_once(*[ask(stack, plan, "rollback", "olga")] * 20)

    assert {status for status, _answer in answers} == {202}
    assert len({answer["rollback"] for _status, answer in answers}) == 1
    stack.wait_for(plan, "rolled_back")
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    # `rollback` fails where there are two.
    assert stack.rollback(plan)["trigger"] == "person"
    assert len(stack.calls(plan, "restore")) == 2


def test_fault_20_of_many_who_promote_one_does_and_the_others_hear_who(stack):
    tenants = stack.take_tenants(4)
    plan = waits_at_the_gate(stack, tenants)

    answers = at_once(*[ask(stack, plan, "promote", who) for who in ("mara", "olga") * 4])

    statuses = sorted(status for status, _answer in answers)
    assert statuses == [200, *[409] * 7]
    assert all(answer["detail"] for status, answer in answers if status == 409)
    promoted = [event for event in stack.events(plan) if event["kind"] == "batch_promoted"]
    assert len(promoted) == 1
    stack.wait_for(plan, "completed")


def test_fault_20_a_rollback_wins_against_everybody_who_goes_on(stack):
    tenants = stack.take_tenants(4)
    plan = waits_at_the_gate(stack, tenants)
    pauses = [ask(stack, plan, "pause", "olga")] * 4
    promotes = [ask(stack, plan, "promote", "mara")] * 4
    backs = [ask(stack, plan, "rollback", "olga")] * 4

    answers = at_once(*pauses, *promotes, *backs)

    # What makes things safer is never refused for somebody else's being faster.
    assert {status for status, _answer in answers[:4]} == {200}
    assert {status for status, _answer in answers[4:8]} <= {200, 409}
    assert {status for status, _answer in answers[8:]} == {202}
    stack.wait_for(plan, "rolled_back")
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)

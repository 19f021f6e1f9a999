"""Exclude, skip, bring back, jump and skip the rest: what a plan goes on without."""

import threading
from collections.abc import Callable

import pytest
from django.db import connections

from batches.decisions.plan_facts import plan_facts
from batches.models import Batch, TenantUpgrade
from batches.rollback import rollback
from batches.rollout import control, leaving_out, progress
from batches.rollout.readiness import gate_quote
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan, PlanTenant
from plans.models.driven import NotPossibleNow
from plans.refusal import BadInput, NotAllowed, Refused
from tests.builders import (
    a_started,
    called,
    check_invariants,
    kinds,
    opened,
    passed,
    policy_text,
    soaking,
    states,
)
from tests.web.api_scene import now

THREE = """
      - {name: canary, percentage: 34, soak_minutes: 1}
      - {name: wave-1, percentage: 33, soak_minutes: 1}
      - {name: wave-2, percentage: 33, soak_minutes: 1}"""


@pytest.fixture
def plan(scene) -> Plan:
    return a_started(scene, policy=policy_text(batches=THREE))


def act(do, scene, plan, *, by=None, reason="they asked us to wait", **more) -> Plan:
    return do(plan_id=plan.pk, by=by or scene.olga, reason=reason, now=now(), via="page", **more)


def exclude(scene, plan, *keys, **more) -> Plan:
    return act(leaving_out.exclude, scene, plan, tenant_keys=keys, **more)


def skip(scene, plan, number, **more) -> Plan:
    return act(leaving_out.skip_batch, scene, plan, batch_number=number, **more)


def unskip(scene, plan, number, **more) -> Plan:
    return act(leaving_out.unskip_batch, scene, plan, batch_number=number, **more)


def jump(scene, plan, number, **more) -> Plan:
    return act(leaving_out.jump, scene, plan, batch_number=number, **more)


def stop(scene, plan, **more) -> Plan:
    return act(leaving_out.skip_rest, scene, plan, **more)


def keys_of(plan, number) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan, batch__number=number)
    return list(rows.values_list("tenant_key", flat=True))


def batch_states(plan) -> list[str]:
    return [str(b.state) for b in Batch.objects.filter(plan=plan).order_by("number")]


def facts_of(plan):
    plan = Plan.objects.select_related("release", "plugin").get(pk=plan.pk)
    return plan_facts(plan, policy_of(current_revision(plan)), now())


# Tenants.


def test_a_tenant_that_waits_is_left_out_with_its_reason_and_let_go(scene, plan):
    key = keys_of(plan, 2)[0]
    exclude(scene, plan, key)
    upgrade = TenantUpgrade.objects.get(tenant_key=key)
    assert (upgrade.state, upgrade.set_aside) == ("excluded", "excluded")
    assert upgrade.set_aside_why == "Olga: they asked us to wait"
    assert not PlanTenant.objects.get(plan=plan, tenant__key=key).reserved
    assert Event.objects.get(kind="tenants_excluded").payload["tenants"] == {key: "excluded"}
    check_invariants(plan)


def test_leaving_out_who_was_never_called_is_no_failure(scene, plan):
    opened(plan)
    exclude(scene, plan, keys_of(plan, 1)[0])
    batch = facts_of(plan).batches[0]
    assert (batch.failures, batch.left_out) == (0, 1)


def test_leaving_out_who_failed_does_not_mend_the_budget(scene, plan):
    batch = soaking(plan)
    key = keys_of(plan, 1)[0]
    called(batch, "failed", [key])
    TenantUpgrade.objects.filter(tenant_key=key).update(state="rolled_back")
    exclude(scene, plan, key)
    assert facts_of(plan).batches[0].failures == 1


def test_who_was_taken_back_unharmed_is_no_failure(scene, plan):
    soaking(plan)
    TenantUpgrade.objects.filter(tenant_key=keys_of(plan, 1)[0]).update(state="rolled_back")
    assert facts_of(plan).batches[0].failures == 0


def test_a_batch_that_has_nobody_left_is_skipped(scene, plan):
    exclude(scene, plan, *keys_of(plan, 2))
    assert batch_states(plan) == ["pending", "skipped", "pending"]
    with pytest.raises(Refused, match="one by one"):
        unskip(scene, plan, 2)


def test_nobody_is_left_out_whom_a_call_may_have_changed(scene, plan):
    batch = opened(plan)
    for state in ("upgrading", "upgraded", "failed", "unknown", "needs_hand"):
        called(batch, state)
        with pytest.raises(Refused, match="Take it back first") as refused:
            exclude(scene, plan, keys_of(plan, 1)[0])
        assert refused.value.code == "not_excludable"


def test_leaving_out_is_all_or_nothing_and_once(scene, plan):
    opened(plan)
    called(Batch.objects.get(plan=plan, number=1))
    waiting, done = keys_of(plan, 2)[0], keys_of(plan, 1)[0]
    with pytest.raises(Refused):
        exclude(scene, plan, waiting, done)
    assert states(plan)[waiting] == "pending"
    exclude(scene, plan, waiting)
    with pytest.raises(Refused, match=r"already \(Olga: they asked"):
        exclude(scene, plan, waiting, by=scene.mara)
    with pytest.raises(BadInput, match="not in this plan"):
        exclude(scene, plan, "oak")
    with pytest.raises(BadInput, match="say why"):
        exclude(scene, plan, keys_of(plan, 3)[0], reason=" ")
    with pytest.raises(NotAllowed):
        exclude(scene, plan, keys_of(plan, 3)[0], by=scene.rita)


# Batches.


def test_a_skipped_batch_keeps_its_tenants_where_they_are(scene, plan):
    skip(scene, plan, 2)
    assert batch_states(plan) == ["pending", "skipped", "pending"]
    assert {states(plan)[key] for key in keys_of(plan, 2)} == {"excluded"}
    assert "wave-1" in Event.objects.get(kind="batches_skipped").sentence
    check_invariants(plan)


def test_a_skipped_batch_comes_back_in_its_place(scene, plan):
    gone, *others = keys_of(plan, 2)
    exclude(scene, plan, gone)
    skip(scene, plan, 2)
    unskip(scene, plan, 2)
    assert batch_states(plan) == ["pending"] * 3
    assert states(plan)[gone] == "excluded"
    assert {states(plan)[key] for key in others} == {"pending"}
    check_invariants(plan)


def test_who_skips_second_learns_who_was_first(scene, plan):
    skip(scene, plan, 2)
    with pytest.raises(Refused, match=r"skipped \(Olga, \d\d:\d\d:\d\d UTC\)") as refused:
        skip(scene, plan, 2, by=scene.mara)
    assert refused.value.code == "already_skipped"
    unskip(scene, plan, 2)
    with pytest.raises(Refused, match=r"pending \(Olga, .*not skipped"):
        unskip(scene, plan, 2, by=scene.mara)


def test_a_batch_that_has_begun_is_not_skipped(scene, plan):
    opened(plan)
    with pytest.raises(Refused, match="deploying") as refused:
        skip(scene, plan, 1)
    assert refused.value.code == "batch_began"
    with pytest.raises(BadInput, match="no batch 7"):
        skip(scene, plan, 7)
    with pytest.raises(NotAllowed):
        skip(scene, plan, 2, by=scene.rita)


def test_a_jump_skips_what_lies_between_and_the_quote_is_of_the_batch_that_comes(scene, plan):
    passed(plan)
    jump(scene, plan, 3)
    assert batch_states(plan) == ["passed", "skipped", "pending"]
    told = Event.objects.get(kind="batches_skipped")
    assert (told.payload["batches"], told.payload["jumped_to"]) == ([2], 3)
    coming = gate_quote(Plan.objects.get(pk=plan.pk), policy_of(current_revision(plan)))
    assert coming.touched == len(keys_of(plan, 1)) + len(keys_of(plan, 3))
    with pytest.raises(Refused, match="comes next already"):
        jump(scene, plan, 3)


def test_the_quote_counts_only_who_would_be_called(scene, plan):
    exclude(scene, plan, keys_of(plan, 1)[0])
    coming = gate_quote(Plan.objects.get(pk=plan.pk), policy_of(current_revision(plan)))
    assert coming.touched == len(keys_of(plan, 1)) - 1


# The rest of the plan.


def test_stopping_here_keeps_what_is_upgraded_and_calls_nobody_else(scene, plan):
    soaking(plan)
    stop(scene, plan)
    assert batch_states(plan) == ["soaking", "skipped", "skipped"]
    progress.pass_soak(batch_id=Batch.objects.get(plan=plan, number=1).pk, why="", now=now())
    ended = progress.complete(plan_id=plan.pk, now=now())
    assert str(ended.state) == "completed"
    assert "2 of 6 tenants" in Event.objects.get(kind="plan_completed").sentence
    assert set(states(plan).values()) == {"upgraded", "excluded"}


def test_stopping_here_in_the_middle_of_a_batch_lets_its_calls_end(scene, plan):
    batch = opened(plan)
    first, second = keys_of(plan, 1)
    called(batch, "upgrading", [first])
    stop(scene, plan)
    assert (states(plan)[first], states(plan)[second]) == ("upgrading", "excluded")
    assert facts_of(plan).batches[0].failures == 0


def test_there_is_nothing_to_stop_before_or_after(scene, plan):
    with pytest.raises(Refused, match="nothing to keep"):
        stop(scene, plan)
    soaking(plan)
    stop(scene, plan)
    with pytest.raises(Refused, match=r"Nobody waits .* \(Olga, "):
        stop(scene, plan, by=scene.mara)
    with pytest.raises(NotAllowed):
        stop(scene, plan, by=scene.rita)


def test_a_plan_that_was_went_on_without_the_rest_can_still_be_taken_back(scene, plan):
    soaking(plan)
    stop(scene, plan)
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
    )
    assert record.touched == 2


# Races.


@pytest.mark.parametrize("do", [skip, unskip, jump, stop, exclude])
def test_a_rollback_wins_over_all_of_them(scene, plan, do):
    soaking(plan)
    rollback.request_rollback(plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page")
    arguments = {skip: (2,), unskip: (2,), jump: (3,), exclude: ("acorn",)}.get(do, ())
    with pytest.raises(NotPossibleNow, match=r"rolling back \(Mara, "):
        do(scene, plan, *arguments)


@pytest.mark.parametrize("do", [skip, jump, stop, exclude])
def test_a_pause_stays_a_pause_under_all_of_them(scene, plan, do):
    soaking(plan)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    arguments = {skip: (2,), jump: (3,), exclude: (keys_of(plan, 3)[0],)}.get(do, ())
    do(scene, plan, *arguments)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"


def both_at_once(*acts: Callable[[], object]) -> list[object]:
    """Run the acts in threads of their own that begin together; return results and refusals."""
    gate = threading.Barrier(len(acts))
    outcomes: list[object] = []

    def run(one: Callable[[], object]) -> None:
        gate.wait()
        try:
            outcomes.append(one())
        except Refused as refused:
            outcomes.append(refused)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(one,)) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_skip_at_once_one_wins_and_the_other_learns_who(scene):
    plan = a_started(scene, policy=policy_text(batches=THREE))
    outcomes = both_at_once(
        lambda: skip(scene, plan, 2, by=scene.olga), lambda: skip(scene, plan, 2, by=scene.mara)
    )
    (lost,) = [one for one in outcomes if isinstance(one, Refused)]
    first = Event.objects.get(kind="batches_skipped").actor_name
    assert f"skipped ({first}, " in lost.sentence
    assert kinds(plan).count("batches_skipped") == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_promotions_at_once_one_opens_the_gate_that_both_saw(scene):
    plan = a_started(scene, policy=policy_text(batches=THREE, more="advance: manual"))

    def promote(by):
        return control.promote(plan_id=plan.pk, by=by, now=now(), via="page", batch_number=1)

    outcomes = both_at_once(lambda: promote(scene.olga), lambda: promote(scene.mara))
    (lost,) = [one for one in outcomes if isinstance(one, Refused)]
    batch = Batch.objects.get(plan=plan, number=1)
    assert batch.promoted_by.get_full_name() in lost.sentence
    assert lost.code == "already_promoted"
    assert Batch.objects.get(plan=plan, number=2).promoted_at is None


@pytest.mark.django_db(transaction=True)
def test_a_rollback_is_accepted_whatever_comes_at_the_same_time(scene):
    plan = a_started(scene, policy=policy_text(batches=THREE))
    soaking(plan)

    def take_back():
        return rollback.request_rollback(
            plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page"
        )

    outcomes = both_at_once(take_back, lambda: skip(scene, plan, 2), take_back)
    records = {one.pk for one in outcomes if isinstance(one, rollback.Rollback)}
    assert len(records) == 1
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"

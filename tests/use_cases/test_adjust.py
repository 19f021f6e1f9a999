"""A running plan is adjusted: tightening at once, loosening after approval, for a time or not."""

from datetime import timedelta
from typing import Any

import pytest

from batches.adjust import endings
from batches.adjust.apply import adjust
from batches.adjust.proposal import Expiry, NotAdjustable
from batches.adjust.wanted import ChangeSet
from batches.models import Alert, Batch, GuardrailState, TenantUpgrade
from batches.rollback import rollback
from batches.rollout import control, launch, leaving_out, progress
from plans import failpoints
from plans.approvals import approval
from plans.approvals.approval import AlreadyDecided, ApproverIsAuthor, NoOpenRequest
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Adjustment, ApprovalRequest, Event, Plan, PlanTenant, RoleBinding
from plans.refusal import BadInput, NotAllowed, Refused
from plans.trail import events
from tests.builders import (
    FOREST,
    a_started,
    an_approved,
    called,
    kinds,
    opened,
    passed,
    soaking,
    tenants,
)
from tests.use_cases.adjusted import change, looked, three_waves
from tests.web.api_scene import now

TEN = (*FOREST, "gum", "hazel", "ivy", "juniper")


@pytest.fixture
def plan(scene: Any) -> Plan:
    """Return a running plan over ten tenants in three batches (2, 3, 5)."""
    tenants(*TEN)
    return a_started(scene, policy=three_waves())


def fresh(plan: Plan) -> Plan:
    return Plan.objects.get(pk=plan.pk)


def policy_now(plan: Plan) -> Any:
    return policy_of(current_revision(fresh(plan)))


def sizes(plan: Plan) -> dict[str, int]:
    return dict(Batch.objects.filter(plan=plan).order_by("number").values_list("name", "size"))


def agree(scene: Any, plan: Plan, *people: Any, at: Any = None) -> None:
    for person in people or (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=person, now=at or now(), via="page")


def the_adjustment(plan: Plan, **fields: Any) -> Adjustment:
    return Adjustment.objects.get(plan=plan, **fields)


def holds_together(plan: Plan) -> None:
    """Check I6 and I7, and that every tenant's place says the same as its upgrade."""
    assert events.check_chain(plan.stream_key).intact
    for batch in Batch.objects.filter(plan=plan):
        assert TenantUpgrade.objects.filter(batch=batch).count() == batch.size
    places = PlanTenant.objects.filter(plan=plan).values_list("tenant__key", "batch_number")
    upgrades = TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", "batch__number")
    assert dict(places) == dict(upgrades)


# Tightening.


def test_fault_26_what_is_tighter_is_in_force_at_once_as_a_revision_of_its_own(scene, plan):
    done = change(scene, plan, guardrails={"error_rate": 2})
    assert done.waiting is None
    revision = current_revision(fresh(plan))
    assert (revision.number, revision.author, revision.why) == (2, scene.mara, "OPS-7")
    assert policy_now(plan).guardrails[0].at_most == 2
    assert revision.policy_digest != the_adjustment(plan).before.policy_digest
    assert fresh(plan).epoch == plan.epoch
    assert the_adjustment(plan).sentences == ["error_rate: at most 5 % → at most 2 %: tighter"]
    assert kinds(plan)[-1] == "plan_adjusted"
    assert not ApprovalRequest.objects.filter(closed_at=None).exists()
    holds_together(plan)


def test_the_trail_says_who_what_and_why(scene, plan):
    change(scene, plan, limits={"failure_rate": 2}, reason="too many by hand.")
    event = Event.objects.filter(stream__key=plan.stream_key).last()
    assert event.sentence == (
        "Mara changed the running plan, revision 2"
        " (failure rate: 5 % → 2 %: tighter): too many by hand."
    )
    assert event.actor == scene.mara


def test_only_who_may_adjust_adjusts_and_only_with_a_reason(scene, plan):
    with pytest.raises(NotAllowed, match="change running plans"):
        change(scene, plan, guardrails={"error_rate": 2}, by=scene.olga)
    with pytest.raises(BadInput, match="reason: say why"):
        change(scene, plan, guardrails={"error_rate": 2}, reason="  ")
    assert fresh(plan).revision == 1


def test_a_plan_that_does_not_run_is_not_adjusted(scene):
    waits = an_approved(scene, policy=three_waves())
    with pytest.raises(NotAdjustable, match="only a running or paused plan"):
        change(scene, waits, guardrails={"error_rate": 2})


def test_nothing_is_written_when_nothing_would_change(scene, plan):
    with pytest.raises(BadInput, match="nothing would change"):
        change(scene, plan, guardrails={"error_rate": 5})
    assert not Adjustment.objects.exists()


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"guardrails": {"eror_rate": 2}}, "no Kpi 'eror_rate'|eror_rate"),
        ({"guardrails": {"error_rate": {"at_mots": 2}}}, "guardrails.error_rate.at_mots"),
        ({"guardrails": {"error_rate": "two"}}, "write a number"),
        ({"guardrails": {"error_rate": True}}, "write a number"),
        ({"guardrails": {"other": {"failure_limit": 1}}}, "no such guardrail"),
        ({"batches": {"wave-9": {"percentage": 5}}}, "no such batch"),
        ({"batches": {"wave-9": None}}, "no such batch"),
        ({"batches": {"wave-1": {"percentage": 40}}}, "add up to 110"),
        ({"batches": {"wave-1": 4}}, "write keys"),
        ({"limits": {"parallelism": 0}}, "limits.parallelism"),
        ({"limits": {"parallelism": 1.5}}, "a whole number"),
        ({"limits": {"speed": 1}}, "limits.speed"),
        ({"limits": {"rollback_seconds": 200}}, "limits.rollback_seconds"),
        ({"on": {"failure_rate": "wait"}}, "on.failure_rate"),
        ({"text": "policies: {}"}, "policies"),
        ({"policy": "nobody"}, "no policy 'nobody'"),
        ({}, "write either"),
        ({"policy": "waves", "limits": {"attempts": 2}}, "write either"),
    ],
)
def test_bad_input_is_refused_with_its_place(scene, plan, wanted, named):
    with pytest.raises(BadInput, match=named):
        change(scene, plan, **wanted)
    assert fresh(plan).revision == 1


def test_what_may_not_change_in_a_running_plan_is_refused_by_name(scene, plan):
    text = current_revision(plan).policy_text
    with pytest.raises(BadInput, match="selection: who comes first"):
        change(scene, plan, text=text.replace("limits:", "selection: {order: listed}\n    limits:"))
    with pytest.raises(BadInput, match=r"approvals\.default: who must agree"):
        change(scene, plan, text=text.replace("max_pending_minutes: 60", "max_pending_minutes: 9"))
    with pytest.raises(BadInput, match="the text has no policy 'waves'"):
        change(scene, plan, text=text.replace("waves:", "other:"))


def test_an_edited_text_is_kept_as_it_was_written(scene, plan):
    text = current_revision(plan).policy_text.replace("at_most: 5", "at_most: 3")
    change(scene, plan, text=f"# by hand\n{text}")
    assert current_revision(fresh(plan)).policy_text.startswith("# by hand")
    assert policy_now(plan).guardrails[0].at_most == 3


def test_a_guardrail_is_added_and_a_paused_plan_can_be_adjusted(scene, plan):
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    change(scene, plan, guardrails={"error_rate": {"at_most": 3, "failure_limit": 0}})
    [rule] = policy_now(plan).guardrails
    assert (rule.at_most, rule.failure_limit) == (3, 0)
    assert fresh(plan).resume_by is not None


# Guardrails are judged anew on what is stored.


def state_of(plan: Plan, key: str) -> GuardrailState:
    return GuardrailState.objects.get(plan=plan, key__startswith=key)


def test_a_tighter_guardrail_stands_where_the_stored_looks_put_it(scene, plan):
    soaking(plan)
    looked(plan, 3, 3, 3, end=now() + timedelta(seconds=20))
    change(scene, plan, guardrails={"error_rate": 2})
    state = state_of(plan, "error_rate at_most 2")
    assert state.state["failed_running"] == 3
    assert state.verdict == "undecided"
    assert "over its limit of 2 %" in state.sentence


def test_looks_before_a_rollback_count_for_nothing(scene, plan):
    soaking(plan)
    looked(plan, 9, 9, 9, end=now() - timedelta(hours=1))
    plan.created_at = now()
    plan.save()
    change(scene, plan, guardrails={"error_rate": 2})
    assert state_of(plan, "error_rate at_most 2").state["failed_running"] == 0


# Batches.


def test_a_lengthened_soak_extends_and_a_shortened_one_never_goes_below_zero(scene, plan):
    batch = soaking(plan)
    at = now() + timedelta(seconds=40)
    done = adjust(
        plan_id=plan.pk, wanted=ChangeSet(batches={"canary": {"soak_minutes": 3}}),
        by=scene.mara, reason="longer", now=at, via="page",
    )  # fmt: skip
    assert done.applied is not None
    batch = Batch.objects.get(pk=batch.pk)
    assert 139 < batch.soak_left <= 141
    assert (batch.soak_seconds, batch.soak_counted_at) == (180, at)
    change(scene, plan, batches={"canary": {"soak_minutes": 0.1}}, at=at)
    agree(scene, plan, at=at)
    assert Batch.objects.get(pk=batch.pk).soak_left == 0


def test_a_waiting_batch_gets_its_new_soak_and_gate(scene, plan):
    change(scene, plan, batches={"wave-1": {"soak_minutes": 9, "advance": "manual"}})
    batch = Batch.objects.get(plan=plan, name="wave-1")
    assert (batch.soak_seconds, batch.soak_left, batch.advance) == (540, 540, "manual")


def line_of(plan: Plan) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan).order_by("batch__number", "position")
    return list(rows.values_list("tenant_key", flat=True))


def test_tenants_that_wait_are_shared_out_anew_in_their_order(scene, plan):
    passed(plan)
    before = line_of(plan)
    split = {
        "wave-1": {"percentage": 10},
        "wave-1b": {"percentage": 20, "soak_minutes": 2},
        "wave-2": None,
        "wave-3": {"percentage": 50, "soak_minutes": 3},
    }
    done = change(scene, plan, batches=split)
    assert done.applied is not None
    assert sizes(plan) == {"canary": 2, "wave-1": 1, "wave-1b": 2, "wave-3": 5}
    assert line_of(plan) == before
    places = PlanTenant.objects.filter(plan=plan).order_by("batch_number", "position")
    assert list(places.values_list("tenant__key", flat=True)) == before
    numbers = Batch.objects.filter(plan=plan).order_by("number").values_list("number", flat=True)
    assert list(numbers) == [1, 2, 3, 4]
    holds_together(plan)


def test_fewer_batches_wait_for_approval_and_then_hold_everybody(scene, plan):
    passed(plan)
    done = change(scene, plan, batches={"wave-1": None, "wave-2": {"percentage": 80}})
    assert (done.applied, sizes(plan)["wave-1"]) == (None, 3)
    agree(scene, plan)
    assert sizes(plan) == {"canary": 2, "wave-2": 8}
    assert (
        the_adjustment(plan).revision.tenants_digest != the_adjustment(plan).before.tenants_digest
    )
    holds_together(plan)


def test_the_hold_back_stays_last(scene):
    tenants(*TEN)
    more = "guardrails: [{kpi: error_rate, at_most: 5}]\nselection: {hold_back_percentage: 20}"
    plan = a_started(scene, policy=three_waves(more=more))
    held_back = line_of(plan)[-2:]
    change(
        scene, plan,
        batches={"wave-1": {"percentage": 15}, "mid": {"percentage": 15, "soak_minutes": 2},
                 "wave-2": None, "end": {"percentage": 50, "soak_minutes": 3}},
    )  # fmt: skip
    last = Batch.objects.filter(plan=plan).order_by("number").last()
    assert (last.name, last.number, last.hold_back) == ("hold-back", 5, True)
    assert line_of(plan)[-2:] == held_back
    holds_together(plan)


def test_a_batch_that_has_begun_keeps_its_share(scene, plan):
    opened(plan)
    with pytest.raises(BadInput, match=r"batches\.canary: it has begun"):
        change(scene, plan, batches={"canary": {"percentage": 10}, "wave-2": {"percentage": 60}})


# Races.


def test_a_batch_does_not_open_by_a_quote_of_an_older_revision(scene, plan):
    batch = Batch.objects.get(plan=plan, number=1)
    change(scene, plan, limits={"failure_rate": 2})
    with pytest.raises(Refused, match="changed to revision 2"):
        launch.open_batch(batch_id=batch.pk, now=now(), revision=1)
    assert str(Batch.objects.get(pk=batch.pk).state) == "pending"


def test_a_batch_that_is_gone_is_refused_not_an_error(scene, plan):
    passed(plan)
    gone = Batch.objects.get(plan=plan, name="wave-2")
    change(scene, plan, batches={"wave-1": {"percentage": 80}, "wave-2": None})
    agree(scene, plan)
    with pytest.raises(Refused, match="not there any more"):
        launch.open_batch(batch_id=gone.pk, now=now(), revision=1)


def test_a_soak_does_not_pass_by_an_older_revision(scene, plan):
    batch = soaking(plan)
    change(scene, plan, batches={"canary": {"soak_minutes": 9}})
    with pytest.raises(Refused, match="changed to revision 2"):
        progress.pass_soak(batch_id=batch.pk, why="", now=now(), revision=1)


# Loosening.


def test_fault_26_what_is_looser_waits_for_two_people_and_is_then_in_force(scene, plan):
    done = change(scene, plan, guardrails={"error_rate": 9})
    assert done.applied is None
    assert fresh(plan).revision == 1
    request = ApprovalRequest.objects.get(plan=plan, closed_at=None)
    assert (request.action, request.roles) == ("loosen", ["system_admin", "role_admin"])
    assert request.plan_digest == done.waiting.revision.plan_digest
    agree(scene, plan, scene.aram)
    assert fresh(plan).revision == 1
    agree(scene, plan, scene.sona)
    assert policy_now(plan).guardrails[0].at_most == 9
    assert kinds(plan)[-2:] == ["adjustment_approved", "plan_adjusted"]
    assert str(fresh(plan).state) == "running"
    holds_together(plan)


def test_nobody_approves_their_own_change_and_nobody_twice(scene, plan):
    RoleBinding.objects.create(user=scene.aram, kind=RoleBinding.CONSOLE, role="release_manager")
    change(scene, plan, guardrails={"error_rate": 9}, by=scene.aram)
    with pytest.raises(ApproverIsAuthor):
        agree(scene, plan, scene.aram)
    agree(scene, plan, scene.sona)
    with pytest.raises(AlreadyDecided):
        agree(scene, plan, scene.sona)


def test_after_the_last_approval_a_second_one_finds_nothing(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9})
    agree(scene, plan)
    with pytest.raises(NoOpenRequest):
        agree(scene, plan, scene.sona)
    assert fresh(plan).revision == 2


def test_one_no_drops_the_loosening(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9})
    approval.reject(plan_id=plan.pk, approver=scene.aram, reason="no", now=now(), via="page")
    assert the_adjustment(plan).state == "rejected"
    assert (fresh(plan).revision, str(fresh(plan).state)) == (1, "running")
    assert kinds(plan)[-1] == "adjustment_rejected"


def test_of_a_mixed_set_the_tighter_part_applies_and_the_rest_waits(scene, plan):
    done = change(scene, plan, guardrails={"error_rate": 2}, limits={"failure_rate": 9})
    assert policy_now(plan).guardrails[0].at_most == 2
    assert policy_now(plan).limits.failure_rate == 5
    assert done.waiting.sentences == ["failure rate: 5 % → 9 %: looser"]
    agree(scene, plan)
    assert policy_now(plan).guardrails[0].at_most == 2
    assert policy_now(plan).limits.failure_rate == 9


def test_a_set_that_is_not_to_be_split_waits_as_a_whole(scene, plan):
    done = change(
        scene, plan, guardrails={"error_rate": 2}, limits={"failure_rate": 9}, split=False
    )
    assert done.applied is None
    assert policy_now(plan).guardrails[0].at_most == 5


def test_a_newer_change_supersedes_what_waits(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9})
    change(scene, plan, guardrails={"error_rate": 3})
    old = the_adjustment(plan, direction="looser")
    assert (old.state, old.request.outcome) == ("superseded", "superseded")
    assert "adjustment_superseded" in kinds(plan)
    with pytest.raises(NoOpenRequest):
        agree(scene, plan)
    # The number of what never came into force is not used twice.
    assert fresh(plan).revision == 3


def test_a_rollback_ends_what_waits(scene, plan):
    opened(plan)
    change(scene, plan, guardrails={"error_rate": 9})
    rollback.request_rollback(plan_id=plan.pk, by=scene.olga, reason="x", now=now(), via="page")
    assert the_adjustment(plan).state == "dropped"
    with pytest.raises(NoOpenRequest):
        agree(scene, plan)
    with pytest.raises(NotAdjustable, match="rolling back"):
        change(scene, plan, guardrails={"error_rate": 2})


def test_nobody_approves_what_the_plan_has_overtaken(scene, plan):
    change(scene, plan, batches={"canary": {"percentage": 30}, "wave-2": {"percentage": 40}})
    agree(scene, plan, scene.aram)
    opened(plan)
    with pytest.raises(Refused, match="it has begun"):
        agree(scene, plan, scene.sona)
    endings.end_what_is_over(now())
    assert the_adjustment(plan).state == "dropped"


def test_a_loosening_that_nobody_completes_expires_and_the_plan_goes_on(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9})
    endings.end_what_is_over(now() + timedelta(minutes=59))
    assert the_adjustment(plan).state == "waiting"
    endings.end_what_is_over(now() + timedelta(minutes=61))
    assert the_adjustment(plan).state == "expired"
    assert str(fresh(plan).state) == "running"
    assert kinds(plan)[-1] == "adjustment_expired"


HOUR = Expiry(after=timedelta(hours=1))


def test_a_loosening_for_a_time_is_put_back_by_itself(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9}, expiry=HOUR)
    agree(scene, plan)
    loose = the_adjustment(plan)
    assert loose.expires_at - loose.applied_at == timedelta(hours=1)
    endings.end_what_is_over(now() + timedelta(minutes=59))
    assert policy_now(plan).guardrails[0].at_most == 9
    endings.end_what_is_over(now() + timedelta(minutes=61))
    assert policy_now(plan).guardrails[0].at_most == 5
    back = the_adjustment(plan, restores=loose)
    assert (back.by, back.via, back.direction) == (None, "watch", "tighter")
    endings.end_what_is_over(now() + timedelta(minutes=62))
    assert fresh(plan).revision == 3
    holds_together(plan)


def test_putting_back_keeps_what_became_tighter_since(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9}, limits={"failure_rate": 9}, expiry=HOUR)
    agree(scene, plan)
    change(scene, plan, guardrails={"error_rate": 1})
    endings.end_what_is_over(now() + timedelta(minutes=61))
    assert policy_now(plan).guardrails[0].at_most == 1
    assert policy_now(plan).limits.failure_rate == 5


def test_nothing_is_put_back_in_a_plan_that_is_over(scene, plan):
    opened(plan)
    change(scene, plan, guardrails={"error_rate": 9}, expiry=HOUR)
    agree(scene, plan)
    rollback.request_rollback(plan_id=plan.pk, by=scene.olga, reason="x", now=now(), via="page")
    endings.end_what_is_over(now() + timedelta(minutes=61))
    assert fresh(plan).revision == 2


@pytest.mark.parametrize(
    ("wanted", "expiry", "named"),
    [
        ({"guardrails": {"error_rate": 2}}, HOUR, "only a loosening ends by itself"),
        ({"guardrails": {"error_rate": 9}}, Expiry(after=timedelta(days=8)), "7 days"),
        ({"guardrails": {"error_rate": 9}}, Expiry(after=timedelta(0)), "7 days"),
        ({"batches": {"wave-1": {"soak_minutes": 0}}}, HOUR, "cannot be put back"),
    ],
)
def test_an_end_that_makes_no_sense_is_refused(scene, plan, wanted, expiry, named):
    with pytest.raises(BadInput, match=named):
        change(scene, plan, expiry=expiry, **wanted)


# The promise.


def test_the_way_back_of_what_is_touched_is_never_put_at_risk(scene, plan):
    opened(plan)
    called(Batch.objects.get(plan=plan, number=1))
    with pytest.raises(BadInput, match=r"touched already"):
        change(scene, plan, limits={"rollback_seconds": 50})
    change(scene, plan, limits={"rollback_seconds": 100})


def test_the_time_out_does_not_change_while_calls_may_still_be_applied(scene, plan):
    opened(plan)
    with pytest.raises(BadInput, match="calls are under way"):
        change(scene, plan, limits={"call_timeout_seconds": 10})


def test_before_any_call_the_time_out_may_change(scene, plan):
    change(scene, plan, limits={"call_timeout_seconds": 10})
    assert policy_now(plan).limits.call_timeout_seconds == 10


def test_a_watch_that_dies_before_it_puts_back_leaves_it_to_the_next_one(scene, plan):
    change(scene, plan, guardrails={"error_rate": 9}, expiry=HOUR)
    agree(scene, plan)

    def die(point: str) -> None:
        if point == "adjust.restoring":
            raise OSError(point)

    before = failpoints.trap(die)
    try:
        with pytest.raises(OSError, match="adjust"):
            endings.end_what_is_over(now() + timedelta(minutes=61))
    finally:
        failpoints.trap(before)
    assert policy_now(plan).guardrails[0].at_most == 9
    endings.end_what_is_over(now() + timedelta(minutes=62))
    assert policy_now(plan).guardrails[0].at_most == 5


def test_what_may_not_go_back_stays_loose_with_an_alert_until_it_may(scene, plan):
    change(scene, plan, limits={"call_timeout_seconds": 25}, expiry=HOUR)
    agree(scene, plan)
    opened(plan)
    endings.end_what_is_over(now() + timedelta(minutes=61))
    assert policy_now(plan).limits.call_timeout_seconds == 25
    alert = Alert.objects.get(plan=plan, kind="loosening_not_ended", resolved_at=None)
    assert "calls are under way" in alert.sentence
    soaked = Batch.objects.get(plan=plan, number=1)
    called(soaked)
    progress.settle_calls(batch_id=soaked.pk, now=now())
    endings.end_what_is_over(now() + timedelta(minutes=63))
    assert policy_now(plan).limits.call_timeout_seconds == 20
    assert not Alert.objects.filter(kind="loosening_not_ended", resolved_at=None).exists()


def test_a_batch_in_front_of_a_skipped_one_keeps_its_tenants(scene, plan):
    soaking(plan)
    leaving_out.skip_batch(
        plan_id=plan.pk, batch_number=3, reason="frozen", by=scene.olga, now=now(), via="page"
    )
    before = sizes(plan)
    with pytest.raises(BadInput, match="stands in front of a skipped batch"):
        change(scene, plan, batches={"wave-1": {"percentage": 20}, "wave-2": {"percentage": 60}})
    assert sizes(plan) == before
    # How long it soaks may still change.
    change(scene, plan, batches={"wave-1": {"soak_minutes": 600}})
    assert Batch.objects.get(plan=plan, name="wave-1").soak_seconds == 36000
    holds_together(plan)
    leaving_out.unskip_batch(plan_id=plan.pk, batch_number=3, by=scene.olga, now=now(), via="page")
    holds_together(plan)

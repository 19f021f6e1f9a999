"""Freezes: who declares, lifts and overrides them, what they hold, and what they never hold."""

from datetime import timedelta
from typing import Any

import pytest

from batches.models import Batch
from batches.rollback.rollback import request_rollback
from batches.rollout import launch
from batches.rollout.waiting import plan_opening
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Freeze, Plan, PlanTenant, Plugin, RoleBinding, Tenant
from plans.openings.freezes import places_of, spans_over
from plans.openings.freezing import (
    AlreadyLetThrough,
    FreezeIsOver,
    NotHeld,
    declare_freeze,
    lift_freeze,
    override_freeze,
)
from plans.refusal import BadInput, NotAllowed
from tests.builders import a_started, an_approved, called, check_invariants, kinds, opened, passed
from tests.web.api_scene import Scene, now


def declared(scene: Scene, **more) -> Freeze:
    given: dict[str, Any] = {
        "name": "Black Friday",
        "reason": "the shops are full",
        "by": scene.mara,
    }
    return declare_freeze(**given | {"now": now(), "via": "page"} | more)


def lifted(scene: Scene, freeze: Freeze, **more) -> Freeze:
    given: dict[str, Any] = {"freeze_id": freeze.pk, "why": "the rush is over", "by": scene.olga}
    return lift_freeze(**given | {"now": now(), "via": "page"} | more)


def overridden(scene: Scene, plan: Plan, freeze: Freeze, **more):
    given: dict[str, Any] = {
        "plan_id": plan.pk,
        "freeze_id": freeze.pk,
        "reason": "a hole is being used",
    }
    return override_freeze(**given | {"by": scene.mara, "now": now(), "via": "page"} | more)


def opening_of(plan: Plan):
    plan = Plan.objects.get(pk=plan.pk)
    return plan_opening(plan, policy_of(current_revision(plan)), now())


def system_kinds() -> list[str]:
    return list(Event.objects.filter(stream__key="system").values_list("kind", flat=True))


def test_a_freeze_is_declared_with_its_reason_and_told_to_whom_it_holds(scene):
    plan = an_approved(scene)
    freeze = declared(scene, overriders=["release_manager"])
    assert freeze.stage(now()) == "current"
    assert kinds(plan)[-1] == "freeze_declared"
    told = Event.objects.filter(kind="freeze_declared", stream__key="system").get()
    assert "Mara declared the freeze 'Black Friday' for every tenant" in told.sentence
    assert "the shops are full" in told.sentence
    check_invariants(plan)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"name": " "}, "name: give the freeze a name"),
        ({"reason": ""}, "reason: say why"),
        ({"plugin": "nope"}, "plugin: there is no plugin 'nope'"),
        ({"begins_at": now() - timedelta(days=1)}, "begins_at: this time has passed"),
        ({"ends_at": now() - timedelta(hours=1)}, "ends_at: it must come after the beginning"),
        ({"tenants": ["acorn", "nobody"]}, "tenants: there is no tenant 'nobody'"),
        ({"labels": {"region": ""}}, "labels: 'region' needs a text"),
        ({"overriders": ["emperor"]}, "overriders: nobody holds a role 'emperor'"),
    ],
)
def test_a_freeze_that_cannot_be_is_refused_by_name(scene, wrong, problem):
    with pytest.raises(BadInput) as refused:
        declared(scene, **wrong)
    assert [found for found in refused.value.problems if found.startswith(problem)]
    assert len(refused.value.problems) == 1
    assert not Freeze.objects.exists()


def test_a_beginning_of_just_now_is_now(scene):
    at = now()
    freeze = declared(scene, begins_at=at - timedelta(seconds=90), now=at)
    assert freeze.begins_at == at


def test_all_that_is_wrong_is_said_at_once(scene):
    with pytest.raises(BadInput) as refused:
        declared(scene, name="", reason="", plugin="nope")
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize("who", ["aram", "rita", "nils"])
def test_who_may_not_declare_is_told_who_may(scene, who):
    with pytest.raises(NotAllowed, match="declare or lift a freeze"):
        declared(scene, by=getattr(scene, who))


def test_a_frozen_plan_does_not_start_and_says_what_it_waits_for(scene):
    plan = an_approved(scene)
    declared(scene)
    with pytest.raises(launch.NotYet, match="Frozen by 'Black Friday': the shops are full"):
        launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert str(Plan.objects.get(pk=plan.pk).state) == "approved"


def test_a_lifted_freeze_holds_nothing(scene):
    plan = an_approved(scene)
    freeze = lifted(scene, declared(scene))
    assert (freeze.stage(now()), freeze.lifted_why) == ("lifted", "the rush is over")
    assert kinds(plan)[-1] == "freeze_lifted"
    launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_lifting_takes_a_reason_and_happens_once(scene):
    freeze = declared(scene)
    with pytest.raises(BadInput, match="say why"):
        lifted(scene, freeze, why=" ")
    lifted(scene, freeze)
    with pytest.raises(FreezeIsOver, match="was lifted already"):
        lifted(scene, freeze)
    assert system_kinds().count("freeze_lifted") == 1


def test_a_freeze_that_has_ended_cannot_be_lifted(scene):
    freeze = declared(scene, ends_at=now() + timedelta(hours=1))
    with pytest.raises(FreezeIsOver, match="has ended by itself"):
        lifted(scene, freeze, now=now() + timedelta(hours=2))


def test_a_freeze_of_another_plugin_holds_nobody_here(scene):
    plan = an_approved(scene)
    Plugin.objects.create(key="mail")
    declared(scene, plugin="mail")
    assert opening_of(plan).is_open
    declared(scene, plugin="pay")
    assert not opening_of(plan).is_open


def test_one_covered_tenant_of_the_coming_batch_is_enough(scene):
    plan = an_approved(scene)
    first = PlanTenant.objects.filter(plan=plan, batch_number=1).select_related("tenant")[0]
    later = PlanTenant.objects.filter(plan=plan, batch_number=2).select_related("tenant")[0]
    freeze = declared(scene, tenants=[later.tenant.key])
    assert opening_of(plan).is_open
    declared(scene, tenants=[first.tenant.key])
    assert not opening_of(plan).is_open
    assert kinds(plan).count("freeze_declared") == 2
    # When the next batch comes, its own tenants count.
    Freeze.objects.exclude(pk=freeze.pk).update(lifted_at=now())
    started = launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    passed(started)
    assert [span.pk for span in opening_of(started).freezes] == [str(freeze.pk)]


def test_labels_cover_the_tenants_that_carry_all_of_them(scene):
    plan = an_approved(scene)
    Tenant.objects.filter(key="acorn").update(labels={"region": "eu", "tier": "gold", "in": "x"})
    places = places_of(plan)
    for labels, covers in [
        ({"region": "eu"}, True),
        ({"region": "eu", "tier": "gold"}, True),
        ({"region": "us", "tier": "gold"}, False),
        ({"in": "x"}, True),
        ({"in": "y"}, False),
        ({"isnull": "x"}, False),
    ]:
        Freeze.objects.all().delete()
        declared(scene, labels=labels)
        acorn = places.filter(tenant__key="acorn")
        assert bool(spans_over(plan, acorn, now())) is covers, labels


def test_a_plan_is_let_through_by_who_may_and_loudly(scene):
    plan = an_approved(scene)
    freeze = declared(scene, overriders=["release_manager"])
    overridden(scene, plan, freeze)
    assert opening_of(plan).is_open
    told = Event.objects.filter(kind="freeze_overridden")
    assert {event.stream.key for event in told} == {"system", plan.stream_key}
    assert "FREEZE OVERRIDDEN: Mara, as release_manager" in told[0].sentence
    launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    with pytest.raises(AlreadyLetThrough):
        overridden(scene, plan, freeze)


def test_an_override_lets_one_plan_through_one_freeze(scene):
    plan, other = an_approved(scene), an_approved(scene, external_id="pay-8")
    freeze, second = declared(scene, overriders=["release_manager"]), declared(scene, name="Audit")
    overridden(scene, plan, freeze)
    assert not opening_of(plan).is_open
    lifted(scene, second)
    assert opening_of(plan).is_open
    assert not opening_of(other).is_open


def test_an_override_ends_when_it_was_said_to(scene):
    plan = an_approved(scene)
    freeze = declared(scene, overriders=["release_manager"])
    ends = now() + timedelta(minutes=30)
    overridden(scene, plan, freeze, expires_at=ends)
    found = opening_of(plan)
    assert (found.is_open, found.closes_at) == (True, ends)
    policy = policy_of(current_revision(plan))
    assert not plan_opening(plan, policy, ends).is_open
    overridden(scene, plan, freeze, now=ends + timedelta(minutes=1))


@pytest.mark.parametrize("who", ["olga", "aram", "rita", "nils"])
def test_who_holds_none_of_the_named_roles_may_not_override(scene, who):
    plan = an_approved(scene)
    freeze = declared(scene, overriders=["release_manager", "role_admin"])
    with pytest.raises(NotAllowed, match="that takes the role release manager or role admin"):
        overridden(scene, plan, freeze, by=getattr(scene, who))
    overridden(scene, plan, freeze, by=scene.sona)


def test_a_role_over_some_of_the_tenants_is_not_enough_to_override(scene):
    plan = an_approved(scene)
    freeze = declared(scene, overriders=["release_manager"])
    RoleBinding.objects.filter(user=scene.mara).update(selector={"region": "eu"})
    with pytest.raises(NotAllowed):
        overridden(scene, plan, freeze)


def test_a_freeze_that_names_nobody_has_to_be_lifted(scene):
    plan = an_approved(scene)
    with pytest.raises(NotAllowed, match="Nobody may override"):
        overridden(scene, plan, declared(scene))


def test_an_override_needs_a_reason_and_a_plan_that_is_held(scene):
    plan = an_approved(scene)
    freeze = declared(scene, tenants=["acorn"], overriders=["release_manager"])
    with pytest.raises(BadInput, match="say why"):
        overridden(scene, plan, freeze, reason="")
    other = an_approved(scene, keys=["birch"], external_id="pay-8")
    with pytest.raises(NotHeld, match="covers no tenant"):
        overridden(scene, other, freeze)
    lifted(scene, freeze)
    with pytest.raises(FreezeIsOver):
        overridden(scene, plan, freeze)


def test_a_rollback_ignores_freezes(scene):
    plan = a_started(scene)
    called(opened(plan))
    declared(scene)
    rollback = request_rollback(plan_id=plan.pk, by=scene.olga, reason="bad", now=now(), via="page")
    assert rollback.touched > 0
    assert str(Batch.objects.get(plan=plan, number=1).state) == "rolling_back"

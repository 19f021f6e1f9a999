"""What somebody may do whose role is for some tenants: inside as ever, beyond as if it were not.

Mara plans, Olga operates, both for region=eu: acorn and birch. cedar is in us.
"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batches.drills import schedules as drill_schedules
from batches.metric_sources import SourceSpec
from batches.models import DrillSchedule
from batches.pushes.points import PushedPoint
from batches.pushes.pushing import take_points
from batches.rollout import control, planning
from batches.rollout.handing_in import hand_in
from plans.approvals import approval
from plans.drafting import drafting
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Freeze, Plan, PlanTenant, RoleBinding, Tenant
from plans.openings.freezing import declare_freeze, lift_freeze
from plans.people.machine_access import make_token
from plans.people.permissions import (
    PLATFORM_ACTIONS,
    ROLES_OF_ACTION,
    approval_roles,
    may,
    roles_over,
    what_they_may,
)
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.tenants.importing import import_tenants, save_tenant
from tests.builders import a_draft, a_started
from tests.web.access_scene import EU, OTHER, OWN, TwoSides
from tests.web.api_scene import Scene, configure, now, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def mara(scene):
    RoleBinding.objects.filter(user__in=[scene.mara, scene.olga]).update(selector=EU)
    return scene.mara


def wanted(choice: TenantChoice, external_id: str = "pay-7") -> PlanDraft:
    return PlanDraft("pay", "1.5.0", "safe-rollout", "fleet", choice, external_id)


def keys_of(plan: Plan) -> set[str]:
    return set(PlanTenant.objects.filter(plan=plan).values_list("tenant__key", flat=True))


# ---- plans


@pytest.mark.parametrize("choice", [TenantChoice(all=True), TenantChoice(keys=("acorn", "birch"))])
def test_a_plan_is_drafted_over_the_own_tenants(mara, choice):
    plan = planning.draft_plan(draft=wanted(choice), author=mara, now=now(), via="page")
    assert keys_of(plan) == {"acorn", "birch"}
    assert may(mara, "adjust", plan)


def test_a_label_that_others_carry_too_means_the_own_ones(mara):
    Tenant.objects.update(labels={"region": "us", "tier": "gold"})
    Tenant.objects.filter(key="acorn").update(labels={"region": "eu", "tier": "gold"})
    plan = planning.draft_plan(
        draft=wanted(TenantChoice(labels={"tier": "gold"})), author=mara, now=now(), via="page"
    )
    assert keys_of(plan) == {"acorn"}


def test_anothers_tenant_is_as_unknown_as_one_that_there_is_not(mara):
    problems = []
    for key in ("cedar", "nowhere"):
        preview = planning.preview_plan(
            draft=wanted(TenantChoice(keys=("acorn", key))), by=mara, now=now()
        )
        problems.append(preview.problems[0].replace(key, "KEY"))
        with pytest.raises(BadInput):
            planning.draft_plan(
                draft=wanted(TenantChoice(keys=(key,))), author=mara, now=now(), via="page"
            )
    assert problems[0] == problems[1]


def test_a_plan_with_one_tenant_beyond_is_neither_seen_nor_changed(scene, mara):
    RoleBinding.objects.filter(user=mara).update(selector={})
    plan = a_draft(scene)
    RoleBinding.objects.filter(user=mara).update(selector=EU)
    assert keys_of(plan) == {"acorn", "birch", "cedar"}
    assert not may(mara, "view", plan)
    assert not Plan.objects.visible_to(mara).exists()
    for act in (
        lambda: drafting.revise_plan(
            plan_id=plan.pk, draft=wanted(TenantChoice(all=True)), editor=mara, now=now(),
            via="page",
        ),
        lambda: approval.submit(plan_id=plan.pk, by=mara, now=now(), via="page"),
        lambda: approval.cancel(plan_id=plan.pk, by=mara, reason="", now=now(), via="page"),
        lambda: control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"),
    ):  # fmt: skip
        with pytest.raises(NotAllowed, match="region=eu only"):
            act()


def test_anothers_plan_is_not_handed_in_again_by_its_name(scene, mara):
    RoleBinding.objects.filter(user=mara).update(selector={})
    a_draft(scene, keys=("cedar",))
    RoleBinding.objects.filter(user=mara).update(selector=EU)
    with pytest.raises(Refused, match="choose another id") as refusal:
        hand_in(draft=wanted(TenantChoice(all=True)), submit=False, by=mara, now=now(), via="api")
    assert refusal.value.code == "external_id_taken"
    assert Plan.objects.get().revision == 1


def test_a_right_may_come_from_several_roles_each_over_its_tenants(scene, mara):
    """Olga operates in eu, and manages releases in us: she may pause a plan over both."""
    both = RoleBinding.objects.filter(user__in=[mara, scene.olga])
    both.update(selector={})
    plan = a_started(scene, keys=())
    both.update(selector=EU)
    assert not may(scene.olga, "pause", plan)
    us = {"region": "us"}
    RoleBinding.objects.create(user=scene.olga, kind="console", role="release_manager", selector=us)
    assert may(scene.olga, "pause", plan)
    assert not may(scene.olga, "adjust", plan)
    told = what_they_may(scene.olga, ("pause", "adjust", "administer"), plan)
    assert told == {"pause": True, "adjust": False, "administer": False}


def test_an_approval_role_counts_where_it_reaches(scene):
    plan = a_draft(scene, keys=("acorn",))
    beyond = a_draft(scene, keys=("acorn", "cedar"), external_id="both")
    RoleBinding.objects.filter(user=scene.aram).update(selector=EU)
    assert approval_roles(scene.aram, at=now(), plan=plan) == {"system_admin"}
    assert approval_roles(scene.aram, at=now(), plan=beyond) == set()
    assert roles_over(scene.aram, plan, at=now()) == {"system_admin"}
    assert roles_over(scene.aram, beyond, at=now()) == set()


def test_labels_whose_names_mean_something_to_the_database_are_plain_labels(scene):
    Tenant.objects.filter(key="acorn").update(labels={"a__b": "x", "in": "y"})
    eve = person("Eve", console="viewer")
    for selector in ({"a__b": "x"}, {"in": "y"}):
        RoleBinding.objects.filter(user=eve).update(selector=selector)
        assert [t.key for t in Tenant.objects.visible_to(eve)] == ["acorn"]


# ---- freezes


def freeze(by: Any, **over: Any) -> Freeze:
    return declare_freeze(name="F", reason="why", by=by, now=now(), via="page", **over)


@pytest.mark.parametrize(
    "over", [{"tenants": ["acorn"]}, {"labels": EU}, {"labels": EU | {"tier": "gold"}}]
)
def test_the_own_tenants_are_frozen_and_thawed(mara, over):
    frozen = freeze(mara, **over)
    assert list(Freeze.objects.visible_to(mara)) == [frozen]
    lift_freeze(freeze_id=frozen.pk, why="done", by=mara, now=now(), via="page")


@pytest.mark.parametrize(
    "over",
    [{}, {"labels": {"tier": "gold"}}, {"labels": {"region": "us"}}],
)
def test_nobody_elses_tenants_are_frozen(mara, over):
    with pytest.raises(NotAllowed, match="region=eu only"):
        freeze(mara, **over)
    assert not Freeze.objects.exists()


def test_a_freeze_tells_nobody_which_tenants_there_are(mara):
    told = []
    for key in ("cedar", "nowhere"):
        with pytest.raises(BadInput) as refusal:
            freeze(mara, tenants=["acorn", key])
        told.append(refusal.value.problems[0].replace(key, "KEY"))
    assert told == ["tenants: there is no tenant 'KEY'"] * 2


def test_freezes_of_others_do_not_exist_and_those_of_all_are_not_theirs_to_lift(scene, mara):
    others, all_ = freeze(scene.ada, tenants=["cedar"]), freeze(scene.ada)
    assert list(Freeze.objects.visible_to(mara)) == [all_]
    with pytest.raises(NotFound):
        lift_freeze(freeze_id=others.pk, why="x", by=mara, now=now(), via="page")
    with pytest.raises(NotAllowed):
        lift_freeze(freeze_id=all_.pk, why="x", by=mara, now=now(), via="page")


# ---- tenants


def tenant(by: Any, key: str, labels: str, *, new: bool = False) -> Tenant:
    return save_tenant(
        key=key, name="N", owner_name="", owner_email="", labels=labels, notes="", by=by,
        now=now(), via="page", new=new,
    )  # fmt: skip


def test_the_own_tenants_are_written(mara):
    assert tenant(mara, "acorn", "region=eu;tier=gold").labels["tier"] == "gold"
    assert tenant(mara, "fir", "region=eu", new=True).key == "fir"


def test_no_tenant_is_drawn_in_or_pushed_out(mara):
    with pytest.raises(NotFound):
        tenant(mara, "cedar", "region=eu")
    with pytest.raises(BadInput, match="region=eu only"):
        tenant(mara, "cedar", "region=eu", new=True)
    with pytest.raises(BadInput, match="region=eu only"):
        tenant(mara, "acorn", "region=us")
    with pytest.raises(BadInput, match="region=eu only"):
        tenant(mara, "fir", "", new=True)
    assert Tenant.objects.get(key="cedar").labels == {"region": "us"}
    assert Tenant.objects.get(key="acorn").labels == {"region": "eu"}


@pytest.mark.parametrize("row", ["cedar,C,,,region=eu", "acorn,A,,,region=us", "fir,F,,,region=us"])
def test_an_import_with_a_row_beyond_writes_nothing(mara, row):
    text = f"tenant,name,owner_email,version,labels\nbirch,B,,,region=eu\n{row}\n"
    result = import_tenants(text=text, form="csv", by=mara, now=now(), via="page")
    assert not result.written
    assert [outcome.status for outcome in result.rows] == ["changed", "wrong"]
    assert Tenant.objects.get(key="birch").name == ""


# ---- schedules of drills


def schedule(by: Any, choice: TenantChoice) -> DrillSchedule:
    return DrillSchedule.objects.create(
        name=f"weekly {DrillSchedule.objects.count()}", release=by.release, deployer="fleet",
        tenant_choice=choice.to_json(), injects=["none"], days=["mon"], at="03:00",
        timezone="UTC", roles=["system_admin"], by=by.ada, created_at=now(),
        next_at=now() + timedelta(days=7),
    )  # fmt: skip


def test_schedules_over_others_tenants_do_not_exist(scene, mara):
    own = [
        schedule(scene, TenantChoice(keys=("acorn", "birch"))),
        schedule(scene, TenantChoice(labels=EU)),
    ]
    for beyond in (
        TenantChoice(keys=("acorn", "cedar")),
        TenantChoice(labels={"tier": "gold"}),
        TenantChoice(all=True),
    ):
        row = schedule(scene, beyond)
        with pytest.raises(NotAllowed):
            drill_schedules.switch(schedule_id=row.pk, on=False, by=mara, now=now(), via="page")
        with pytest.raises(NotAllowed):
            drill_schedules.run_now(schedule_id=row.pk, by=mara, now=now(), via="page")
    assert set(drill_schedules.schedules(mara)) == set(own)
    RoleBinding.objects.filter(user=scene.aram).update(selector=EU)
    assert [
        bool(drill_schedules.roles_over_schedule(scene.aram, row, at=now()))
        for row in DrillSchedule.objects.order_by("created_at")
    ] == [True, True, False, False, False]


# ---- what is sent


def test_metrics_are_taken_for_the_own_tenants_only(scene, settings):
    settings.DICTIONARY_FILE.write_text(
        settings.DICTIONARY_FILE.read_text().replace('"simulated"', '"push"')
    )
    teo = person("Teo", console="telemetry")
    RoleBinding.objects.filter(user=teo).update(selector=EU)
    points = [
        PushedPoint("errors_total", {"tenant": key} if key else {}, "counter", (1.0,), now())
        for key in ("acorn", "cedar", "", "nowhere")
    ]
    answer = take_points(spec=SourceSpec("fleet", "push", {}), points=points, by=teo, now=now())
    assert answer["accepted"] == 1
    assert {(one["index"], one["code"]) for one in answer["refused"]} == {
        (1, "not_your_tenant"), (2, "not_your_tenant"), (3, "not_your_tenant"),
    }  # fmt: skip


# ---- tokens


def test_a_token_takes_away_from_its_person_everywhere(scene):
    plan = a_started(scene, keys=("acorn", "birch"))
    made = make_token(
        user=scene.olga, name="x", days=1, scopes=["operate"], selector={"region": "us"}, by=None,
        now=now(), via="command",
    )  # fmt: skip
    assert may(scene.olga, "pause", plan)
    scene.olga.acting_token = made.token
    assert not may(scene.olga, "view", plan)
    made.token.selector = EU
    assert may(scene.olga, "pause", plan)
    made.token.scopes = ["read"]
    assert may(scene.olga, "view", plan)
    with pytest.raises(NotAllowed, match="read only"):
        control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="api")


def test_a_yes_takes_a_token_for_approving_that_the_person_made(scene):
    made = make_token(user=scene.aram, name="x", days=1, by=None, now=now(), via="command")
    scene.aram.acting_token = made.token
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}
    made.token.scopes = ["read", "operate"]
    assert approval_roles(scene.aram, at=now()) == set()
    made.token.scopes = []
    made.token.made_by = scene.ada
    assert approval_roles(scene.aram, at=now()) == set()


# ---- monotone


LABELS = st.dictionaries(
    st.sampled_from(["region", "tier"]), st.sampled_from(["eu", "us", "gold"]), max_size=2
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(selector=LABELS, narrower=LABELS, carried=st.lists(LABELS, min_size=3, max_size=3))
def test_a_narrower_selector_never_allows_more(selector, narrower, carried, scene_of_two):
    """For every role, action and plan; and what may be seen is what `may` says, row by row."""
    scene = scene_of_two
    for key, labels in zip(("acorn", "birch", "cedar"), carried, strict=True):
        Tenant.objects.filter(key=key).update(labels=labels)
    who = scene.people["operator"]
    told = []
    for chosen in (selector, {**narrower, **selector}):
        RoleBinding.objects.filter(user=who).update(selector=chosen)
        seen = {plan.pk for plan in Plan.objects.visible_to(who)}
        allowed = set()
        for side in (OWN, OTHER):
            plan = scene.plans[side]
            assert (plan.pk in seen) == may(who, "view", plan)
            allowed |= {(side, a) for a in ROLES_OF_ACTION if may(who, a, plan)}
        allowed |= {("platform", a) for a in PLATFORM_ACTIONS if may(who, a)}
        keys = set(Tenant.objects.visible_to(who).values_list("key", flat=True))
        told.append((allowed, seen, keys))
    for wide, narrow in zip(*told, strict=True):
        assert narrow <= wide


@pytest.fixture
def scene_of_two(settings, tmp_path) -> TwoSides:
    configure(settings, tmp_path)
    return TwoSides()

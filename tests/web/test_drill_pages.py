"""The pages and endpoints of drills, and the command."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from batches.drills.rehearsing import Wanted, begin_rehearsal
from batches.models import DrillSchedule, RollbackDrill
from plans.drafting.drafting import TenantChoice
from plans.models import Plan
from tests.web.api_scene import Scene, configure, now, post
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
LIST, NEW, NEW_SCHEDULE, API = (
    "/drills/",
    "/drills/new/",
    "/drills/schedules/new/",
    "/api/v1/drills/",
)


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def mara(scene: Scene) -> Client:
    return browser(scene.mara)


def form(scene: Scene, **changes: object) -> dict[str, object]:
    return {
        "release": str(scene.release.pk),
        "deployer": "fleet",
        "tenants": "acorn, birch",
        "inject": "none",
    } | changes


def schedule_form(scene: Scene, **changes: object) -> dict[str, object]:
    return (
        form(scene)
        | {
            "name": "nightly",
            "injects": ["none", "hung_hook"],
            "days": ["mon", "thu"],
            "at": "03:00",
            "timezone": "UTC",
        }
        | changes
    )


def a_drill(scene: Scene) -> RollbackDrill:
    wanted = Wanted("fleet", "pay", "1.5.0", TenantChoice(keys=("acorn",)))
    return begin_rehearsal(wanted=wanted, by=scene.mara, now=now(), via="page")


def a_schedule(scene: Scene, mara: Client) -> DrillSchedule:
    mara.post(NEW_SCHEDULE, schedule_form(scene))
    return DrillSchedule.objects.get()


def act(client: Client, schedule: DrillSchedule, name: str, **given: str):
    return client.post(f"/drills/schedules/{schedule.pk}/{name}/", given, follow=True)


# Pages.


def test_a_drill_is_handed_in_and_listed_with_its_fault(scene, mara):
    answer = mara.post(NEW, form(scene, inject="hung_hook"), follow=True)
    assert "begins when its approvers have agreed" in said(answer)
    drill = RollbackDrill.objects.get()
    assert answer.redirect_chain[-1][0] == f"/plans/{drill.plan_id}/"
    assert "This plan is a rehearsal of a rollback (hung hook)" in text_of(answer)
    shown = text_of(mara.get(LIST))
    assert drill.plan.external_id in shown
    assert mara.get(f"{LIST}?inject=hung_hook").context["drills"] == [drill]
    assert mara.get(f"{LIST}?inject=breach").context["drills"] == []
    assert mara.get(f"{LIST}?outcome=failed").context["drills"] == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"tenants": "baobab"}, "baobab"),
        ({"tenants": ""}, "This field is required"),
        ({"tenants": "acorn, ring=drill"}, "not both"),
        ({"inject": "earthquake"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_with_a_drill_is_said_and_nothing_is_kept(scene, mara, changes, word):
    assert word in text_of(mara.post(NEW, form(scene, **changes)))
    assert not RollbackDrill.objects.exists()


def test_tenants_are_chosen_by_labels_too(scene, mara):
    mara.post(NEW, form(scene, tenants="region=eu"))
    assert RollbackDrill.objects.get().tenants == ["acorn", "birch"]


def test_rehearsals_are_listed_among_the_plans_only_when_asked_for(scene, mara):
    drill = a_drill(scene)
    assert drill.plan.external_id not in text_of(mara.get("/plans/"))
    assert drill.plan.external_id in text_of(mara.get("/plans/?state=drills"))
    assert drill.plan.external_id in text_of(mara.get("/plans/?state=awaiting_approval"))


def test_who_may_not_draft_hands_no_drill_in(scene):
    for address in (NEW, NEW_SCHEDULE):
        assert browser(scene.olga).get(address).status_code == 403
        assert browser(scene.olga).post(address, form(scene)).status_code == 403
    assert "New drill" not in text_of(browser(scene.rita).get(LIST))
    assert not RollbackDrill.objects.exists()


def test_a_stranger_sees_no_drills(scene):
    assert browser(scene.nils).get(LIST).status_code == 403
    assert Client().get(LIST).status_code == 302


def test_a_schedule_is_made_agreed_to_run_and_switched_off(scene, mara):
    schedule = a_schedule(scene, mara)
    listed = text_of(mara.get(LIST))
    assert "Waits for approval" in listed
    assert "nothing, hung hook" in listed
    assert "waits for" in said(act(browser(scene.olga), schedule, "run")).lower()
    for person in (scene.aram, scene.sona):
        assert f"Agree to {schedule.name}" in text_of(browser(person).get(LIST))
        assert "Agreed" in said(act(browser(person), schedule, "approve"))
    assert "already" in said(act(browser(scene.aram), schedule, "approve"))
    assert "begins" in said(act(browser(scene.olga), schedule, "run"))
    assert str(Plan.objects.get().state) == "approved"
    assert "not ended yet" in said(act(browser(scene.olga), schedule, "run"))
    assert "off" in said(act(mara, schedule, "switch", on="0"))
    assert not DrillSchedule.objects.get().enabled
    refused = act(browser(scene.olga), schedule, "switch", on="1")
    assert (refused.status_code, "You may not" in text_of(refused)) == (403, True)


def test_a_schedule_stands_before_its_approvers_with_its_tenants(scene, mara):
    schedule = a_schedule(scene, mara)
    assert "on acorn, birch" in text_of(browser(scene.aram).get(LIST))
    inbox = text_of(browser(scene.aram).get("/approvals/"))
    assert "Drill schedules that wait for you" in inbox
    assert "acorn, birch" in inbox
    assert "Drill schedules" not in text_of(mara.get("/approvals/"))
    act(browser(scene.aram), schedule, "approve")
    assert "Drill schedules" not in text_of(browser(scene.aram).get("/approvals/"))
    assert "Drill schedules" in text_of(browser(scene.sona).get("/approvals/"))


@pytest.mark.parametrize("name", ["approve", "switch", "run"])
def test_acts_on_schedules_are_posts_of_people_who_may_look(scene, mara, name):
    schedule = a_schedule(scene, mara)
    where = f"/drills/schedules/{schedule.pk}/{name}/"
    assert mara.get(where).status_code == 405
    assert browser(scene.nils).post(where).status_code == 403
    missing = where.replace(str(schedule.pk), "00000000-0000-4000-8000-000000000000")
    assert mara.post(missing).status_code == 404


def test_a_schedule_that_cannot_run_is_refused_on_its_form(scene, mara):
    shown = text_of(mara.post(NEW_SCHEDULE, schedule_form(scene, timezone="Middle/Earth")))
    assert "Middle/Earth" in shown
    assert not DrillSchedule.objects.exists()


# REST.


def asked(**changes: object) -> dict[str, object]:
    return {
        "plugin": "pay",
        "to_version": "1.5.0",
        "deployer": "fleet",
        "tenants": ["acorn"],
        "inject": "none",
    } | changes


def test_drills_are_handed_in_and_listed_over_rest(scene):
    answer = post(scene.client(scene.mara), API, asked())
    assert answer.status_code == 201, answer.json()
    listed = scene.client(scene.rita).get(API).json()
    assert listed["count"] == 1
    assert listed["results"][0] == answer.json()
    assert listed["results"][0]["outcome"] == ""


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"inject": "earthquake"}, 400), ({"tenants": ["baobab"]}, 422), ({"more": 1}, 400)],
)
def test_bad_drills_are_refused_over_rest(scene, changes, status):
    answer = post(scene.client(scene.mara), API, asked(**changes))
    assert answer.status_code in {status, 400}
    assert not RollbackDrill.objects.exists()


def test_the_list_of_plans_leaves_rehearsals_out_when_asked_to(scene):
    a_drill(scene)
    client = scene.client(scene.rita)
    assert len(client.get("/api/v1/plans/").json()["results"]) == 1
    assert client.get("/api/v1/plans/?rehearsals=false").json()["results"] == []
    assert client.get("/api/v1/plans/?rehearsals=perhaps").status_code in {400, 422}


def test_rest_asks_for_the_same_rights(scene, mara):
    assert post(scene.client(scene.olga), API, asked()).status_code == 403
    assert scene.client(scene.nils).get(API).status_code == 403
    assert scene.client(scene.mara).put(API, {}).status_code == 405
    schedule = a_schedule(scene, mara)
    (row,) = scene.client(scene.rita).get("/api/v1/drill-schedules/").json()
    assert (row["schedule"], row["waits_for"]) == (
        str(schedule.pk),
        ["system_admin", "role_admin"],
    )
    assert scene.client(scene.nils).get("/api/v1/drill-schedules/").status_code == 403


SCHEDULES = "/api/v1/drill-schedules/"


def schedule_asked(**changes: object) -> dict[str, object]:
    return {
        "name": "nightly",
        "plugin": "pay",
        "to_version": "1.5.0",
        "deployer": "fleet",
        "tenants": ["acorn"],
        "injects": ["none", "hung_hook"],
        "days": ["mon", "thu"],
        "at": "03:00",
        "timezone": "Europe/Berlin",
    } | changes


def made_over_rest(scene: Scene) -> str:
    answer = post(scene.client(scene.mara), SCHEDULES, schedule_asked())
    assert answer.status_code == 201, answer.json()
    return f"{SCHEDULES}{answer.json()['schedule']}"


def test_a_schedule_is_made_agreed_to_run_and_switched_off_over_rest(scene):
    where = made_over_rest(scene)
    made = scene.client(scene.rita).get(where).json()
    assert (made["injects"], made["days"], made["at"], made["timezone"]) == (
        ["none", "hung_hook"],
        ["mon", "thu"],
        "03:00:00",
        "Europe/Berlin",
    )
    early = post(scene.client(scene.olga), f"{where}/run")
    assert (early.status_code, early.json()["code"]) == (409, "not_approved")
    for person, left in ((scene.aram, ["role_admin"]), (scene.sona, [])):
        agreed = post(scene.client(person), f"{where}/approve", {"comment": "every week"})
        assert (agreed.status_code, agreed.json()["waits_for"]) == (200, left)
    again = post(scene.client(scene.aram), f"{where}/approve")
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    run = post(scene.client(scene.olga), f"{where}/run")
    assert (run.status_code, run.json()["schedule"]) == (201, "nightly")
    assert post(scene.client(scene.olga), f"{where}/run").json()["code"] == "still_running"
    for on in (False, False, True):
        switched = post(scene.client(scene.mara), f"{where}/switch", {"on": on})
        assert (switched.status_code, switched.json()["enabled"]) == (200, on)


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"days": ["someday"]}, 400, "someday"),
        ({"injects": []}, 400, "injects"),
        ({"injects": ["earthquake"]}, 422, "earthquake"),
        ({"timezone": "Middle/Earth"}, 422, "IANA"),
        ({"to_version": "9.9"}, 422, "not registered"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_bad_schedules_are_refused_over_rest(scene, changes, status, word):
    answer = post(scene.client(scene.mara), SCHEDULES, schedule_asked(**changes))
    assert answer.status_code == status, answer.json()
    assert word in answer.content.decode()
    assert not DrillSchedule.objects.exists()


@pytest.mark.parametrize(
    ("act", "given", "refused"),
    [
        ("approve", {}, "olga"),
        ("switch", {"on": False}, "olga"),
        ("run", {}, "rita"),
    ],
)
def test_acts_on_schedules_ask_for_their_rights_over_rest(scene, act, given, refused):
    where = made_over_rest(scene)
    person = getattr(scene, refused)
    assert post(scene.client(person), f"{where}/{act}", given).status_code == 403
    assert post(scene.client(scene.nils), f"{where}/{act}", given).status_code == 403
    assert scene.client(scene.mara).get(f"{where}/{act}").status_code == 405
    reader = scene.client(scene.mara, scopes=["read"])
    assert post(reader, f"{where}/{act}", given).status_code == 403
    missing = f"{SCHEDULES}00000000-0000-4000-8000-000000000000"
    assert post(scene.client(scene.mara), f"{missing}/{act}", given).status_code == 404
    assert scene.client(scene.rita).get(missing).status_code == 404


def test_who_made_a_schedule_does_not_agree_to_it_over_rest(scene):
    where = made_over_rest(scene)
    answer = post(scene.client(scene.mara), f"{where}/approve")
    assert (answer.status_code, "You made this schedule" in answer.json()["detail"]) == (403, True)


# The command.


def command(scene: Scene, *more: str, **changes: str) -> None:
    given = {"deployer": "fleet", "plugin": "pay", "to": "1.5.0", "by": scene.mara.email} | changes
    if "labels" not in given:
        given.setdefault("tenants", "acorn,birch")
    call_command("rollback_drill", *[f"--{name}={value}" for name, value in given.items()], *more)


def test_the_command_hands_a_drill_in_and_tells_where_it_waits(scene, capsys):
    command(scene, "--no-wait", "--json", inject="hung_hook")
    told = capsys.readouterr()
    result = json.loads(told.out.splitlines()[-1])
    drill = RollbackDrill.objects.get()
    assert (result["drill"], result["inject"]) == (str(drill.pk), "hung_hook")
    assert (result["outcome"], result["state"]) == (None, "awaiting_approval")
    assert str(drill.plan_id) in told.err


def test_a_drill_that_has_not_ended_in_time_exits_with_3(scene):
    with pytest.raises(SystemExit) as ended:
        command(scene, timeout="0.1", labels="region=eu")
    assert ended.value.code == 3
    assert RollbackDrill.objects.get().tenants == ["acorn", "birch"]


def test_the_command_drills_for_release_managers_only(scene):
    with pytest.raises(CommandError, match="You may not") as refused:
        command(scene, by=scene.olga.email)
    assert refused.value.returncode == 4


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"by": "nobody@example.com"}, 5, "nobody@example.com"),
        ({"labels": "ring"}, 5, "ring=drill"),
        ({"to": "9.9"}, 5, "9.9"),
    ],
)
def test_the_command_refuses_with_the_right_code(scene, changes, code, word):
    with pytest.raises(CommandError, match=word) as refused:
        command(scene, **changes)
    assert refused.value.returncode == code
    assert not RollbackDrill.objects.exists()


def test_one_drill_is_read_by_who_may_see_its_plan(scene):
    drill = a_drill(scene)
    address = f"{API}{drill.pk}"
    seen = scene.client(scene.rita).get(address)
    assert (seen.status_code, seen.json()["drill"]) == (200, str(drill.pk))
    assert scene.client(scene.nils).get(address).status_code == 404
    assert scene.client(scene.rita).get(f"{API}{drill.plan_id}").status_code == 404
    assert scene.client(scene.rita).get(f"{API}nonsense").status_code == 404
    assert scene.client(scene.mara).delete(address).status_code == 405


def test_the_form_of_a_plan_offers_no_policy_of_a_rehearsal(scene, mara):
    a_drill(scene)
    page = text_of(mara.get("/plans/new/"))
    assert "safe-rollout" in page
    assert "rollback-drill" not in page

"""REST: plans are handed in, found, listed and read; each refusal says what to mend."""

import pytest

from plans import flags
from plans.models import Event, Plan, Tenant
from tests.web.api_scene import HAND_IN, Scene, body, configure, handed_in, now, post, started, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def test_a_plan_is_created_submitted_and_answered_as_the_contract_says(scene):
    answer = post(scene.client(scene.mara), HAND_IN, body())
    assert answer.status_code == 201
    told = answer.json()
    plan = Plan.objects.get()
    assert told["plan"] == str(plan.pk)
    assert told["state"] == "awaiting_approval"
    assert told["batches"] == [{"name": "canary", "tenants": 1}, {"name": "rest", "tenants": 2}]
    assert told["revision"] == 1
    assert len(told["digest"]) == 64
    assert told["quote_seconds"] > 0
    assert told["problems"] == []
    assert (plan.author, plan.owner_email) == (scene.mara, scene.mara.email)


def test_the_same_request_again_changes_nothing(scene):
    mara = scene.client(scene.mara)
    post(mara, HAND_IN, body())
    events = Event.objects.count()
    again = post(mara, HAND_IN, body())
    assert again.status_code == 200
    assert again.json()["revision"] == 1
    assert Event.objects.count() == events


def test_another_content_under_the_same_id_is_a_new_revision(scene):
    handed_in(scene)
    post(scene.client(scene.aram), url("approve"))
    changed = post(scene.client(scene.mara), HAND_IN, body(tenants=["acorn"]))
    assert changed.status_code == 200
    assert changed.json()["revision"] == 2
    assert changed.json()["state"] == "awaiting_approval"
    assert changed.json()["batches"] == [{"name": "canary", "tenants": 1}]


def test_the_same_labels_with_a_new_tenant_behind_them_are_another_content(scene):
    handed_in(scene, tenants={"labels": {"region": "eu"}})
    Tenant.objects.create(key="aspen", labels={"region": "eu"})
    again = post(scene.client(scene.mara), HAND_IN, body(tenants={"labels": {"region": "eu"}}))
    assert again.json()["revision"] == 2


def test_a_rejected_plan_handed_in_again_asks_again(scene):
    handed_in(scene)
    post(scene.client(scene.aram), url("reject"), {"reason": "not on a Friday"})
    again = post(scene.client(scene.mara), HAND_IN, body())
    assert again.json()["state"] == "awaiting_approval"


def test_a_running_plan_is_not_changed_under_its_operators(scene):
    started(scene)
    answer = post(scene.client(scene.mara), HAND_IN, body(tenants=["acorn"]))
    assert answer.status_code == 409
    assert answer.json()["possible"] == ["pause", "rollback", "stop"]


def test_without_submit_it_stays_a_draft_and_the_only_deployer_is_meant(scene):
    given = body(submit=False)
    del given["deployer"]
    assert post(scene.client(scene.mara), HAND_IN, given).json()["state"] == "draft"
    assert Plan.objects.get().deployer == "fleet"


def test_everything_that_is_wrong_is_told_at_once(scene):
    answer = post(
        scene.client(scene.mara), HAND_IN,
        body(to_version="9.9", policy="nope", tenants=["acorn", "elm"], deployer="ship"),
    )  # fmt: skip
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    told = " ".join(error["detail"] for error in answer.json()["errors"])
    for wrong in ("9.9", "nope", "elm", "ship"):
        assert wrong in told
    assert not Plan.objects.exists()


def test_unknown_and_missing_members_are_named(scene):
    given = body(colour="red")
    del given["plugin"]
    answer = post(scene.client(scene.mara), HAND_IN, given)
    assert answer.status_code == 400
    fields = {error["field"]: error["detail"] for error in answer.json()["errors"]}
    assert set(fields) == {"colour", "plugin"}
    assert "not known" in fields["colour"]


@pytest.mark.parametrize("tenants", ["some", [], [1], {"labels": {}}, {"keys": ["a"]}, None])
def test_tenants_in_no_known_form_are_refused(scene, tenants):
    answer = post(scene.client(scene.mara), HAND_IN, body(tenants=tenants))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "tenants"


def test_when_it_cannot_be_submitted_nothing_is_left_behind(scene):
    flags.turn(name=flags.POLICY, on=False, reason="audit", by=scene.ada, now=now(), via="command")
    answer = post(scene.client(scene.mara), HAND_IN, body())
    assert answer.status_code == 409
    assert answer.json()["code"] == "flag_off"
    assert not Plan.objects.exists()


@pytest.mark.parametrize("who", ["olga", "aram", "rita", "nils"])
def test_only_release_managers_hand_plans_in(scene, who):
    assert post(scene.client(getattr(scene, who)), HAND_IN, body()).status_code == 403


def test_text_that_is_no_json_is_a_problem_and_not_an_error(scene):
    answer = scene.client(scene.mara).post(HAND_IN, "{", content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["code"] == "parse_error"


def test_a_plan_is_found_by_uuid_and_by_external_id(scene):
    plan = handed_in(scene)
    rita = scene.client(scene.rita)
    by_id, by_name = rita.get(url(plan=str(plan.pk))).json(), rita.get(url()).json()
    assert by_id == by_name
    assert by_name["external_id"] == "pay-7"
    assert by_name["policy"] == "safe-rollout"
    assert by_name["counts"] == {"pending": 3}
    assert [batch["tenants"] for batch in by_name["batches"]] == [1, 2]
    assert by_name["rollback"] is None


def test_what_is_possible_is_told_for_the_person_who_asks(scene):
    handed_in(scene)
    assert scene.client(scene.aram).get(url()).json()["possible"] == ["approve", "reject"]
    assert scene.client(scene.mara).get(url()).json()["possible"] == ["cancel"]
    assert scene.client(scene.rita).get(url()).json()["possible"] == []


@pytest.mark.parametrize("act", ["", "events", "tenants", "snapshot"])
def test_to_a_stranger_a_plan_is_not_there(scene, act):
    handed_in(scene)
    assert scene.client(scene.nils).get(url(act)).status_code == 404
    assert scene.client(scene.rita).get(url(act)).status_code == 200


def test_the_list_is_paged_by_cursor_and_filtered(scene):
    for number in range(3):
        handed_in(scene, external_id=f"pay-{number}", submit=number == 2)
    rita = scene.client(scene.rita)
    first = rita.get("/api/v1/plans/", {"limit": 2}).json()
    assert [row["external_id"] for row in first["results"]] == ["pay-2", "pay-1"]
    second = rita.get(first["next"]).json()
    assert [row["external_id"] for row in second["results"]] == ["pay-0"]
    drafts = rita.get("/api/v1/plans/", {"state": "draft"}).json()["results"]
    assert {row["state"] for row in drafts} == {"draft"}
    assert len(drafts) == 2
    assert rita.get("/api/v1/plans/", {"plugin": "mail"}).json()["results"] == []
    assert rita.get("/api/v1/plans/", {"state": "flying"}).status_code == 400


def test_a_stranger_sees_no_list(scene):
    assert scene.client(scene.nils).get("/api/v1/plans/").status_code == 403


def test_a_page_of_plans_costs_the_same_however_many(scene, django_assert_max_num_queries):
    rita = scene.client(scene.rita)
    for number in range(5):
        handed_in(scene, external_id=f"pay-{number}")
    rita.get("/api/v1/plans/")
    with django_assert_max_num_queries(6):
        assert len(rita.get("/api/v1/plans/").json()["results"]) == 5


def test_events_come_after_the_number_asked_for_without_gaps(scene):
    handed_in(scene)
    rita = scene.client(scene.rita)
    first = rita.get(url("events"), {"limit": 1}).json()
    assert [event["kind"] for event in first["events"]] == ["plan_drafted"]
    assert first["more"] is True
    rest = rita.get(url("events"), {"since": first["last"]}).json()
    assert [event["seq"] for event in rest["events"]] == [2]
    assert (rest["more"], rest["state"]) == (False, "awaiting_approval")
    assert "Mara asked for approval" in rest["events"][0]["sentence"]
    assert rita.get(url("events"), {"since": "x"}).status_code == 400
    assert rita.get(url("events"), {"limit": 10_000}).status_code == 400


def test_tenants_are_listed_before_and_after_the_start(scene):
    started(scene)
    rita = scene.client(scene.rita)
    page = rita.get(url("tenants"), {"limit": 2}).json()
    assert (page["count"], len(page["results"])) == (3, 2)
    assert rita.get(url("tenants"), {"state": "upgraded"}).json()["count"] == 0
    handed_in(scene, external_id="pay-8", tenants=["acorn"])
    [waiting] = rita.get(url("tenants", "pay-8")).json()["results"]
    assert (waiting["tenant"], waiting["state"], waiting["batch"]) == ("acorn", "pending", 1)

"""The trail's pages: the chain's check, filters and the export."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from plans.approvals import approval
from plans.console_keys import public_keys
from plans.models import Event, Stream
from plans.trail.checkpoints import take_checkpoint
from plans.trail.export import _head, guarded
from reports import verify_trail
from reports.trail import checking
from tests.web.api_scene import Scene, configure, now
from tests.web.page_scene import browser, draft, submitted, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def rita(scene: Scene) -> Client:
    return browser(scene.rita)


def rows_of(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(whole(answer).decode())))


def whole(answer) -> bytes:
    return b"".join(answer.streaming_content)


def exported(answer, tmp_path: Path) -> Path:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(whole(answer))
    return path


def test_an_auditor_sees_the_systems_trail_and_that_it_is_intact(rita):
    shown = text_of(rita.get("/trail/"))
    assert "The chain is intact." in shown
    assert "pay 1.5.0 was registered" in shown


def test_a_head_that_does_not_fit_is_told_with_its_place(rita):
    length = Event.objects.filter(stream__key="system").count()
    Stream.objects.filter(key="system").update(head_seq=length + 1)
    shown = text_of(rita.get("/trail/"))
    assert f"The chain is broken at event {length + 1}: the tail was cut." in shown


def test_a_long_chain_is_checked_when_asked(rita, monkeypatch):
    monkeypatch.setattr("plans.pages.trail.CHECKED_UNASKED", 1)
    assert "Check the chain now" in text_of(rita.get("/trail/"))
    assert "The chain is intact." in text_of(rita.get("/trail/?check=1"))


def test_a_plans_trail_is_for_all_who_see_the_plan(scene):
    plan = submitted(scene)
    shown = text_of(browser(scene.olga).get(reverse("plan-trail", args=[plan.pk])))
    assert "Mara drafted winter" in shown
    assert "The chain is intact." in shown


def test_filters_narrow_by_kind_person_and_words(scene, rita):
    plan = submitted(scene)
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    trail = reverse("plan-trail", args=[plan.pk])

    def kinds(query: str) -> list[str]:
        return [event.kind for event in rita.get(f"{trail}?{query}").context["page"]]

    assert kinds("") == ["approval_given", "plan_submitted", "plan_drafted"]
    assert kinds("who=Aram") == ["approval_given"]
    assert kinds("kind=plan_drafted") == ["plan_drafted"]
    assert kinds("q=asked+for") == ["plan_submitted"]


def test_the_export_holds_the_filtered_events_oldest_first_with_their_hashes(scene, rita):
    plan = submitted(scene)
    export = reverse("plan-trail-csv", args=[plan.pk])
    answer = rita.get(export)
    rows = rows_of(answer)
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[1]["prev_hash"] == rows[0]["hash"]
    assert answer["Content-Disposition"].startswith('attachment; filename="trail-winter-')
    assert [row["kind"] for row in rows_of(rita.get(f"{export}?kind=plan_drafted"))] == [
        "plan_drafted"
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1"])
def test_no_cell_of_the_export_is_a_formula(cell):
    assert guarded(cell) == f"'{cell}"
    assert guarded("a=1") == "a=1"


def test_a_reason_that_is_a_formula_leaves_the_export_guarded(scene, rita):
    scene.mara.name = "=HYPERLINK(1)"
    scene.mara.save()
    plan = draft(scene)
    (row,) = rows_of(rita.get(reverse("plan-trail-csv", args=[plan.pk])))
    assert row["actor"] == "'=HYPERLINK(1)"
    assert row["sentence"].startswith("'=HYPERLINK(1) drafted")


def test_the_systems_trail_is_for_auditors_and_administrators(scene):
    for person in (scene.mara, scene.olga, scene.nils):
        client = browser(person)
        assert client.get("/trail/").status_code == 403
        assert client.get("/trail.csv").status_code == 403
    assert browser(scene.ada).get("/trail.csv").status_code == 200


def test_a_stranger_does_not_learn_that_a_plan_has_a_trail(scene, rita):
    plan = draft(scene)
    nils = browser(scene.nils)
    assert nils.get(reverse("plan-trail", args=[plan.pk])).status_code == 404
    assert nils.get(reverse("plan-trail-csv", args=[plan.pk])).status_code == 404
    assert nils.get(reverse("plan-trail-jsonl", args=[plan.pk])).status_code == 404
    for page in ("trail", "trail-jsonl", "trail-everything-jsonl", "trail-verifier"):
        assert rita.post(reverse(page)).status_code == 405
    assert Client().get(reverse("trail-everything-jsonl")).status_code == 302


def test_everything_as_one_file_is_verified_without_the_console(scene, rita, tmp_path):
    submitted(scene)
    take_checkpoint(why="test", now=now())
    submitted(scene, "spring")
    file = exported(rita.get(reverse("trail-everything-jsonl")), tmp_path)
    keys = public_keys("checkpoint")
    outcome = verify_trail.verify_files([file], [], keys)
    assert (outcome.exit, outcome.streams, outcome.checkpoints) == (0, 3, 1), outcome.problems
    assert outcome.events == Event.objects.count()
    lines = file.read_text().splitlines()
    changed = [line.replace("Mara drafted spring", "Ada drafted spring") for line in lines]
    file.write_text("\n".join(changed))
    found = verify_trail.verify_files([file], [], keys)
    assert (found.exit, found.first.seq) == (verify_trail.BROKEN, 1)
    # All events of the plan that the checkpoint knows are gone, its head's line as well.
    plan = Event.objects.exclude(stream__key="system").order_by("pk").first().stream.key
    file.write_text("\n".join(line for line in lines if f'"stream":"{plan}"' not in line))
    assert verify_trail.verify_files([file], [], keys).exit == verify_trail.FORKED


def test_a_plan_s_export_proves_that_a_checkpoint_knows_it(scene, rita, tmp_path):
    plan = submitted(scene)
    submitted(scene, "spring")
    take_checkpoint(why="test", now=now())
    page = reverse("plan-trail-jsonl", args=[plan.pk])
    file = exported(browser(scene.mara).get(page), tmp_path)
    keys = public_keys("checkpoint")
    outcome = verify_trail.verify_files([file], [], keys)
    assert (outcome.exit, outcome.events, outcome.checkpoints) == (0, 2, 1), outcome.problems
    *lines, last, head = file.read_text().splitlines()
    cut = json.loads(head)["head"] | {"seq": 1, "hash": json.loads(last)["prev_hash"]}
    file.write_text("\n".join([*lines, json.dumps({"head": cut})]))
    assert verify_trail.verify_files([file], [], keys).exit == verify_trail.FORKED
    assert "spring" not in file.read_text()


def test_an_export_does_not_hide_that_the_tail_was_cut(scene, rita, tmp_path):
    plan = submitted(scene)
    Stream.objects.filter(key=plan.stream_key).update(head_seq=3)
    for page, arguments in (("trail-everything-jsonl", []), ("plan-trail-jsonl", [plan.pk])):
        file = exported(rita.get(reverse(page, args=arguments)), tmp_path)
        found = verify_trail.verify_files([file], [], {})
        assert (found.exit, found.first.why) == (verify_trail.BROKEN, "the tail was cut"), page


@pytest.mark.parametrize(
    ("before", "after", "last", "head"),
    [
        ((3, "c"), (3, "c"), (3, "c"), (3, "c")),
        ((3, "c"), (3, "c"), (2, "b"), (3, "c")),
        ((3, "c"), (5, "e"), (4, "d"), (4, "d")),
        ((3, "c"), (5, "e"), (5, "e"), (5, "e")),
        ((3, "c"), (3, "c"), (4, "x"), (3, "c")),
        ((0, ""), (2, "b"), (1, "a"), (1, "a")),
    ],
)
def test_the_head_of_an_export_is_neither_older_nor_newer_than_its_events(
    before, after, last, head
):
    assert _head(before, after, last) == head


def test_addresses_are_for_those_who_read_the_whole_trail(scene, rita):
    plan = submitted(scene)
    approve = reverse("plan-approve", args=[plan.pk])
    digest = plan.approval_requests.get().plan_digest
    browser(scene.aram).post(approve, {"digest": digest}, REMOTE_ADDR="192.0.2.7")
    for page in ("plan-trail", "plan-trail-csv", "plan-trail-jsonl"):
        where = reverse(page, args=[plan.pk])
        for client, seen in ((rita, True), (browser(scene.olga), False)):
            answer = client.get(where)
            told = whole(answer) if answer.streaming else answer.content
            assert (b"192.0.2.7" in told) is seen, page


def test_a_period_is_from_the_first_day_to_the_end_of_the_last(scene, rita):
    submitted(scene)
    today = f"{now():%Y-%m-%d}"
    tomorrow = f"{now() + timedelta(days=1):%Y-%m-%d}"

    def count(query: str) -> int:
        return len(rows_of(rita.get(f"/trail.csv?{query}")))

    assert count(f"from={today}&to={today}") == count("")
    assert count(f"from={tomorrow}") == 0
    assert count("from=nonsense") == count("from=2026-99-99") == count("")


def test_the_page_shows_the_checkpoint_and_what_the_last_check_found(scene, rita):
    submitted(scene)
    assert "None yet; the watch takes the first one." in text_of(rita.get("/trail/"))
    taken = take_checkpoint(why="test", now=now())
    checking.check_and_keep(now=now(), via="hands")
    shown = text_of(rita.get("/trail/"))
    assert taken.kid in shown
    assert "Every link holds" in shown


def test_a_trail_that_does_not_verify_is_a_red_banner_on_every_page(scene, rita):
    submitted(scene)
    assert "The trail does not verify" not in text_of(rita.get("/plans/"))
    Stream.objects.filter(key="system").update(head_hash="ab" * 32)
    checking.check_and_keep(now=now(), via="hands")
    shown = text_of(browser(scene.olga).get("/plans/"))
    assert "The trail does not verify." in shown
    assert "a link is broken: system event" in shown


def test_the_verifier_is_handed_out_as_it_is(scene, rita):
    answer = rita.get(reverse("trail-verifier"))
    assert answer.content == Path(verify_trail.__file__).read_bytes()
    assert answer["Content-Disposition"] == 'attachment; filename="verify_trail.py"'


def test_rest_exports_the_trail(scene, tmp_path):
    plan = submitted(scene)
    take_checkpoint(why="test", now=now())
    rita, mara, nils = (scene.client(who) for who in (scene.rita, scene.mara, scene.nils))
    file = exported(rita.get("/api/v1/trail/export"), tmp_path)
    assert verify_trail.verify_files([file], [], public_keys("checkpoint")).exit == 0
    assert len(rows_of(rita.get("/api/v1/trail/export?form=csv&stream=system"))) > 2
    assert rita.get("/api/v1/trail/export?since=nonsense").status_code == 400
    assert mara.get("/api/v1/trail/export").status_code == 403
    assert rita.post("/api/v1/trail/export").status_code == 405
    own = exported(mara.get(f"/api/v1/plans/{plan.external_id}/trail"), tmp_path)
    assert verify_trail.verify_files([own], [], public_keys("checkpoint")).exit == 0
    assert nils.get(f"/api/v1/plans/{plan.external_id}/trail").status_code == 404
    narrow = scene.client(scene.rita, scopes=("operate",))
    assert narrow.get("/api/v1/trail/export").status_code == 403


def test_rest_tells_the_newest_checkpoint_and_the_last_check(scene):
    rita, mara, nils = (scene.client(who) for who in (scene.rita, scene.mara, scene.nils))
    assert rita.get("/api/v1/trail/checkpoint").status_code == 404
    assert rita.get("/api/v1/trail/check").status_code == 404
    taken = take_checkpoint(why="test", now=now())
    checking.check_and_keep(now=now(), via="hands")
    told = mara.get("/api/v1/trail/checkpoint").json()
    assert told["checkpoint"] == taken.text
    assert verify_trail.kid_of(verify_trail.read_key(told["verifier_keys"][0])) == taken.kid
    assert nils.get("/api/v1/trail/checkpoint").status_code == 403
    assert rita.get("/api/v1/trail/check").json()["outcome"] == 0
    assert mara.get("/api/v1/trail/check").status_code == 403

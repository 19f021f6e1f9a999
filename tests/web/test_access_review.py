"""The access review: who could do what for which tenants, today and on past days."""

import csv
import io
import shutil
import subprocess
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from plans.models import RoleBinding, RoleRequest
from plans.people.access_review import access_review, asked_time
from plans.people.machine_access import make_token
from plans.people.role_giving import end_role, give_role
from plans.refusal import BadInput
from tests.web.api_scene import Scene, now, person, post
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
PAGE, CSV, PDF, API = "/access/", "/access.csv", "/access.pdf", "/api/v1/access-review"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def held(at) -> set[tuple[str, str]]:
    return {(line.name, line.held) for line in access_review(at).held}


def test_a_review_tells_roles_and_tokens_with_their_tenants(scene):
    RoleBinding.objects.filter(user=scene.olga).update(selector={"region": "eu"})
    make_token(
        user=scene.olga, name="pager", days=1, scopes=["operate"], by=scene.olga, now=now(),
        via="page",
    )  # fmt: skip
    make_token(user=scene.nils, name="stray", days=1, by=None, now=now(), via="command")
    lines = {line.held.split(" (")[0]: line for line in access_review(now()).held}
    assert "pause plans" in lines["Operator"].may
    assert "draft plans" not in lines["Operator"].may
    assert (lines["Operator"].tenants, lines["Operator"].tenants_today) == ("region=eu", 2)
    assert lines["system_admin"].may == ("look at this", "approve as system_admin")
    assert lines["pager"].may == ("operate, as far as the person may",)
    assert lines["pager"].given_by == "Olga"
    assert "stray" not in lines  # Nils holds no role: it opens nothing.


def test_past_days_are_as_they_were(scene):
    start = now()
    with time_machine.travel(start + timedelta(days=1), tick=False):
        late = give_role(
            user=scene.nils, kind="console", role="viewer", by=scene.ada, now=now(), via="page",
            expires_at=now() + timedelta(days=5),
        )  # fmt: skip
        RoleBinding.objects.filter(pk=late.pk).update(created_at=now())
    olga = RoleBinding.objects.get(user=scene.olga)
    with time_machine.travel(start + timedelta(days=2), tick=False):
        end_role(binding_id=olga.pk, why="moved", by=scene.ada, now=now(), via="page")
    days = {n: held(start + timedelta(days=n, seconds=1)) for n in (0, 1, 2, 7)}
    assert ("Olga", "Operator") in days[0] & days[1]
    assert ("Olga", "Operator") not in days[2] | days[7]
    assert [("Nils", "Viewer") in days[n] for n in (0, 1, 2, 7)] == [False, True, True, False]
    assert held(start - timedelta(days=1)) == set()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", "2026-03-05T12:00:00+00:00"),
        ("2026-03-05", "2026-03-05T12:00:00+00:00"),
        ("2026-03-04", "2026-03-04T23:59:59.999999+00:00"),
        ("2026-03-04T10:00", "2026-03-04T10:00:00+00:00"),
        ("2026-03-04T10:00:00+02:00", "2026-03-04T10:00:00+02:00"),
    ],
)
def test_a_day_means_its_end_and_a_time_itself(written, meant):
    with time_machine.travel("2026-03-05T12:00:00Z", tick=False):
        assert asked_time(written, now=now()).isoformat() == meant


@pytest.mark.parametrize("written", ["yesterday", "2026-13-01", "2999-01-01", "2026-02-30T10:00"])
def test_no_day_and_days_to_come_are_refused(written):
    with pytest.raises(BadInput, match="at: "):
        asked_time(written, now=now())


def test_the_page_shows_searches_and_says_what_is_wrong(scene):
    client = browser(scene.rita)
    page = text_of(client.get(PAGE))
    assert "Release manager" in page
    assert "6 people" in page
    found = client.get(PAGE, {"q": "olga"}).context["lines"]
    assert {line.name for line in found} == {"Olga"}
    kinds = {line.kind for line in client.get(PAGE, {"kind": "approval"}).context["lines"]}
    assert kinds == {"approval"}
    assert "is no date" in text_of(client.get(PAGE, {"at": "soon"}))


def test_only_who_reviews_all_sees_it(scene):
    RoleBinding.objects.filter(user=scene.rita).update(selector={"region": "eu"})
    for who in (scene.olga, scene.mara, scene.nils, scene.rita):
        for where in (PAGE, CSV, PDF, API):
            assert browser(who).get(where).status_code == 403
    assert "/access/" not in text_of(browser(scene.olga).get("/plans/"))
    assert "/access/" in text_of(browser(scene.ada).get("/plans/"))


def test_the_csv_has_every_line_and_no_formula(scene):
    person("=HYPERLINK(1)", console="viewer")
    answer = browser(scene.rita).get(CSV)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert len(rows) == len(access_review(now()).held)
    assert all(row["name"][0] not in "=+-@" for row in rows)
    assert "'=HYPERLINK(1)" in {row["name"] for row in rows}
    assert answer["Content-Disposition"].startswith('attachment; filename="access-')


def test_over_rest_the_review_is_the_same(scene):
    told = scene.client(scene.rita).get(API).json()
    assert {(one["name"], one["held"]) for one in told["held"] if one["kind"] != "token"} == {
        pair for pair in held(now()) if "(" not in pair[1]
    }
    assert scene.client(scene.rita).get(API, {"at": "2999-01-01"}).status_code == 422


def test_the_pdf_says_the_same_with_the_csv_inside(scene, tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.fail("pdftotext is missing; install it: apt-get install poppler-utils")
    person("Bobby <b>Tables", console="viewer")
    answer = browser(scene.rita).get(PDF)
    assert answer["Content-Type"] == "application/pdf"
    path = tmp_path / "access.pdf"
    path.write_bytes(answer.content)
    text = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in access_review(now()).held:
        assert line.name.split()[0] in text
    assert "access review" in text
    assert "compliance report" not in text
    subprocess.run(
        ["pdfdetach", "-saveall", "-o", str(tmp_path), str(path)],  # noqa: S607
        capture_output=True,
        check=True,
    )
    inside = (tmp_path / "access.csv").read_text()
    assert len(inside.splitlines()) == 1 + len(access_review(now()).held)


def test_the_command_prints_and_writes_but_not_over_a_file(scene, tmp_path):
    out = StringIO()
    call_command("access_review", stdout=out)
    assert "Olga <olga@example.org>: console role Operator, all tenants (3 today)" in out.getvalue()
    out = StringIO()
    call_command("access_review", "--csv", "-", stdout=out)
    assert out.getvalue().startswith("on,name,email")
    path = tmp_path / "review.csv"
    call_command("access_review", "--csv", str(path), stdout=StringIO())
    assert path.read_text().count("Olga") == 1
    with pytest.raises(CommandError, match="could not be written"):
        call_command("access_review", "--csv", str(path), stdout=StringIO())
    with pytest.raises(CommandError, match="is no date"):
        call_command("access_review", "--at", "soon", stdout=StringIO())
    out = StringIO()
    call_command("access_review", "--at", "2020-01-01", stdout=out)
    assert "0 people" in out.getvalue()


# ---- approval roles that wait, and roles over REST


def asked(scene) -> RoleRequest:
    made = give_role(
        user=scene.ada, kind="approval", role="system_admin", by=scene.ada, now=now(), via="page"
    )
    assert isinstance(made, RoleRequest)
    return made


@pytest.fixture
def bela(scene):
    bela = person("Bela", console="administrator")
    RoleBinding.objects.filter(user=bela).update(created_at=now() - timedelta(days=1))
    return bela


def test_the_second_administrator_confirms_on_the_page(scene, bela):
    request = asked(scene)
    page = text_of(browser(bela).get(PAGE))
    assert "Waits for a second administrator" in page
    assert "may then approve as system_admin for all tenants" in page
    own = text_of(browser(scene.ada).get(PAGE))
    assert "may then approve as" not in own
    assert "Take it back" in own
    assert "Waits for" not in text_of(browser(scene.rita).get(PAGE))
    where = f"/access/requests/{request.pk}/confirm/"
    assert browser(scene.ada).post(where).status_code == 403
    assert browser(scene.rita).post(where).status_code == 403
    done = browser(bela).post(where, follow=True)
    assert "Ada holds the approval role system_admin now" in said(done)
    again = browser(bela).post(where, follow=True)
    assert "confirmed already" in said(again)
    assert browser(bela).get(where).status_code == 405


def test_what_waits_stands_in_lines_of_its_own_and_gives_nothing(scene, bela):
    request = give_role(
        user=scene.nils, kind="console", role="break_glass", by=scene.ada, now=now(), via="page"
    )
    before = access_review(now())
    (line,) = [one for one in before.held if one.kind == "asked"]
    assert (line.name, line.held, line.given_by) == ("Nils", "Break glass", "Ada")
    assert line.may == ("nothing until another administrator confirms it",)
    assert before.people == len({one.email for one in before.held}) - 1
    page = text_of(browser(scene.rita).get(PAGE, {"kind": "asked"}))
    assert "waits for a second administrator" in page
    told = scene.client(scene.rita).get(API).json()["held"]
    assert [one["email"] for one in told if one["kind"] == "asked"] == ["nils@example.org"]
    assert "Requested role" in browser(scene.rita).get(CSV).content.decode()
    browser(bela).post(f"/access/requests/{request.pk}/confirm/")
    after = access_review(now())
    assert "asked" not in {one.kind for one in after.held}
    (held,) = [one for one in after.held if one.name == "Nils"]
    assert (held.kind, held.given_by, held.confirmed_by) == ("console", "Ada", "Bela")
    assert "asked" in {one.kind for one in access_review(before.at).held}


def test_the_second_administrator_refuses_with_a_reason(scene, bela):
    request = asked(scene)
    where = f"/access/requests/{request.pk}/refuse/"
    assert "say why" in said(browser(bela).post(where, {"reason": ""}, follow=True))
    browser(bela).post(where, {"reason": "not needed"})
    assert RoleRequest.objects.get().decided_why == "not needed"


def test_roles_are_given_and_ended_over_rest(scene, bela):
    client = scene.client(scene.ada)
    given = {"person": "nils@example.org", "kind": "console", "role": "viewer",
             "labels": {"region": "eu"}}  # fmt: skip
    made = post(client, "/api/v1/roles/", given)
    assert made.status_code == 201
    assert post(client, "/api/v1/roles/", given).status_code == 409
    assert post(client, "/api/v1/roles/", given | {"role": "king"}).status_code == 422
    assert post(client, "/api/v1/roles/", given | {"person": "no@example.org"}).status_code == 422
    listed = scene.client(scene.rita).get("/api/v1/roles/").json()
    assert made.json() in listed
    where = f"/api/v1/roles/{made.json()['role_id']}/end"
    assert post(client, where).status_code == 400
    assert post(client, where, {"reason": "done"}).json()["ended_at"]
    assert post(client, where, {"reason": "done"}).status_code == 409


def test_a_second_administrator_confirms_over_rest(scene, bela):
    given = {"person": "ada@example.org", "kind": "approval", "role": "system_admin"}
    asked = post(scene.client(scene.ada), "/api/v1/roles/", given)
    assert asked.status_code == 202
    (waiting,) = scene.client(bela).get("/api/v1/role-requests/").json()
    where = f"/api/v1/role-requests/{waiting['request_id']}/"
    assert post(scene.client(scene.ada), f"{where}confirm").status_code == 403
    assert post(scene.client(bela), f"{where}confirm").status_code == 200
    assert post(scene.client(bela), f"{where}refuse", {"reason": "x"}).status_code == 409
    assert scene.client(bela).get("/api/v1/role-requests/").json() == []


def test_people_are_let_go_and_in_over_rest(scene):
    client, where = scene.client(scene.ada), "/api/v1/people/olga@example.org/"
    assert post(client, f"{where}let-go").status_code == 400
    assert post(client, f"{where}let-go", {"reason": "left"}).status_code == 204
    assert post(client, f"{where}let-go", {"reason": "left"}).status_code == 409
    assert post(client, f"{where}let-in").status_code == 204
    assert post(client, "/api/v1/people/no@example.org/let-in").status_code == 404

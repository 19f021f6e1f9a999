"""REST: tenants and releases come in, and the API describes itself."""

import json

import pytest

from plans.models import Release, Tenant, User
from tests.web.api_scene import HAND_IN, Scene, configure, post

pytestmark = pytest.mark.django_db
ROLL_BACK = "/internal/version/upgrade/rollback"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def test_tenants_come_in_by_csv_and_by_yaml(scene):
    mara = scene.client(scene.mara)
    table = "tenant,name,owner_email,version,labels\nelm,Elm,e@example.org,1.4.2,region=eu\n"
    answer = mara.post("/api/v1/tenants/import?dry_run=true", table, content_type="text/csv")
    assert answer.json()["rows"] == [{"key": "elm", "status": "new", "line": 2, "why": ""}]
    assert answer.json()["written"] is False
    assert not Tenant.objects.filter(key="elm").exists()
    mara.post("/api/v1/tenants/import", table, content_type="text/csv")
    assert Tenant.objects.get(key="elm").labels == {"region": "eu"}
    listed = "- {tenant: fir, name: Fir}\n"
    assert mara.post("/api/v1/tenants/import", listed, content_type="application/yaml").json()[
        "written"
    ]
    assert Tenant.objects.filter(key="fir").exists()


def test_one_wrong_row_keeps_all_tenants_out(scene):
    table = "tenant,name\nelm,Elm\n!!,Wrong\n"
    answer = scene.client(scene.mara).post("/api/v1/tenants/import", table, content_type="text/csv")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["line 3"]
    assert not Tenant.objects.filter(key="elm").exists()


def test_an_import_needs_the_right_and_a_known_form(scene):
    where = "/api/v1/tenants/import"
    table = "tenant\nelm\n"
    assert scene.client(scene.olga).post(
        where, table, content_type="text/csv"
    ).status_code == 403  # fmt: skip
    mara = scene.client(scene.mara)
    assert mara.post(where, {}, format="json").status_code == 415
    assert mara.post(where, b"\xff\xfe", content_type="text/csv").status_code == 422


def test_a_release_is_registered_once_as_text_or_as_the_object_that_it_is(scene):
    mara = scene.client(scene.mara)
    envelope = scene.envelope("pay", "2.0.0")
    first = post(mara, "/api/v1/releases/", {"envelope": envelope})
    assert first.status_code == 201
    assert (first.json()["plugin"], first.json()["version"]) == ("pay", "2.0.0")
    again = post(mara, "/api/v1/releases/", {"envelope": json.loads(envelope)})
    assert again.status_code == 200
    assert again.json()["release"] == first.json()["release"]
    assert Release.objects.filter(version="2.0.0").count() == 1


def test_a_release_that_nobody_trusted_signed_is_refused(scene):
    envelope = json.loads(scene.envelope("pay", "2.0.0"))
    envelope["signatures"][0]["keyid"] = "stranger"
    answer = post(scene.client(scene.mara), "/api/v1/releases/", {"envelope": envelope})
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_key"


def test_the_openapi_document_names_every_endpoint(scene):
    document = scene.client(scene.rita).get("/api/schema/", {"format": "json"}).json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    for act in ("submit", "approve", "reject", "start", "pause", "resume", "promote", "rollback"):
        assert "post" in paths[f"/api/v1/plans/{{plan}}/{act}"]
    assert "202" in paths[ROLL_BACK]["post"]["responses"]
    assert "post" in paths[HAND_IN]


def test_the_page_of_operations_is_for_people_who_are_logged_in(scene, client):
    assert client.get("/api/docs/").status_code == 302
    client.force_login(User.objects.get(pk=scene.rita.pk))
    page = client.get("/api/docs/").content.decode()
    assert "/internal/version/upgrade/rollback" in page
    assert "https://" not in page.split("<main")[1]

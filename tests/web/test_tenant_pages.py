"""The pages of tenants: the list, one tenant, the import with its dry run."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from plans.models import Event, Installation, Tenant
from tests.web.api_scene import Scene, configure
from tests.web.page_scene import browser, draft, said, text_of

pytestmark = pytest.mark.django_db

IMPORT = "/tenants/import/"
ROWS = (
    "tenant,name,owner_email,version,labels\n"
    "acorn,Acorn Ltd,it@acorn.example,1.4.2,region=eu\n"
    "elm,Elm,,1.4.2,region=us;tier=gold\n"
)


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def mara(scene: Scene) -> Client:
    return browser(scene.mara)


def keys(answer) -> list[str]:
    return [tenant.key for tenant in answer.context["page"]]


def test_the_list_is_searched_and_filtered_by_a_label(scene):
    rita = browser(scene.rita)
    assert keys(rita.get("/tenants/")) == ["acorn", "birch", "cedar"]
    assert keys(rita.get("/tenants/?q=ced")) == ["cedar"]
    assert keys(rita.get("/tenants/?label=region%3Deu")) == ["acorn", "birch"]
    assert keys(rita.get("/tenants/?label=region")) == ["acorn", "birch", "cedar"]
    assert keys(rita.get("/tenants/?label=tier%3Dgold")) == []


def test_a_label_cannot_be_made_a_lookup_of_the_database(scene):
    assert keys(browser(scene.rita).get("/tenants/?label=region__in%3Deu")) == []


def test_who_may_not_manage_sees_the_list_without_its_buttons(scene):
    assert IMPORT in text_of(browser(scene.mara).get("/tenants/"))
    assert IMPORT not in text_of(browser(scene.rita).get("/tenants/"))


def test_a_dry_run_says_per_row_what_would_change_and_writes_nothing(mara):
    answer = mara.post(IMPORT, {"form": "csv", "text": ROWS, "act": "check"})
    assert [(row.key, row.status) for row in answer.context["rows"]] == [
        ("acorn", "changed"),
        ("elm", "new"),
    ]
    assert not Tenant.objects.filter(key="elm").exists()


def test_versions_that_nobody_would_keep_are_told_before_and_after(mara):
    given = {"form": "csv", "text": "tenant,version\nspruce,1.4.2\nwillow,\n"}
    told = text_of(mara.post(IMPORT, given | {"act": "check"}))
    assert "The versions would not be kept." in told
    assert "1 row tells a version" in told
    assert "would not be kept" not in text_of(
        mara.post(IMPORT, given | {"act": "check", "plugin": "pay"})
    )
    done = mara.post(IMPORT, given | {"act": "import"}, follow=True)
    assert "No versions were kept: no plugin was named." in said(done)


def test_the_confirmed_import_writes_what_the_dry_run_showed(mara):
    sent = {"form": "csv", "text": ROWS, "plugin": "pay", "act": "import"}
    answer = mara.post(IMPORT, sent, follow=True)
    assert "1 new, 1 changed" in said(answer)
    assert Tenant.objects.get(key="elm").labels == {"region": "us", "tier": "gold"}
    assert Installation.objects.get(tenant__key="elm").version == "1.4.2"


def test_one_wrong_row_keeps_all_out_and_says_its_line(mara):
    text = ROWS + "bad key,,,,\n"
    answer = mara.post(IMPORT, {"form": "csv", "text": text, "act": "import"})
    worst = answer.context["rows"][0]
    assert (worst.line, worst.status) == (4, "wrong")
    assert "is no key" in text_of(answer)
    assert not Tenant.objects.filter(key="elm").exists()


def test_a_yaml_file_is_checked_like_a_pasted_text(mara):
    upload = SimpleUploadedFile("tenants.yaml", b"- tenant: oak\n  labels: {region: eu}\n")
    answer = mara.post(IMPORT, {"form": "yaml", "file": upload, "act": "check"})
    assert [(row.key, row.status) for row in answer.context["rows"]] == [("oak", "new")]
    assert answer.context["sent"]["text"].startswith("- tenant: oak")


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff\xfe", "not UTF-8"), (b"x" * 2_097_153, "larger than 2 MB")]
)
def test_a_file_that_cannot_be_read_is_refused_beside_its_field(mara, content, why):
    upload = SimpleUploadedFile("tenants.csv", content)
    answer = mara.post(IMPORT, {"form": "csv", "file": upload})
    assert why in str(answer.context["form"].errors["file"])


def test_nothing_sent_is_said_so(mara):
    answer = mara.post(IMPORT, {"form": "csv", "text": ""})
    assert "Paste the tenants or choose a file." in text_of(answer)


def test_a_tenant_is_changed_and_the_trail_says_by_whom(scene, mara):
    fields = {"name": "Acorn Ltd", "labels": "region=eu\ntier=gold", "owner_name": "Ann"}
    answer = mara.post("/tenants/acorn/", fields, follow=True)
    assert "saved" in said(answer)
    acorn = Tenant.objects.get(key="acorn")
    assert (acorn.name, acorn.owner_name) == ("Acorn Ltd", "Ann")
    assert acorn.labels == {"region": "eu", "tier": "gold"}
    told = Event.objects.get(kind="tenant_changed")
    assert told.sentence == "Mara changed the tenant acorn: name, owner name, labels."
    assert told.actor == scene.mara


def test_saving_what_is_there_already_writes_no_event(mara):
    fields = {"name": "Acorn", "labels": "region=eu"}
    mara.post("/tenants/acorn/", fields)
    mara.post("/tenants/acorn/", fields)
    assert Event.objects.filter(kind="tenant_changed").count() == 1


def test_all_that_is_wrong_with_a_tenant_stands_at_its_fields(mara):
    answer = mara.post("/tenants/new/", {"key": "a b", "labels": "region", "owner_email": "nope"})
    errors = answer.context["form"].errors
    assert set(errors) == {"key", "labels", "owner_email"}
    assert "is no key" in str(errors["key"])


def test_a_key_is_taken_only_once_and_never_changed(mara):
    mara.post("/tenants/new/", {"key": "elm", "name": "Elm"})
    again = mara.post("/tenants/new/", {"key": "elm"})
    assert "already" in str(again.context["form"].errors["key"])
    mara.post("/tenants/elm/", {"key": "oak", "name": "Elm 2"})
    assert Tenant.objects.get(key="elm").name == "Elm 2"
    assert not Tenant.objects.filter(key="oak").exists()


def test_a_tenants_page_shows_its_installations_and_plans(scene):
    draft(scene)
    acorn = Tenant.objects.get(key="acorn")
    Installation.objects.create(tenant=acorn, plugin=scene.plugin, version="1.4.2")
    shown = text_of(browser(scene.rita).get("/tenants/acorn/"))
    assert "1.4.2" in shown
    assert "winter" in shown
    assert "<form method" not in shown.split("About it")[1]


def test_who_may_not_manage_changes_nothing(scene):
    olga = browser(scene.olga)
    assert olga.post("/tenants/acorn/", {"name": "Mine"}).status_code == 403
    assert olga.get("/tenants/new/").status_code == 403
    assert olga.post(IMPORT, {"form": "csv", "text": ROWS, "act": "import"}).status_code == 403
    assert Tenant.objects.get(key="acorn").name == ""


def test_strangers_and_wrong_addresses_find_nothing(scene, mara):
    assert browser(scene.nils).get("/tenants/acorn/").status_code == 403
    assert mara.get("/tenants/nobody/").status_code == 404
    assert mara.post("/tenants/").status_code == 405
    assert Client().get("/tenants/").status_code == 302

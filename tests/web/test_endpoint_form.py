"""The admin page of receivers: addresses are judged, secrets go one way."""

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from plans.models import Event
from reports.models import Endpoint
from tests.web.api_scene import person

pytestmark = pytest.mark.django_db
SECRET = "hook-s3cret-that-nobody-sees"
ADD = "admin:reports_endpoint_add"


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("Ada", console="administrator", is_staff=True, is_superuser=True))
    return client


def given(**more: str) -> dict[str, str]:
    return {
        "name": "pager",
        "url": "https://hooks.example.com/alerts",
        "active": "on",
        "new_secret": "",
        **more,
    }


def made(client: Client, **more: str) -> Endpoint:
    answer = client.post(reverse(ADD), given(**more))
    assert answer.status_code == 302, answer.content.decode()
    return Endpoint.objects.get()


def change(client: Client, row: Endpoint, **more: str):
    return client.post(reverse("admin:reports_endpoint_change", args=[row.pk]), given(**more))


def test_a_secret_is_taken_and_shown_to_nobody(ada):
    row = made(ada, new_secret=SECRET)
    assert row.open_secret() == SECRET
    page = ada.get(reverse("admin:reports_endpoint_change", args=[row.pk])).content.decode()
    listed = ada.get(reverse("admin:reports_endpoint_changelist")).content.decode()
    history = ada.get(reverse("admin:reports_endpoint_history", args=[row.pk])).content.decode()
    for shown in (page, listed, history):
        assert SECRET not in shown
        assert row.sealed_secret not in shown
    assert ">set<" in page
    assert ">set<" in listed
    told = [str(event.payload) + event.sentence for event in Event.objects.all()]
    told += [str(entry.changes) for entry in LogEntry.objects.all()]
    assert not [text for text in told if SECRET in text or row.sealed_secret in text]


def test_an_empty_field_keeps_the_secret_and_a_box_forgets_it(ada):
    row = made(ada, new_secret=SECRET)
    assert change(ada, row, name="pager 2").status_code == 302
    assert Endpoint.objects.get().open_secret() == SECRET
    assert change(ada, row, new_secret="another-hook-s3cret").status_code == 302
    assert Endpoint.objects.get().open_secret() == "another-hook-s3cret"
    assert change(ada, row, forget_secret="on").status_code == 302
    assert Endpoint.objects.get().has_secret is False


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "http://169.254.169.254/latest/"}, "metadata service"),
        ({"url": "http://10.0.0.1/hook"}, "a private network"),
        ({"url": "https://8.8.8.8:22/"}, "port 22 is none of"),
        ({"url": "https://u:p@example.com/"}, "log-in before"),
        ({"url": "ftp://example.com/"}, "not spoken here|Enter a valid URL"),
        ({"new_secret": "short"}, "at least 16 characters"),
        ({"new_secret": SECRET, "forget_secret": "on"}, "not both"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_secret_is_not_shown_again(ada, more, said):
    answer = ada.post(reverse(ADD), given(**{"new_secret": SECRET, **more}))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert any(part in page for part in said.split("|")), page
    assert SECRET not in page
    assert not Endpoint.objects.exists()


def test_where_nothing_can_be_sealed_nothing_is_kept(ada, settings, tmp_path):
    settings.SEALING_KEYS_FILE = tmp_path / "keys"
    settings.SEALING_KEYS_FILE.write_text("read by all")
    settings.SEALING_KEYS_FILE.chmod(0o644)
    answer = ada.post(reverse(ADD), given(new_secret=SECRET))
    assert "It cannot be sealed" in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_a_stranger_sees_no_such_page(client):
    client.force_login(person("Nils"))
    assert client.get(reverse(ADD)).status_code in (302, 403, 404)
    assert client.post(reverse(ADD), given()).status_code in (302, 403, 404)
    assert not Endpoint.objects.exists()


def test_kinds_are_chosen_from_those_that_there_are(ada):
    page = ada.get(reverse(ADD)).content.decode()
    assert "rollback_late: 30 s before the promise ends" in page
    refused = ada.post(reverse(ADD), given() | {"kinds": ["breach", "braech"]})
    assert "braech is not one of the available choices" in refused.content.decode()
    assert not Endpoint.objects.exists()
    ada.post(reverse(ADD), given() | {"kinds": ["breach", "audit_checkpoint"]})
    assert Endpoint.objects.get().kinds == ["breach", "audit_checkpoint"]


def test_a_kind_of_another_version_stays_until_its_box_is_emptied(ada):
    row = made(ada)
    Endpoint.objects.update(kinds=["older_kind"])
    page = ada.get(reverse("admin:reports_endpoint_change", args=[row.pk])).content.decode()
    assert "older_kind: This version has no such kind." in page
    assert change(ada, row, kinds="older_kind").status_code == 302
    assert Endpoint.objects.get().kinds == ["older_kind"]
    assert change(ada, row).status_code == 302
    assert Endpoint.objects.get().kinds == []

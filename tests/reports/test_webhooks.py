"""Alerts reach the machines that asked for them: as CloudEvents, signed, at least once."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.urls import reverse

from batches.alerting import alerts
from batches.models import Batch, TenantUpgrade
from plans.refusal import NotAllowed
from reports import chores
from reports.models import Announcement, Delivery, Endpoint
from reports.telling.announcing import announce_alerts
from reports.telling.deliveries import WAITS, HasArrived, claim_due, deliver, send_again
from tests.adapters.metric_servers import free_port
from tests.reports.scene import after

pytestmark = pytest.mark.django_db


class Receiver:
    """A real server on a free port that keeps what it is sent and answers what it is told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.bodies.append(self.rfile.read(length))
                receiver.headers.append(dict(self.headers))
                status = receiver.answers.pop(0) if receiver.answers else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def breach(plan) -> None:
    alerts.fire(
        plan=plan,
        kind="breach",
        sentence="error_rate is 9.4 %, more than 5 %",
        now=after(40),
        batch=Batch.objects.get(plan=plan, number=1),
        payload={"kpi": "error_rate", "value": 9.4, "threshold": 5.0, "unit": "%"},
    )


def announce_to_machines(now) -> None:
    """Announce, and leave the mails to their own tests."""
    announce_alerts(now)
    Delivery.objects.filter(channel=Delivery.MAIL).delete()


def send_due(now) -> int:
    return deliver(claim_due(now), now=now)


def test_an_alert_arrives_as_the_agreed_cloud_event(scene, receiver, settings):
    settings.ALERT_EVENT_URLS = [receiver.url]
    plan = scene.running()
    breach(plan)
    announce_alerts(after(40))
    send_due(after(40))
    (event,) = receiver.events
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": str(Announcement.objects.get().event["id"]),
        "source": f"/upgradeconsole/{settings.INSTANCE_NAME}",
        "type": "plugin.version.gray.alert",
        "subject": f"plan/{plan.pk}",
        "time": "2026-11-23T09:40:00Z",
        "datacontenttype": "application/json",
    }
    touched = sorted(
        TenantUpgrade.objects.filter(plan=plan).touched().values_list("tenant_key", flat=True)
    )
    assert data == {
        "plan": str(plan.pk),
        "external_id": "CHG-1",
        "plugin": "payments",
        "from": "1.4.2",
        "to": "1.5.0",
        "batch": "canary",
        "kind": "breach",
        "status": "firing",
        "kpi": "error_rate",
        "value": 9.4,
        "threshold": 5.0,
        "unit": "%",
        "tenants": touched,
        "owner": "payments@example.com",
        "sentence": "error_rate is 9.4 %, more than 5 %",
        "deadline": None,
        "url": f"{settings.CONSOLE_URL}/plans/{plan.pk}/",
    }
    assert receiver.headers[0]["Content-Type"].startswith("application/cloudevents+json")


def test_the_end_of_an_alert_is_told_as_resolved_with_an_id_of_its_own(scene, receiver, settings):
    settings.ALERT_EVENT_URLS = [receiver.url]
    plan = scene.running()
    breach(plan)
    announce_alerts(after(40))
    alerts.resolve_all(plan=plan, now=after(45))
    announce_alerts(after(45))
    send_due(after(45))
    firing, resolved = sorted(receiver.events, key=lambda event: event["time"])
    assert [firing["data"]["status"], resolved["data"]["status"]] == ["firing", "resolved"]
    assert resolved["time"] == "2026-11-23T09:45:00Z"
    assert firing["id"] != resolved["id"]


def test_an_endpoint_gets_only_the_kinds_it_asked_for_and_a_signature(scene, receiver):
    pager = Endpoint(name="pager", url=f"{receiver.url}/a", kinds=["breach"])
    pager.keep_secret("s3cret")
    pager.save()
    Endpoint.objects.create(name="other", url=f"{receiver.url}/b", kinds=["rollback_failed"])
    Endpoint.objects.create(name="off", url=f"{receiver.url}/c", active=False)
    breach(scene.running())
    announce_alerts(after(40))
    send_due(after(40))
    (body,) = receiver.bodies
    signed = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert receiver.headers[0]["X-Upgrade-Signature"] == f"sha256={signed}"


def test_a_receiver_that_fails_gets_the_same_event_again_later(scene, receiver, settings):
    settings.ALERT_EVENT_URLS = [receiver.url]
    receiver.answers = [500, 503]
    breach(scene.running())
    announce_to_machines(after(40))
    at = after(40)
    assert send_due(at) == 0
    assert Delivery.objects.get(channel="webhook").last_error == "answered 500"
    assert claim_due(at + timedelta(seconds=WAITS[0] - 1)) == []
    at += timedelta(seconds=WAITS[0])
    assert send_due(at) == 0
    at += timedelta(seconds=WAITS[1])
    assert send_due(at) == 1
    assert len(set(receiver.bodies)) == 1
    assert len(receiver.bodies) == 3
    row = Delivery.objects.get(channel="webhook")
    assert (row.attempts, row.delivered_at) == (3, at)


def test_a_receiver_that_is_not_there_is_written_down_and_given_up_at_last(scene, settings):
    settings.ALERT_EVENT_URLS = [f"http://127.0.0.1:{free_port()}"]
    breach(scene.running())
    announce_to_machines(after(40))
    row = Delivery.objects.get(channel="webhook")
    at = after(40)
    for wait in (*WAITS, 0):
        deliver([row.pk], now=at)
        at += timedelta(seconds=wait)
    row = Delivery.objects.get(pk=row.pk)
    assert row.outcome() == "given up"
    assert "ClientConnectorError" in row.last_error
    assert claim_due(at + timedelta(days=1)) == []


def test_an_address_that_is_not_open_is_not_reached_and_the_delivery_says_why(
    scene, receiver, settings, tmp_path
):
    settings.ALERT_EVENT_URLS = [receiver.url, "http://169.254.169.254/latest/meta-data/"]
    settings.OUTBOUND_FILE = tmp_path / "outbound.yaml"
    breach(scene.running())
    announce_to_machines(after(40))
    assert send_due(after(40)) == 0
    here, metadata = Delivery.objects.order_by("target")
    assert "this is this machine itself (loopback); an administrator opens" in here.last_error
    assert "metadata service" in metadata.last_error
    assert receiver.bodies == []


def test_a_secret_that_cannot_be_opened_sends_nothing_unsigned(scene, receiver, settings, tmp_path):
    settings.SEALING_KEYS_FILE = tmp_path / "sealing_keys"
    pager = Endpoint(name="pager", url=f"{receiver.url}/a")
    pager.keep_secret("s3cret-of-the-pager")
    pager.save()
    Endpoint.objects.create(name="open", url=f"{receiver.url}/b")
    settings.SEALING_KEYS_FILE.unlink()
    breach(scene.running())
    announce_to_machines(after(40))
    assert send_due(after(40)) == 1
    told = Delivery.objects.get(endpoint=pager)
    assert told.last_error.startswith("its secret cannot be opened: none of the keys")
    assert len(receiver.bodies) == 1
    assert "X-Upgrade-Signature" not in receiver.headers[0]


def test_a_redirect_is_not_followed(scene, receiver, settings):
    settings.ALERT_EVENT_URLS = [receiver.url]
    receiver.answers = [302]
    breach(scene.running())
    announce_alerts(after(40))
    send_due(after(40))
    assert len(receiver.bodies) == 1
    assert Delivery.objects.get(channel="webhook").last_error == "answered 302"


def test_what_has_arrived_is_not_sent_twice(scene, receiver, settings):
    settings.ALERT_EVENT_URLS = [receiver.url]
    breach(scene.running())
    announce_alerts(after(40))
    ids = claim_due(after(40))
    deliver(ids, now=after(40))
    deliver(ids, now=after(41))
    assert len(receiver.bodies) == 1


def test_two_watches_never_get_the_same_delivery_but_a_lost_one_comes_back(scene, settings):
    settings.ALERT_EVENT_URLS = ["http://127.0.0.1:9"]
    breach(scene.running())
    announce_alerts(after(40))
    first = claim_due(after(40))
    assert first
    assert claim_due(after(40)) == []
    assert claim_due(after(43.1)) == first


def test_an_alert_is_announced_once_however_often_the_watch_looks(scene, settings):
    settings.ALERT_EVENT_URLS = ["http://127.0.0.1:9"]
    breach(scene.running())
    assert len(announce_alerts(after(40))) == 1
    assert announce_alerts(after(41)) == []
    assert Delivery.objects.filter(channel="webhook").count() == 1


def test_the_watch_only_hands_ids_to_the_paperwork_cluster(scene, receiver, settings):
    from django_q.models import OrmQ

    settings.ALERT_EVENT_URLS = [receiver.url]
    breach(scene.running())
    OrmQ.objects.all().delete()
    chores.hand_out_deliveries(after(40))
    (task,) = OrmQ.objects.all()
    assert task.key == "paperwork"
    assert task.func() == "reports.tasks.deliver"
    assert task.args() == (list(Delivery.objects.order_by("pk").values_list("pk", flat=True)),)
    assert receiver.bodies == []


def test_the_admin_finds_what_did_not_arrive_by_what_it_was_about(scene, client):
    breach(scene.running())
    announce_alerts(after(40))
    given_up, *rest = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=given_up.pk).update(given_up_at=after(41), target="lost@example.org")
    Delivery.objects.filter(pk__in=[row.pk for row in rest]).update(delivered_at=after(41))
    scene.ada.is_staff = scene.ada.is_superuser = True
    scene.ada.save()
    client.force_login(scene.ada)
    where = reverse("admin:reports_delivery_changelist")
    found = client.get(where, {"outcome": "given_up"}).content.decode()
    assert "lost@example.org" in found
    assert "breach of" in found
    assert "lost@example.org" not in client.get(where, {"outcome": "delivered"}).content.decode()
    assert "lost@example.org" not in client.get(where, {"outcome": "waiting"}).content.decode()


def test_an_administrator_sends_again_what_was_given_up(scene):
    breach(scene.running())
    announce_alerts(after(40))
    row = Delivery.objects.filter(channel="mail").first()
    Delivery.objects.filter(pk=row.pk).update(given_up_at=after(41), attempts=11)
    send_again(delivery_id=row.pk, by=scene.ada, now=after(50))
    assert row.pk in claim_due(after(50))
    deliver([row.pk], now=after(50))
    with pytest.raises(HasArrived):
        send_again(delivery_id=row.pk, by=scene.ada, now=after(51))
    with pytest.raises(NotAllowed):
        send_again(delivery_id=row.pk, by=scene.olga, now=after(51))

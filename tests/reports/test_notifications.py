"""Owners are told by e-mail: of the plan, and of the tenants that were touched."""

import pytest
from django.core import mail

from batches.alerting import alerts
from batches.models import Batch, TenantUpgrade
from plans.models import Tenant
from reports.models import Delivery
from reports.telling.announcing import announce_alerts
from reports.telling.deliveries import claim_due, deliver
from tests.reports.scene import after, person

pytestmark = pytest.mark.django_db


def fire(plan, **extra) -> None:
    alerts.fire(
        plan=plan,
        kind="failure_rate",
        sentence="2 of 2 tenants of batch 1 (canary) failed: <100 %>",
        now=after(40),
        batch=Batch.objects.get(plan=plan, number=1),
        **extra,
    )


def send_all() -> None:
    announce_alerts(after(40))
    deliver(claim_due(after(40)), now=after(40))


def touched(plan) -> list[str]:
    return sorted(
        TenantUpgrade.objects.filter(plan=plan).touched().values_list("tenant_key", flat=True)
    )


def test_the_plans_owner_and_each_touched_tenants_owner_get_one_mail(scene):
    plan = scene.running()
    fire(plan)
    send_all()
    expected = {"payments@example.com", *(f"{key}@tenants.example" for key in touched(plan))}
    assert {to for message in mail.outbox for to in message.to} == expected
    assert len(mail.outbox) == len(expected)


def test_an_owner_of_many_tenants_gets_one_mail_that_names_only_theirs(scene):
    plan = scene.running()
    Tenant.objects.update(owner_email="group@tenants.example")
    fire(plan)
    send_all()
    (group,) = [message for message in mail.outbox if message.to == ["group@tenants.example"]]
    first, second = touched(plan)
    assert f"  {first}\n  {second}\n" in group.body
    others = set(scene.tenants) - {first, second}
    assert not any(key in group.body for key in others)


def test_the_mail_says_what_where_and_until_when(scene, settings):
    plan = scene.running()
    fire(plan, payload={"kpi": "error_rate", "value": 9.4, "threshold": 5, "unit": "%"})
    send_all()
    message = next(m for m in mail.outbox if m.to == ["payments@example.com"])
    assert message.subject == "[ALERT] failure rate: payments 1.5.0, batch canary (CHG-1)"
    assert "2 of 2 tenants of batch 1 (canary) failed: <100 %>" in message.body
    assert "Upgrade:   payments from 1.4.2 to 1.5.0" in message.body
    assert "Measured:  9.4 %, limit 5 %" in message.body
    assert f"{settings.CONSOLE_URL}/plans/{plan.pk}/" in message.body
    assert "you own this plan" in message.body


def test_the_html_part_says_the_same_and_escapes_it(scene):
    fire(scene.running())
    send_all()
    html, kind = mail.outbox[0].alternatives[0]
    assert kind == "text/html"
    assert "failed: &lt;100 %&gt;" in html


def test_the_end_of_an_alert_is_told_too(scene):
    plan = scene.running()
    fire(plan)
    send_all()
    mail.outbox.clear()
    alerts.resolve_all(plan=plan, now=after(45))
    announce_alerts(after(45))
    deliver(claim_due(after(45)), now=after(45))
    assert mail.outbox[0].subject.startswith("[over] failure rate: payments 1.5.0")


def test_without_a_named_owner_the_author_is_told(scene):
    plan = scene.running()
    type(plan).objects.filter(pk=plan.pk).update(owner_email="")
    fire(plan)
    send_all()
    assert ["mara@example.com"] in [message.to for message in mail.outbox]


def test_an_alert_without_a_plan_reaches_the_administrators_alone(scene):
    person("Gregor", console="administrator", is_active=False)
    alerts.fire(plan=None, kind="trail_broken", sentence="event 7 was changed", now=after(40))
    send_all()
    (message,) = mail.outbox
    assert message.to == [scene.ada.email]
    assert "Keep a copy of the database" in message.body
    assert "you administer this console" in message.body


def test_who_owns_tenants_alone_is_not_told_what_to_do(scene):
    fire(scene.running())
    send_all()
    advised = {to for message in mail.outbox for to in message.to if "To do:" in message.body}
    assert advised == {"payments@example.com"}


def test_a_mail_server_that_is_away_costs_nothing_but_time(scene, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    fire(scene.running())
    send_all()
    row = Delivery.objects.filter(channel="mail").first()
    assert row.outcome() == "waiting"
    assert row.last_error.startswith("mail server:")
    assert row.next_at > after(40)

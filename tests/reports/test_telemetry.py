"""The console's own metrics: the agreed names, read from the database at each scrape."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batches.alerting import alerts
from batches.models import Batch, Heartbeat, Rollback, RollbackDrill, TenantUpgrade
from batches.rollout import control
from reports.telemetry import exposition
from tests.reports.scene import after

pytestmark = pytest.mark.django_db


def samples(now=None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(now or after(60)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(name: str, now=None, **labels: str) -> float | None:
    return samples(now).get((name, tuple(sorted(labels.items()))))


def rolled_back(plan, *, seconds: float | None, trigger: str = "breach") -> Rollback:
    start = after(40)
    return Rollback.objects.create(
        plan=plan,
        scope="plan",
        trigger=trigger,
        reason="because",
        via="watch",
        triggered_at=start,
        clock_from=start,
        deadline=start + timedelta(seconds=180),
        verified_at=start + timedelta(seconds=seconds) if seconds is not None else None,
        finished_at=start + timedelta(seconds=seconds or 170),
    )


def test_the_success_rate_counts_what_was_read_back_on_target(scene):
    plan = scene.running()
    first = TenantUpgrade.objects.filter(plan=plan).touched().first()
    assert value("version_upgrade_success_rate", plugin="payments") == 1.0
    TenantUpgrade.objects.filter(pk=first.pk).update(version_observed="1.4.2")
    assert value("version_upgrade_success_rate", plugin="payments") == 0.5


@pytest.mark.parametrize("state", ["rolled_back", "excluded", "needs_hand", "failed"])
def test_a_touched_tenant_that_is_not_upgraded_counts_against_the_rate(scene, state):
    plan = scene.running()
    first = TenantUpgrade.objects.filter(plan=plan).touched().first()
    TenantUpgrade.objects.filter(pk=first.pk).update(state=state)
    assert value("version_upgrade_success_rate", plugin="payments") == 0.5


def test_a_tenant_that_nobody_called_or_whose_call_runs_does_not_count(scene):
    plan = scene.running()
    first = TenantUpgrade.objects.filter(plan=plan).touched().first()
    TenantUpgrade.objects.filter(pk=first.pk).update(state="upgrading")
    assert value("version_upgrade_success_rate", plugin="payments") == 1.0


def test_the_rate_forgets_after_thirty_days(scene):
    scene.running()
    late = after(60) + timedelta(days=31)
    assert value("version_upgrade_success_rate", late, plugin="payments") is None


def test_the_batch_histogram_counts_minutes_of_calling_not_of_soaking(scene):
    plan = scene.running()
    Batch.objects.filter(plan=plan, number=1).update(
        calling_since=after(31), calls_done_at=after(35), ended_at=after(300)
    )
    name = "version_upgrade_batch_duration_minutes_bucket"
    assert value(name, plugin="payments", le="2") == 0
    assert value(name, plugin="payments", le="5") == 1
    assert value("version_upgrade_batch_duration_minutes_sum", plugin="payments") == 4


def test_the_rollback_histogram_has_the_promise_as_a_bound(scene):
    plan = scene.running()
    rolled_back(plan, seconds=179.9)
    rolled_back(plan, seconds=180.1)
    name = "version_rollback_duration_ms_bucket"
    labels = {"plugin": "payments", "trigger": "breach"}
    assert value(name, le="120000", **labels) == 0
    assert value(name, le="180000", **labels) == 1
    assert value(name, le="300000", **labels) == 2
    assert 'le="180000"' in exposition(after(60)).decode()


def test_a_rollback_that_left_tenants_to_people_is_never_within_any_bound(scene):
    rolled_back(scene.running(), seconds=None, trigger="person")
    name = "version_rollback_duration_ms_bucket"
    labels = {"plugin": "payments", "trigger": "person"}
    assert value(name, le="600000", **labels) == 0
    assert value(name, le="+Inf", **labels) == 1


def test_drills_are_told_by_deployer_fault_and_outcome(scene):
    plan = scene.running()
    for number, (outcome, seconds) in enumerate(
        [("passed", 41.0), ("failed", 200.0), ("failed", None), ("cut_short", None)]
    ):
        RollbackDrill.objects.create(
            kind="plan",
            plan=plan,
            deployer="fleet",
            phase="ended",
            started_at=after(40 + number),
            clock_from=after(40 + number),
            ended_at=after(41 + number),
            limit_seconds=180,
            seconds=seconds,
            outcome=outcome,
        )
    name = "version_rollback_drill_seconds_bucket"
    labels = {"deployer": "fleet", "inject": "none"}
    assert value(name, le="60", **labels) == 1
    assert value(name, le="180", **labels) == 1
    assert value(name, le="300", **labels) == 2
    assert value(name, le="+Inf", **labels) == 3
    assert value("version_rollback_drill_total", outcome="failed") == 2
    last = value("version_rollback_drill_last_success_timestamp_seconds", deployer="fleet")
    assert last == after(41).timestamp()


def test_a_rehearsal_is_no_rollback_of_the_plugin(scene):
    plan = scene.running()
    rolled_back(plan, seconds=41)
    RollbackDrill.objects.create(
        kind="rehearsal",
        plan=plan,
        deployer="fleet",
        phase="plan",
        started_at=after(40),
        clock_from=after(40),
        limit_seconds=180,
    )
    labels = {"plugin": "payments", "trigger": "breach"}
    assert value("version_rollback_duration_ms_bucket", le="+Inf", **labels) is None


def test_alerts_are_counted_by_kind_also_when_they_are_over(scene):
    plan = scene.running()
    alerts.fire(plan=plan, kind="breach", sentence="x", now=after(40))
    alerts.resolve_all(plan=plan, now=after(41))
    alerts.fire(plan=plan, kind="breach", sentence="y", now=after(42))
    assert value("version_upgrade_alert_total", kind="breach") == 2


def test_pauses_are_counted_by_who_paused(scene):
    plan = scene.running()
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=after(40), via="page")
    assert value("version_upgrade_paused_total", by="person") == 1
    assert value("version_upgrade_paused_total", by="console") == 0


def test_the_age_of_the_watch_is_absent_until_one_was_heard_of(scene):
    assert value("version_upgrade_watch_age_seconds") is None
    Heartbeat.objects.create(name="watch", kind="watch", at=after(59), tick_ms=4)
    assert value("version_upgrade_watch_age_seconds") == 60


def test_metrics_are_for_this_machine_or_for_the_token(scene, client, settings):
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 403
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert client.get("/metrics", headers={name: "10.0.0.7"}).status_code == 403
    settings.METRICS_TOKEN = "scrape-me"
    assert client.get("/metrics").status_code == 403
    given = {"headers": {"Authorization": "Bearer scrape-me"}, "REMOTE_ADDR": "10.0.0.7"}
    assert client.get("/metrics", **given).status_code == 200
    wrong = {"headers": {"Authorization": "Bearer scrape-m"}, "REMOTE_ADDR": "10.0.0.7"}
    assert client.get("/metrics", **wrong).status_code == 403
    assert client.get("/metrics", REMOTE_ADDR="").status_code == 403


@pytest.mark.parametrize("served", ["https://upgrades.example.org", "http://10.0.0.7:8000"])
def test_a_console_that_others_reach_tells_nobody_without_a_token(scene, client, settings, served):
    """A proxy on its machine that says nothing of itself looks as this machine does."""
    settings.CONSOLE_URL = served
    answer = client.get("/metrics")
    assert answer.status_code == 403
    assert b"UPGRADECONSOLE_METRICS_TOKEN is set" in answer.content
    settings.CONSOLE_URL, settings.TRUSTED_PROXIES = "http://localhost:8000", 1
    assert client.get("/metrics").status_code == 403


def test_a_scrape_costs_the_same_number_of_queries_for_one_plan_or_none(
    scene, django_assert_max_num_queries
):
    scene.running()
    with django_assert_max_num_queries(12):
        exposition(after(60))


def test_quotes_are_compared_with_what_was_measured_per_deployer(scene):
    plan = scene.running()
    record = rolled_back(plan, seconds=30)
    Rollback.objects.filter(pk=record.pk).update(touched=3, quote_seconds=40, expected_seconds=25)
    name = "version_rollback_quote_ratio_bucket"
    deployer = plan.deployer
    assert value(name, deployer=deployer, quote="worst", le="0.75") == 1
    assert value(name, deployer=deployer, quote="worst", le="0.67") == 0
    assert value(name, deployer=deployer, quote="expected", le="1") == 0
    assert value(name, deployer=deployer, quote="expected", le="1.25") == 1

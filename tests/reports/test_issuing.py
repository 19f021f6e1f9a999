"""A report comes by itself for every ending of a plan: once, whole, and checkable."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import rfc8785
from django_q.models import OrmQ

from batches.models import Batch, KpiSample, Rollback, TenantUpgrade
from batches.rollback import aftermath
from batches.rollback.back_in_band import Aftermath, KpiAfter
from batches.rollback.ending import finish
from batches.rollback.rollback import request_rollback
from plans.approvals import approval
from plans.chain import link
from plans.models import ZERO_HASH, Event, Plan, Stream, Tenant
from reports import chores, pdf
from reports.handing_out import (
    CouldNotBeMade,
    HasNotEnded,
    NotAsIssued,
    content,
    report_of,
)
from reports.issuing import anything_due, due_reports, issue_report
from reports.models import UpgradeReport
from reports.reading.facts import plan_facts, trail_lines
from tests.reports.scene import after, completed, taken_back

pytestmark = pytest.mark.django_db


def words_in(file: bytes, tmp_path: Path) -> str:
    path = tmp_path / "one.pdf"
    path.write_bytes(file)
    return subprocess.run(
        ["pdftotext", "-layout", str(path), "-"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_plan_that_was_taken_back_gets_a_report_with_its_numbers(scene, tmp_path):
    plan = taken_back(scene)
    report = issue_report(plan_id=plan.pk, now=after(42))
    text = words_in(content(report), tmp_path)
    assert "41.0 s of 180 s" in text
    assert "Aram <aram@example.com>" in text
    assert "Sona <sona@example.com>" in text
    assert "error_rate 9.4 % is over its limit of 5 %" in text
    assert "every link holds" in text
    assert "owner of the change" in text.lower()


def test_the_report_is_hashed_and_the_trail_says_so(scene):
    plan = taken_back(scene)
    report = issue_report(plan_id=plan.pk, now=after(42))
    assert report.sha256 == hashlib.sha256(content(report)).hexdigest()
    event = Event.objects.filter(stream__key=plan.stream_key).latest("seq")
    assert event.kind == "report_issued"
    assert event.payload["sha256"] == report.sha256
    assert event.payload["data_digest"] == report.data_digest


def test_the_same_ending_is_reported_once_however_often_it_is_asked_for(scene):
    plan = taken_back(scene)
    first = issue_report(plan_id=plan.pk, now=after(42))
    second = issue_report(plan_id=plan.pk, now=after(55))
    assert second.pk == first.pk
    assert after(42) < first.issued_at == second.issued_at < after(55)
    assert UpgradeReport.objects.count() == 1
    assert Event.objects.filter(kind="report_issued").count() == 1


def test_a_running_plan_has_no_report(scene):
    with pytest.raises(HasNotEnded, match="its report comes when it ends"):
        issue_report(plan_id=scene.running().pk, now=after(42))
    assert not UpgradeReport.objects.exists()


@pytest.mark.parametrize("ending", ["rejected", "cancelled", "expired"])
def test_a_plan_that_never_ran_is_reported_too(scene, ending, tmp_path):
    if ending == "rejected":
        plan = scene.rejected()
    else:
        plan = scene.draft()
        approval.submit(plan_id=plan.pk, by=scene.mara, now=after(5), via="page")
        if ending == "cancelled":
            plan = approval.cancel(
                plan_id=plan.pk, by=scene.mara, reason="no need", now=after(6), via="page"
            )
        else:
            plan = approval.expire(plan_id=plan.pk, now=after(100))
    assert due_reports(after(101)) == [plan.pk]
    report = issue_report(plan_id=plan.pk, now=after(101))
    text = words_in(content(report), tmp_path)
    assert "No tenant was touched." in text
    assert "The plan was never started." in text


def test_a_draft_that_was_thrown_away_is_not_reported(scene):
    plan = scene.draft()
    approval.cancel(plan_id=plan.pk, by=scene.mara, reason="typo", now=after(6), via="page")
    assert due_reports(after(7)) == []


def test_due_is_each_ended_plan_until_it_has_its_report(scene):
    plan = taken_back(scene)
    assert anything_due(after(42))
    assert due_reports(after(42)) == [plan.pk]
    issue_report(plan_id=plan.pk, now=after(42))
    assert not anything_due(after(60))
    assert due_reports(after(60)) == []


def test_a_claimed_report_is_not_given_out_twice_but_a_lost_one_comes_back(scene):
    plan = taken_back(scene)
    assert due_reports(after(42)) == [plan.pk]
    assert due_reports(after(42.1)) == []
    assert due_reports(after(45)) == [plan.pk]


def test_a_plan_taken_back_after_completion_gets_a_second_report(scene):
    plan = completed(scene)
    first = issue_report(plan_id=plan.pk, now=after(51))
    assert due_reports(after(52)) == []
    record = request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="customer calls", now=after(60), via="page"
    )
    TenantUpgrade.objects.filter(plan=plan, touched_at__isnull=False).update(
        state="rolled_back", restored_at=after(61)
    )
    finish(rollback_id=record.pk, now=after(61))
    assert due_reports(after(62)) == [plan.pk]
    second = issue_report(plan_id=plan.pk, now=after(62))
    assert (first.state, second.state) == ("completed", "rolled_back")
    assert content(first) != content(second)


def test_a_completion_that_is_taken_back_before_its_report_was_made_is_told_by_the_next(scene):
    plan = completed(scene)
    assert due_reports(after(51)) == [plan.pk]
    record = request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="customer calls", now=after(52), via="page"
    )
    # The claim has run out, yet the plan has no ending now that could be reported.
    assert not anything_due(after(56))
    assert due_reports(after(56)) == []
    TenantUpgrade.objects.filter(plan=plan, touched_at__isnull=False).update(
        state="rolled_back", restored_at=after(57)
    )
    finish(rollback_id=record.pk, now=after(58))
    assert due_reports(after(59)) == [plan.pk]
    assert issue_report(plan_id=plan.pk, now=after(59)).state == "rolled_back"
    assert not anything_due(after(70))
    assert UpgradeReport.objects.count() == 1


def test_putting_a_plan_away_at_once_does_not_outrun_its_report(scene):
    plan = completed(scene)
    approval.archive(plan_id=plan.pk, by=scene.mara, now=after(51), via="page")
    assert due_reports(after(52)) == [plan.pk]


def test_the_watch_only_enqueues_the_plans_id_on_the_paperwork_cluster(scene):
    plan = taken_back(scene)
    OrmQ.objects.all().delete()
    chores.hand_out_reports(after(42))
    chores.hand_out_reports(after(42))
    (task,) = OrmQ.objects.all()
    assert task.key == "paperwork"
    assert task.func() == "reports.tasks.issue_report"
    assert task.args() == (str(plan.pk),)


def test_a_missing_engine_is_said_kept_and_tried_again(scene, monkeypatch):
    plan = taken_back(scene)
    monkeypatch.setattr(pdf, "PASSED_ON", ())
    monkeypatch.setattr(pdf.sys, "executable", "/bin/false")
    report = issue_report(plan_id=plan.pk, now=after(42))
    assert not report.ready
    assert "The PDF process ended with 1" in report.error
    with pytest.raises(CouldNotBeMade, match="ended with 1"):
        report_of(Plan.objects.get(pk=plan.pk))
    assert due_reports(after(42)) == []
    monkeypatch.undo()
    assert due_reports(after(43)) == [plan.pk]
    assert issue_report(plan_id=plan.pk, now=after(43)).ready


def test_a_file_that_was_changed_is_not_handed_out(scene, settings):
    report = issue_report(plan_id=taken_back(scene).pk, now=after(42))
    path = Path(settings.REPORTS_DIR) / report.file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NotAsIssued, match="was changed after it was issued"):
        content(report)
    path.unlink()
    with pytest.raises(NotAsIssued, match="is gone"):
        content(report)


def test_the_attached_trail_leads_to_the_printed_head_hash(scene):
    plan = taken_back(scene)
    facts = plan_facts(plan.pk, cut_off=after(42))
    head = ZERO_HASH
    for line in trail_lines(facts).splitlines():
        body = json.loads(line)
        assert rfc8785.dumps(body).decode() == line
        head = link(head, body)
    assert head == facts.trail.head_hash
    assert head == Stream.objects.get(key=plan.stream_key).head_hash


def test_a_report_of_a_forged_trail_says_so(scene, django_db_blocker):
    from django.db import connection

    plan = taken_back(scene)
    event = Event.objects.get(stream__key=plan.stream_key, kind="plan_started")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = cursor.fetchall()
        for name, _sql in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute("UPDATE plans_event SET sentence = 'x' WHERE id = %s", [event.pk])
    facts = plan_facts(plan.pk, cut_off=after(42))
    assert not facts.trail.intact
    assert facts.trail.finding == f"an event was changed at event {event.seq}"
    assert facts.trail.events[-1].kind == "rollback_finished"


def test_the_facts_hold_what_the_tables_hold(scene):
    plan = taken_back(scene)
    facts = plan_facts(plan.pk, cut_off=after(42))
    assert facts.from_versions == ("1.4.2",)
    assert facts.release.plugin == "payments"
    assert str(facts.owner) == "Payments team <payments@example.com>"
    assert [batch.name for batch in facts.batches] == ["canary", "rest"]
    assert {t.owner for t in facts.tenants} == {f"{k}@tenants.example" for k in scene.tenants}
    assert {t.state for t in facts.touched} == {"rolled_back"}
    (rollback,) = facts.rollbacks
    assert (rollback.measured_seconds, rollback.limit_seconds) == (41.0, 180.0)
    assert [v.role for v in facts.requests[0].verdicts] == ["system_admin", "role_admin"]
    assert any("state" in line for change in facts.field_changes for line in change.changes)


def test_the_charts_show_the_looks_that_were_stored(scene):
    plan = taken_back(scene)
    for minute, (bad, ok) in enumerate([(1, True), (0, False), (9, True)]):
        look = {
            "kpi": "error_rate",
            "at": after(32 + minute).isoformat(),
            "source": "fleet",
            "ok": ok,
            "sentence": "",
            "causes": {},
            "canary": {"acorn": ["r", bad, 60], "birch": ["r", 0, 40]} if ok else {},
            "control": {"cedar": ["r", 2, 100]} if ok else {},
            "bounds": [],
        }
        KpiSample.objects.create(
            plan=plan,
            kpi="error_rate",
            at=after(32 + minute),
            source="fleet",
            ok=ok,
            cause="" if ok else "timeout",
            look=look,
        )
    (kpi,) = plan_facts(plan.pk, cut_off=after(42)).kpis
    assert [(p.value, p.control, p.cause) for p in kpi.points] == [
        (1.0, 2.0, ""),
        (None, None, "timeout"),
        (9.0, 2.0, ""),
    ]
    assert (kpi.looks, kpi.blind, kpi.source, kpi.unit) == (3, 1, "fleet", "%")
    assert [limit.value for limit in kpi.limits] == [5.0]


def test_facts_cost_the_same_number_of_queries_for_many_tenants(
    scene, django_assert_max_num_queries
):
    plan = taken_back(scene)
    extra = [Tenant(key=f"extra-{n}") for n in range(500)]
    Tenant.objects.bulk_create(extra)
    TenantUpgrade.objects.bulk_create(
        TenantUpgrade(
            plan=plan,
            batch=Batch.objects.get(plan=plan, number=2),
            tenant=tenant,
            tenant_key=tenant.key,
            position=n,
        )
        for n, tenant in enumerate(extra)
    )
    with django_assert_max_num_queries(34):
        plan_facts(plan.pk, cut_off=after(42))


def test_the_report_is_issued_again_when_it_is_known_what_followed_the_rollback(scene, tmp_path):
    plan = taken_back(scene)
    first = issue_report(plan_id=plan.pk, now=after(42))
    assert "issued again when that is known" in " ".join(words_in(content(first), tmp_path).split())
    assert due_reports(after(43)) == []
    rollback = Rollback.objects.get(plan=plan)
    assert rollback.aftermath == "watching"
    kpi = KpiAfter("error_rate at_most 5", "error_rate", "still_bad", "", True, 9.4, 5.0, "%", 400)
    found = Aftermath("still_bad", "Rolled back, still bad: error_rate 9.4 %.", (kpi,))
    aftermath.end(rollback_id=rollback.pk, found=found, now=after(57))
    assert due_reports(after(57.1)) == [plan.pk]
    # Until the second is made, the first one stands.
    assert report_of(plan).pk == first.pk
    second = issue_report(plan_id=plan.pk, now=after(57.2))
    assert (second.ending, report_of(plan).pk) == (after(57), second.pk)
    text = " ".join(words_in(content(second), tmp_path).split())
    assert "rolled back, still bad" in text.lower()
    assert "error_rate at_most 5" in text
    assert due_reports(after(58)) == []
    assert UpgradeReport.objects.count() == 2

"""Where people and machines get a report: the list, the download, the API."""

import hashlib
import uuid

import pytest
from django.utils import timezone

from plans.models import Plan, RoleBinding
from plans.people.machine_access import make_token
from reports.handing_out import InTheMaking, download_name, report_of
from reports.issuing import due_reports, issue_report
from reports.models import UpgradeReport
from tests.reports.scene import after, completed, taken_back

pytestmark = pytest.mark.django_db


def test_the_page_downloads_the_issued_file_under_a_telling_name(scene, client):
    plan = taken_back(scene)
    report = issue_report(plan_id=plan.pk, now=after(42))
    client.force_login(scene.rita)
    answer = client.get(f"/plans/{plan.pk}/report.pdf")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == (
        'attachment; filename="upgrade-report-CHG-1-20261123T094041Z.pdf"'
    )
    assert hashlib.sha256(answer.content).hexdigest() == report.sha256
    assert client.get(f"/reports/{report.pk}.pdf").content == answer.content


def test_before_the_report_is_ready_the_page_says_what_is_going_on(scene, client):
    plan = taken_back(scene)
    client.force_login(scene.rita)
    answer = client.get(f"/plans/{plan.pk}/report.pdf")
    assert answer.status_code == 202
    assert answer["Retry-After"] == "2"
    assert b"The report is being made" in answer.content
    due_reports(after(42))
    UpgradeReport.objects.update(error="No font is installed. Run: apt install fonts-dejavu-core")
    answer = client.get(f"/plans/{plan.pk}/report.pdf")
    assert answer.status_code == 503
    assert b"apt install fonts-dejavu-core" in answer.content


def test_strangers_and_the_unknown_get_nothing(scene, client):
    plan = taken_back(scene)
    report = issue_report(plan_id=plan.pk, now=after(42))
    assert client.get(f"/plans/{plan.pk}/report.pdf").status_code == 302
    assert client.get("/reports/").status_code == 302
    client.force_login(scene.nils)
    assert client.get(f"/plans/{plan.pk}/report.pdf").status_code == 404
    assert client.get(f"/reports/{report.pk}.pdf").status_code == 404
    assert client.get("/reports/").status_code == 403
    client.force_login(scene.rita)
    assert client.get(f"/reports/{uuid.uuid4()}.pdf").status_code == 404
    assert client.post(f"/plans/{plan.pk}/report.pdf").status_code == 405


def test_the_list_shows_reports_and_failures_to_those_who_may_see_the_plan(scene, client):
    plan = taken_back(scene)
    issue_report(plan_id=plan.pk, now=after(42))
    client.force_login(scene.rita)
    page = client.get("/reports/").content.decode()
    assert "CHG-1" in page
    assert "payments 1.5.0" in page
    RoleBinding.objects.filter(user=scene.rita).update(selector={"region": "mars"})
    assert "CHG-1" not in client.get("/reports/").content.decode()


def test_the_api_hands_out_the_same_file_or_says_why_not(scene, client):
    plan = taken_back(scene)
    made = make_token(user=scene.rita, name="t", days=1, by=None, now=timezone.now(), via="command")
    bearer = {"Authorization": f"Bearer {made.secret}", "Accept": "application/pdf"}
    address = f"/api/v1/plans/{plan.external_id}/report.pdf"
    assert client.get(address, headers=bearer).status_code == 202
    report = issue_report(plan_id=plan.pk, now=after(42))
    answer = client.get(address, headers=bearer)
    assert hashlib.sha256(answer.content).hexdigest() == report.sha256
    assert client.get(address).status_code in {401, 403}
    Plan.objects.filter(pk=plan.pk).update(state="running")
    refused = client.get(address, headers=bearer)
    assert refused.status_code == 409
    assert refused.json()["code"] == "not_ended"


def test_a_report_of_an_earlier_ending_is_not_passed_off_as_the_latest(scene):
    plan = completed(scene)
    issue_report(plan_id=plan.pk, now=after(51))
    Plan.objects.filter(pk=plan.pk).update(state="rolled_back", ended_at=after(61))
    with pytest.raises(InTheMaking):
        report_of(Plan.objects.get(pk=plan.pk))


def test_a_name_from_outside_cannot_leave_the_file_name(scene):
    plan = taken_back(scene)
    report = issue_report(plan_id=plan.pk, now=after(42))
    name = download_name(report, '../../etc/"passwd"\r\nX: y')
    assert name == "upgrade-report-etc--passwd---X--y-20261123T094041Z.pdf"

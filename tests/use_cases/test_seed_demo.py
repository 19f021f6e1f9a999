"""The demonstration: what a stranger finds in a console that was started for the first time."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from batches.evidence.soak_outlook import kept_outlook
from batches.history import kpi_history
from plans.approvals.approval import ApproverIsAuthor, approve
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Installation, Plan, PlanTenant, Release, Tenant, User
from plans.people.permissions import may
from plans.releases.registering import verify_again
from upgradeconsole.config_file import ConfigFile
from upgradeconsole.demo.releases import BASELINE, digest_of
from upgradeconsole.demo.seed import PLANS, PLUGIN
from upgradeconsole.demo.traffic import Traffic


@pytest.fixture
def data(db, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data folder of a console without any people."""
    settings.DATA_DIR = tmp_path
    # What the settings make of a folder in which there is no file of its own yet.
    for name in ("DEPLOYERS_FILE", "DICTIONARY_FILE"):
        example = getattr(settings, name).example
        file = ConfigFile(own=tmp_path / "config" / example.name, example=example)
        setattr(settings, name, file)
    monkeypatch.setenv("UPGRADECONSOLE_FLEET_PORT", "9755")
    return tmp_path


@pytest.fixture
def seeded(data: Path) -> Path:
    call_command("seed_demo", verbosity=0)
    return data


def now() -> datetime:
    return datetime.now(UTC)


def person(name: str) -> User:
    return User.objects.get(email=f"{name}@example.org")


def test_everybody_of_the_list_can_log_in_and_nobody_else_can_read_it(seeded):
    file = seeded / "demo-logins.txt"
    lines = [line.split("  ") for line in file.read_text().splitlines()]
    logins = [[part.strip() for part in line if part] for line in lines]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {email for _role, email, _password in logins} == set(
        User.objects.values_list("email", flat=True)
    )
    assert all(
        User.objects.get(email=email).check_password(password)
        for _role, email, password in logins[:2]
    )
    assert len({password for _role, _email, password in logins}) == len(logins) == 6


def test_each_person_may_do_what_their_title_says(seeded):
    assert may(person("mara"), "draft")
    assert may(person("olga"), "rollback")
    assert not may(person("olga"), "draft")
    assert may(person("rita"), "read_trail")
    assert not may(person("rita"), "pause")
    assert person("ada").is_staff
    assert may(person("ada"), "administer")


def test_the_signing_key_is_for_its_owners_eyes_alone(seeded):
    key = seeded / "keys" / "demo-signing-key.pem"

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_every_tenant_has_an_owner_and_runs_the_version_that_all_start_from(seeded):
    assert Tenant.objects.exclude(owner_name="").exclude(owner_email="").count() == 120
    versions = Installation.objects.filter(plugin__key=PLUGIN).values_list("version", flat=True)
    assert list(versions) == [BASELINE] * 120


def test_the_releases_are_signed_for_the_artifacts_that_the_fleet_knows(seeded):
    releases = {release.version: release for release in Release.objects.all()}

    assert set(releases) == {BASELINE, "1.5.0", "1.5.1", "1.5.2", "1.6.0"}
    for version, release in releases.items():
        assert release.digest == digest_of(version)
        verify_again(release=release, now=now())


def test_four_plans_over_all_tenants_wait_for_both_approvers_and_say_what_will_happen(seeded):
    plans = list(Plan.objects.order_by("external_id"))

    assert [(plan.external_id, str(plan.state)) for plan in plans] == [
        (plan.external_id, "awaiting_approval") for plan in PLANS
    ]
    for plan in plans:
        assert plan.author == person("mara")
        assert PlanTenant.objects.filter(plan=plan, excluded=False).count() == 120
        assert "starts by itself" in plan.note
        request = plan.approval_requests.get()
        assert request.roles == ["system_admin", "role_admin"]
        assert (request.deadline - now()).total_seconds() > 23 * 3600


def test_the_plan_to_try_first_leads_the_list_of_plans_and_that_of_the_approver(seeded):
    first = PLANS[0].external_id

    assert Plan.objects.all()[0].external_id == first
    by_deadline = Plan.objects.order_by("approval_requests__deadline")
    assert by_deadline[0].external_id == first


def test_aram_and_sona_together_approve_and_mara_cannot(seeded):
    plan = Plan.objects.get(external_id=PLANS[0].external_id)

    with pytest.raises(ApproverIsAuthor):
        approve(plan_id=plan.pk, approver=person("mara"), now=now(), via="page")
    approve(plan_id=plan.pk, approver=person("aram"), now=now(), via="page")
    approved = approve(plan_id=plan.pk, approver=person("sona"), now=now(), via="page")

    assert str(approved.state) == "approved"


def test_the_demo_is_in_the_trail_like_everything_else(seeded):
    kinds = set(Event.objects.filter(stream__key="system").values_list("kind", flat=True))

    assert kinds == {"tenants_imported", "key_trusted", "release_registered", "policy_saved"}


def test_the_demo_calls_the_fleet_on_the_port_that_it_was_given(seeded):
    for name in ("deployers.yaml", "version_upgrade_dashboards.json"):
        assert "127.0.0.1:9755" in (seeded / "config" / name).read_text()


def test_what_no_limit_sees_is_found_by_evidence_in_the_canarys_soak(seeded):
    plan = Plan.objects.get(external_id="demo-4-what-no-limit-sees")
    (errors,) = [one for one in kept_outlook(plan) if one["kpi"] == "error_rate"]
    canary = errors["batches"][0]
    two = next(find for find in canary["finds"] if find["percent"] == 2)

    assert 0.4 < canary["usual_percent"] < 0.6
    assert (two["by"], canary["enough"], canary["without_history"]) == ("evidence", True, 0)
    assert 20 < two["seconds"] < canary["soak_seconds"]
    # The limit by itself would have to be 2.5 times lower.
    (rule,) = policy_of(current_revision(plan)).guardrails
    assert rule.at_most == 5


def test_the_past_is_what_the_fleets_own_traffic_makes_of_it(seeded):
    rates = kpi_history.exposure_rates(PLUGIN, "error_rate", ["acorn", "birch"])
    fleet = Traffic(seed="demo", now=0.0)
    for key in ("acorn", "birch"):
        fleet.add(key, BASELINE)
    for key, series in fleet.counted(4 * 3600.0).items():
        assert rates[key][1] == pytest.approx(series.requests, rel=0.02)
    assert kpi_history.standing("error_rate").too_little == ""
    assert kpi_history.standing("error_rate").phi == pytest.approx(1, abs=0.1)
    assert kpi_history.exposure_rates(PLUGIN, "latency_ms", ["acorn"], bound=200)["acorn"][0] < 100


def test_a_console_at_work_is_not_seeded_and_keeps_its_config(data):
    User.objects.create_user("nils@example.org", name="Nils")
    config = data / "config" / "deployers.yaml"
    config.parent.mkdir()
    config.write_text("mine")

    with pytest.raises(CommandError, match="holds people or plans already"):
        call_command("seed_demo")

    assert config.read_text() == "mine"
    assert not (data / "demo-logins.txt").exists()
    assert Plan.objects.count() == 0

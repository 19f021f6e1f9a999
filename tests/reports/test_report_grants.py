"""What a report says of signed approvals and of broken glass."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.management import call_command

from batches.break_glass.acting_alone import break_glass
from batches.break_glass.review import review
from plans.approvals import approval
from plans.models import Grant, RoleBinding
from reports.document.compliance_report import compose, report_json, summary, verdicts
from reports.document.facts_agreed import BrokenGlassFact, GrantFact
from reports.document.grants import grant_statements
from reports.reading.facts import plan_facts
from tests.reports.sample_facts import ARAM, OLGA, SONA, after, completed_facts
from tests.reports.scene import Scene
from tests.reports.test_report_document import said

SIGNED = GrantFact(
    jti="0b0f7c1e",
    action="start",
    batch=None,
    person=ARAM,
    role="system_admin",
    quorum="1of2",
    methods=("pwd", "totp"),
    issued_at=after(22),
    expires_at=after(300),
    consumed_at=after(60),
    op="plan:7:start:r2",
    voided_why="",
    grant={"payload": "e30=", "sig": "c2ln", "kid": "k1"},
    genuine=True,
)
BROKEN = BrokenGlassFact(
    act="start",
    batch=None,
    by=OLGA,
    at=after(58),
    reason="the hole is being used",
    roles=("system_admin", "role_admin"),
    told=(str(ARAM), str(SONA)),
    review_due=after(58 + 24 * 60),
    reviewed_by=None,
    reviewed_at=None,
    verdict="",
    review="",
)


def composed(facts):
    return compose(facts, data_digest="d" * 64)


def test_signed_approvals_are_listed_with_what_used_them():
    facts = replace(completed_facts(), grants=(SIGNED,), grant_keys=(("k1", "cHVi"),))
    people = said(composed(facts), "people")
    assert "plan:7:start:r2" in people
    assert "pwd and totp" in people
    annex = said(composed(facts), "annex-grants")
    assert "sig c2ln" in annex
    assert "kid k1" in annex
    assert "Key k1, public part in base64: cHVi" in annex
    found = dict(grant_statements(facts))
    assert found["The signature of every approval holds."] == "good"
    assert found["No act was done without the approvers."] == "good"


def test_a_signature_that_does_not_hold_is_told_in_red():
    false = replace(SIGNED, genuine=False, finding="The signature does not belong to it.")
    facts = replace(completed_facts(), grants=(false,))
    assert "The signature does not belong to it." in said(composed(facts), "people")
    assert (
        dict(grant_statements(facts))["1 signed approval whose signature does not hold."] == "bad"
    )


def test_an_approval_by_password_alone_is_a_warning():
    facts = replace(completed_facts(), grants=(replace(SIGNED, methods=("pwd",)),))
    assert dict(grant_statements(facts))["1 approval given without a second factor."] == "warn"


def test_broken_glass_is_red_everywhere():
    facts = replace(completed_facts(), broken_glass=(BROKEN,))
    document = composed(facts)
    people = said(document, "people")
    assert "GLASS BROKEN: Olga Petrova <olga@example.com> started the plan" in people
    assert "Reason: the hole is being used" in people
    assert "system_admin, role_admin did not agree; 2 people who could have agreed" in people
    assert "Nobody has reviewed it yet" in people
    assert "GLASS BROKEN" in summary(facts)
    duties = next(v for v in verdicts(facts) if v.label == "Duties")
    assert (duties.value, duties.tone) == ("glass broken", "bad")
    assert dict(grant_statements(facts))["1 act without the approvers (glass broken)."] == "bad"


@pytest.mark.parametrize(
    ("verdict", "minutes", "tone", "late"),
    [
        ("justified", 100, "warn", False),
        ("not_justified", 100, "bad", False),
        ("justified", 58 + 25 * 60, "warn", True),
    ],
)
def test_the_review_is_told_with_its_verdict(verdict, minutes, tone, late):
    reviewed = replace(
        BROKEN, reviewed_by=ARAM, reviewed_at=after(minutes), verdict=verdict, review="Looked."
    )
    facts = replace(completed_facts(), broken_glass=(reviewed,))
    people = said(composed(facts), "people")
    assert f"{verdict.replace('_', ' ')}. Looked." in people
    assert (", late" in people) == late


def test_without_signed_approvals_the_report_says_so():
    assert "No approval of this plan was signed." in said(composed(completed_facts()), "people")


@pytest.mark.django_db
def test_the_facts_come_from_the_rows_and_verify_offline(scene: Scene, tmp_path, capsys):
    plan = scene.running()
    facts = plan_facts(plan.pk, cut_off=plan.created_at + timedelta(hours=2))
    assert [one.person.name for one in facts.grants] == [
        scene.aram.get_full_name(),
        scene.sona.get_full_name(),
    ]
    assert {one.op for one in facts.grants} == {f"plan:{plan.pk}:start:r1"}
    assert all(one.genuine for one in facts.grants)
    assert [kid for kid, _key in facts.grant_keys] == [facts.grants[0].grant["kid"]]
    report = tmp_path / "report.json"
    report.write_text(report_json(facts))
    json.loads(report.read_text())
    call_command("grant_verify", str(report))
    assert "All 2 hold." in capsys.readouterr().out
    Grant.objects.filter(plan=plan).update(sig="AAAA")
    again = plan_facts(plan.pk, cut_off=plan.created_at + timedelta(hours=2))
    assert not any(one.genuine for one in again.grants)


@pytest.mark.django_db
def test_broken_glass_comes_from_the_rows(scene: Scene):
    plan = scene.draft()
    at = plan.created_at
    RoleBinding.objects.create(user=scene.olga, kind=RoleBinding.CONSOLE, role="break_glass")
    approval.submit(plan_id=plan.pk, by=scene.mara, now=at, via="page")
    made = break_glass(
        plan_id=plan.pk, act="start", by=scene.olga, reason="x" * 20, now=at, via="page"
    )
    review(
        break_glass_id=made.pk,
        by=scene.aram,
        verdict="justified",
        comment="Right.",
        now=at,
        via="page",
    )
    (one,) = plan_facts(plan.pk, cut_off=at).broken_glass
    assert (one.act, one.verdict, one.by.email) == ("start", "justified", scene.olga.email)
    assert set(one.told) >= {f"{who.get_full_name()} <{who.email}>" for who in (scene.sona,)}

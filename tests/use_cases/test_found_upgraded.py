"""Tenants that are on the target before any call: people are told, and their way back is kept."""

import pytest

from batches.deployers.base import Observed
from batches.effects.ports import Outcome
from batches.models import Alert, TenantUpgrade
from batches.rollback.rollback import request_rollback
from plans.drafting.old_versions import downgrade_problem
from plans.models import Event, Installation, Release
from reports.document.compliance_report import summary
from reports.reading.facts import plan_facts
from tests.builders import a_started, opened
from tests.use_cases.test_ledger import scope_of, using
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def plan(scene):
    started = a_started(scene)
    opened(started)
    return started


def believed_on(plan, version):
    for row in TenantUpgrade.objects.filter(plan=plan):
        Installation.objects.update_or_create(
            tenant=row.tenant, plugin=plan.plugin, defaults={"version": version}
        )


def found(plan, count):
    """Claim tenants, and see them on the target before anything was sent."""
    scope = scope_of(plan)
    tasks = using(scope, lambda one: one.claim_many(count))
    seen = [Outcome(task, now(), "confirm", Observed(plan.release.version)) for task in tasks]
    using(scope, lambda one: one.record_many(seen))
    return [task.tenant for task in tasks]


def moved(plan):
    return Event.objects.filter(stream__key=f"plan:{plan.pk}", kind="tenants_moved").last()


def test_who_was_believed_elsewhere_is_told_by_name_once(plan):
    believed_on(plan, "1.0.0")
    first = found(plan, 1)
    told = Alert.objects.get(kind="found_upgraded")
    assert told.payload == {"tenants": first, "believed": {first[0]: "1.0.0"}}
    assert f"{first[0]} (believed on 1.0.0) ran 1.5.0 before this plan called" in told.sentence
    assert "1 tenant was on it already and not called" in moved(plan).sentence
    assert moved(plan).payload["found"] == {first[0]: "1.0.0"}

    more = found(plan, 1)
    told.refresh_from_db()
    assert told.payload["tenants"] == sorted(first + more)
    assert all(tenant in told.sentence for tenant in first + more)


@pytest.mark.parametrize("version", ["1.5.0", ""])
def test_who_was_known_to_be_there_or_was_never_seen_is_no_news(plan, version):
    believed_on(plan, version)
    found(plan, 1)
    assert not Alert.objects.exists()
    assert "found" not in moved(plan).payload


def test_what_they_ran_is_their_way_back(plan):
    believed_on(plan, "1.0.0")
    (tenant,) = found(plan, 1)
    installation = Installation.objects.get(tenant__key=tenant)
    assert (installation.version, installation.last_stable_version) == ("1.5.0", "1.0.0")
    old = Release(plugin=plan.plugin, version="1.0.0")
    assert downgrade_problem(old, [installation.tenant_id]) == ""


def test_a_rollback_leaves_them_and_the_report_says_so(plan):
    believed_on(plan, "1.0.0")
    (tenant,) = found(plan, 1)
    record = request_rollback(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")
    assert record.touched == 0
    assert TenantUpgrade.objects.get(tenant_key=tenant).state == "upgraded"
    assert "1 tenant ran 1.5.0 before the plan came and stayed there." in summary(
        plan_facts(plan.pk, cut_off=now())
    )

"""The ledger's statements: made once, asked as of now, with a list of any length as one value."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import CaptureQueriesContext

from batches.deployers.base import Answer
from batches.effects import ledger_statements as statements
from batches.effects.ledger_statements import MOMENT, Question
from batches.effects.ports import CallEnd, CallStart, Task
from batches.models import Batch, DeployerCall, TenantUpgrade
from plans.models import Freeze
from tests.builders import a_started, called, opened
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db


def test_a_question_is_asked_as_of_each_time(scene):
    at = now()
    Freeze.objects.create(
        name="freeze",
        begins_at=at,
        ends_at=at + timedelta(hours=1),
        declared_at=at,
        declared_by=scene.olga,
    )
    in_force = Question(Freeze.objects.in_force(MOMENT).values_list("name"))
    hours = [in_force.ask(at + timedelta(hours=hour)) for hour in (-1, 0, 1)]
    assert [len(rows) for rows in hours] == [0, 1, 0]


def test_the_text_of_a_question_is_made_once_and_its_rows_are_those_of_now(scene, monkeypatch):
    made: list[SQLCompiler] = []
    original = SQLCompiler.as_sql

    def noted(self, *arguments, **more):
        made.append(self)
        return original(self, *arguments, **more)

    monkeypatch.setattr(SQLCompiler, "as_sql", noted)
    plan = a_started(scene)
    calling = Question(Batch.objects.filter(plan=plan, state="deploying").values_list("pk"))
    assert calling.ask() == []
    batch = opened(plan)
    made.clear()
    assert calling.ask() == [(batch.pk,)]
    assert made == []


def test_a_list_of_any_length_is_one_value(scene):
    plan = a_started(scene)
    ids = [*TenantUpgrade.objects.filter(plan=plan).values_list("pk", flat=True)]
    known = TenantUpgrade.objects.filter(
        pk__in=statements.in_list([*ids, *range(10**6, 2 * 10**6)])
    )
    assert {upgrade.pk for upgrade in known} == set(ids)


@pytest.mark.parametrize("tenants", [1, 3])
def test_a_chunk_is_moved_by_the_same_text_whatever_its_size(scene, tenants):
    plan = a_started(scene)
    ids = [*TenantUpgrade.objects.filter(plan=plan).values_list("pk", flat=True)][:tenants]
    with CaptureQueriesContext(connection) as asked:
        assert statements.claim(ids, state="upgrading", fence=7, now=now()) == tenants
        moved = statements.move(
            ids, generation=1, sources=("upgrading",), changes={"state": "failed"}
        )
    assert set(moved) == set(ids)
    assert len(asked) == 2
    rows = TenantUpgrade.objects.filter(pk__in=ids)
    assert set(rows.values_list("state", "generation", "fence")) == {("failed", 1, 7)}


def test_who_is_under_a_newer_intent_or_in_another_state_is_not_moved(scene):
    plan = a_started(scene)
    old, elsewhere, *_ = TenantUpgrade.objects.filter(plan=plan).values_list("pk", flat=True)
    TenantUpgrade.objects.filter(pk=old).update(state="upgrading", generation=2)
    TenantUpgrade.objects.filter(pk=elsewhere).update(state="restoring", generation=1)
    moved = statements.move(
        [old, elsewhere], generation=1, sources=("upgrading",), changes={"state": "failed"}
    )
    assert moved == {}


def test_open_calls_in_one_direction_are_given_up_and_ended_ones_keep_their_end(scene):
    plan = a_started(scene)
    called(opened(plan))
    ids = [*TenantUpgrade.objects.filter(plan=plan).values_list("pk", flat=True)]
    common = {"plan": plan, "upgrade_id": ids[0], "fence": 1, "generation": 9, "started_at": now()}
    kept = {**common, "version": "1", "executor": "hands"}
    DeployerCall.objects.create(**kept, key="open", attempt=1, direction="install")
    DeployerCall.objects.create(**kept, key="back", attempt=1, direction="restore")
    DeployerCall.objects.create(
        **kept, key="ended", attempt=1, direction="install", ended_at=now(), outcome="ok"
    )
    statements.give_up_calls(ids, direction="install", now=now())
    outcomes = DeployerCall.objects.filter(key__in=("open", "back", "ended"))
    assert dict(outcomes.values_list("key", "outcome")) == {
        "open": "unknown",
        "back": "",
        "ended": "ok",
    }


ODD = "50 % of %s \"1.50\" '[1, {}]' \\n \\u0000 … ü 🌲"


@pytest.mark.parametrize("config", [None, {"ü": [1.5, None, "🌲", ODD]}, [], "1", 0, False])
def test_what_a_platform_says_is_kept_as_it_was_said(scene, config):
    plan = a_started(scene)
    pk = TenantUpgrade.objects.filter(plan=plan).values_list("pk", flat=True)[0]
    at = now().replace(microsecond=0)
    task = Task(pk, "acorn", "install", 1, f"key {ODD}", 2**62, "1.50")
    start = CallStart(task, 1, "007", config, ODD)
    ids = statements.journal([start], plan_id=plan.pk, executor="watch", now=at)
    call = DeployerCall.objects.get()
    assert ids == {(task.key, 1): call.pk}
    assert (call.key, call.fence, call.version, call.reason) == (task.key, 2**62, "1.50", ODD)
    assert (call.plan_id, call.started_at, call.ended_at, call.status) == (plan.pk, at, None, None)
    statements.end_calls([CallEnd(call.pk, at, at + timedelta(0.5), Answer("ok", ODD))])
    statements.end_calls([CallEnd(call.pk, at, at, Answer("failed", "too late", 500))])
    call = DeployerCall.objects.get()
    assert (call.outcome, call.status, call.answer) == ("ok", None, ODD)
    assert call.ended_at == at + timedelta(0.5)
    statements.first_touch([pk], version="007", digest="", config=config, now=at)
    statements.first_touch([pk], version="2", digest="x", config={"not": "this"}, now=at)
    (row,) = TenantUpgrade.objects.filter(pk=pk, config_before__isnull=config is None)
    assert (row.version_before, row.config_before, row.touched_at) == ("007", config, at)

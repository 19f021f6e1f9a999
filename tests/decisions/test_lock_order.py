"""The watcher of locks knows a wrong order when it sees one."""

import pytest

from tests.lock_order import locked_by, problem_with

PLAN = 'SELECT "plans_plan"."id" FROM "plans_plan" WHERE "plans_plan"."id" = %s FOR NO KEY UPDATE'


@pytest.mark.parametrize(
    ("sql", "locked"),
    [
        (PLAN, ("plans_plan", False)),
        ('SELECT "id" FROM "batches_batch" LIMIT 1 FOR UPDATE', ("batches_batch", True)),
        ('SELECT "id" FROM "a" FOR NO KEY UPDATE OF "a"', ("a", False)),
        ('UPDATE "batches_rollback" SET "missed_at" = %s', ("batches_rollback", False)),
        ("UPDATE batches_deployercall SET started_at = %s", ("batches_deployercall", False)),
        ('SELECT "id" FROM "plans_plan"', None),
        ('INSERT INTO "plans_event" ("id") VALUES (%s)', None),
    ],
)
def test_a_statement_tells_what_it_locks(sql, locked):
    assert locked_by(sql) == locked


@pytest.mark.parametrize(
    ("before", "table"),
    [
        ([], "plans_plan"),
        (["batches_lease"], "plans_plan"),
        (["plans_plan"], "batches_batch"),
        (["plans_plan", "batches_batch", "plans_stream"], "plans_plan"),
        (["plans_plan", "plans_stream"], "batches_tenantupgrade"),
        ([], "plans_stream"),
        ([], "batches_alert"),
    ],
)
def test_the_plan_first_is_right(before, table):
    assert problem_with(before, table, with_key=False) == ""


@pytest.mark.parametrize(
    ("before", "table", "told"),
    [
        ([], "batches_rollback", "before its plan"),
        (["batches_lease"], "batches_tenantupgrade", "before its plan"),
        (["plans_stream"], "plans_plan", "after plans_stream"),
        (["plans_installation"], "plans_plan", "after plans_installation"),
        (["plans_plan"], "batches_lease", "a lease is locked after"),
    ],
)
def test_anything_else_is_named(before, table, told):
    assert told in problem_with(before, table, with_key=False)


def test_a_lock_that_includes_the_key_is_named_where_others_refer_to_the_row():
    assert "no_key=True" in problem_with([], "plans_plan", with_key=True)
    assert problem_with([], "plans_flag", with_key=True) == ""

"""Triggers that refuse to change or delete an event, on both databases."""

from typing import Any

from django.db import migrations

SQLITE = (
    """
    CREATE TRIGGER plans_event_no_update BEFORE UPDATE ON plans_event
    BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END
    """,
    """
    CREATE TRIGGER plans_event_no_delete BEFORE DELETE ON plans_event
    BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END
    """,
)
POSTGRESQL = (
    """
    CREATE FUNCTION plans_event_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the trail is append-only'; END $$
    """,
    """
    CREATE TRIGGER plans_event_no_change BEFORE UPDATE OR DELETE ON plans_event
    FOR EACH ROW EXECUTE FUNCTION plans_event_refuse()
    """,
    """
    CREATE TRIGGER plans_event_no_truncate BEFORE TRUNCATE ON plans_event
    FOR EACH STATEMENT EXECUTE FUNCTION plans_event_refuse()
    """,
)


def create_triggers(apps: Any, schema_editor: Any) -> None:
    statements = POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE
    for statement in statements:
        schema_editor.execute(statement)


def drop_triggers(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION plans_event_refuse() CASCADE")
        return
    schema_editor.execute("DROP TRIGGER plans_event_no_update")
    schema_editor.execute("DROP TRIGGER plans_event_no_delete")


class Migration(migrations.Migration):
    dependencies = [("plans", "0001_initial")]

    operations = [migrations.RunPython(create_triggers, drop_triggers)]

"""After every address was looked at by everybody, nothing in the database is different."""

import hashlib
from typing import Any

import pytest
from django.db import connection

from tests.web.access_scene import OTHER, OWN
from tests.web.test_access_matrix import ENDPOINTS, asker

__all__ = ["asker"]
pytestmark = pytest.mark.django_db
# When a session was last used, and counts of tries.
MAY_CHANGE = {"django_session", "console_cache", "usersessions_usersession"}
# A try at what somebody may not see is told: by the trail, which nothing else may follow.
TOLD = {"plans_event", "plans_eventaddress", "plans_stream", "plans_refusalcount"}


def contents() -> dict[str, str]:
    """Return a digest of each table."""
    digests = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows = sorted(map(repr, cursor.fetchall()))
            digests[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return digests


def changed(before: dict[str, str]) -> set[str]:
    return {table for table, digest in contents().items() if before.get(table) != digest}


def look(asker: Any, who: Any, side: str) -> int:
    looked = 0
    for name, endpoint in ENDPOINTS.items():
        if "GET" not in endpoint.methods:
            continue
        where = asker.address(name, side, who)
        given = {key: asker.sample(value) for key, value in endpoint.given.items()}
        assert asker.browser(who).get(where, given).status_code < 500 or endpoint.own_is, name
        looked += 1
    return looked


def test_looking_at_everything_changes_nothing(asker):
    people = [asker.scene.ada, asker.scene.people["release_manager"], asker.scene.people["auditor"]]
    for who in people:
        asker.browser(who)
    before = contents()
    assert len(before) > 40
    for who in people:
        assert look(asker, who, OWN) > 50
    assert changed(before) - MAY_CHANGE - TOLD == set()


def test_looking_at_what_is_anothers_changes_nothing_but_the_trail(asker):
    who = asker.scene.people["operator"]
    asker.browser(who)
    before = contents()
    look(asker, who, OTHER)
    assert changed(before) - MAY_CHANGE - TOLD == set()


def test_a_change_would_be_found(asker):
    before = contents()
    asker.scene.ada.name = "Somebody else"
    asker.scene.ada.save()
    assert "plans_user" in changed(before)

"""What all tests share."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from tests.lock_order import LockOrder, watched_locks
from upgradeconsole import known_secrets

LONG_ONES = (
    # Two of its files take longer than any other.
    "simulation",
    "chaos",
    "journeys",
    "processes",
    "test_schema_fuzz.py",
    "test_access_matrix.py",
)


# What `migrate` writes; the tests refer to it and never change it. To have it written again would
# take longer than most tests.
KEPT = ("django_content_type", "auth_permission")


def _empty(test: TransactionTestCase) -> None:
    """Delete every row that a transactional test has left, past the triggers of the trail."""
    triggers = import_module("plans.migrations.0002_trail_is_append_only")
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.schema_editor() as editor:
        if connection.vendor == "postgresql":
            editor.execute("SET LOCAL session_replication_role = replica")
        else:
            triggers.drop_triggers(apps, editor)
        for table in sorted(set(tables) - set(KEPT)):
            editor.execute(f"DELETE FROM {editor.quote_name(table)}")
        if connection.vendor != "postgresql":
            triggers.create_triggers(apps, editor)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the long chaos tests be asked for, and the number of worlds, or one seed, be chosen."""
    parser.addoption("--chaos-long", action="store_true", help="run the long chaos tests too")
    group = parser.getgroup("simulation")
    group.addoption(
        "--worlds", type=int, default=1000, help="how many worlds; from 1000 on with coverage"
    )
    group.addoption("--world-seed", type=int, default=None, help="play only the world of this seed")


def _turn(item: pytest.Item) -> int:
    """Return where the tests of the item's folder or file come."""
    return next((n for n, name in enumerate(LONG_ONES) if name in item.path.parts), len(LONG_ONES))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long; leave the long chaos tests out unless they were asked for."""
    # What takes long and begins late is what everybody waits for at the end.
    items.sort(key=_turn)
    if config.getoption("--chaos-long"):
        return
    long = [item for item in items if item.get_closest_marker("chaos_long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True, scope="session")
def _what_tests_leave_is_deleted() -> Iterator[None]:
    """Let transactional tests delete their rows; Django's flush would truncate every table."""
    original = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = _empty
    yield
    TransactionTestCase._fixture_teardown = original


@pytest.fixture(autouse=True, scope="session")
def _static_files_are_found_once() -> Iterator[None]:
    """Look for the static files once: the middleware is made anew for each client of each test."""
    original = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[str, Any] = {}

    def add_files(self: Any) -> None:
        if not found:
            original(self)
            found.update(self.files)
        self.files.update(found)

    WhiteNoiseMiddleware.add_files_from_finders = add_files
    yield
    WhiteNoiseMiddleware.add_files_from_finders = original


@pytest.fixture(autouse=True, scope="session")
def _nobody_is_left(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End what threads of the tests left open: PostgreSQL drops no database that is in use."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.close()


@pytest.fixture(autouse=True)
def lock_order() -> Iterator[LockOrder]:
    """Fail a test, on PostgreSQL, in which a transaction took its locks in a wrong order."""
    if connection.vendor != "postgresql":
        yield LockOrder()
        return
    with watched_locks() as order:
        yield order
    assert not order.problems, "\n".join(order.problems)


@pytest.fixture(autouse=True)
def _passwords_are_enough(settings: Any) -> None:
    """Let the cast act without second factors, except where a test is about them."""
    settings.REQUIRE_MFA = False
    # One person asks for everything here, and in a minute; test_limits.py sets it.
    settings.API_PER_MINUTE = 0
    # The real hasher takes its time on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, settings: Any) -> None:
    """Keep what a test writes beside the database (reports, mail) out of the checkout."""
    settings.REPORTS_DIR = tmp_path / "reports"
    settings.CONSOLE_KEYS_DIR = tmp_path / "keys"
    settings.AUDIT_ANCHOR_DIR = tmp_path / "anchors"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")


@pytest.fixture(autouse=True)
def _only_this_machine(settings: Any) -> Iterator[None]:
    """Let tests reach servers on this machine, and know no secrets of the test before."""
    settings.OUTBOUND_FILE = Path(__file__).with_name("outbound.yaml")
    yield
    known_secrets.forget_all()

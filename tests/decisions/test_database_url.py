"""A database address is read whole or refused with what to write, and never shows its password."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upgradeconsole.database_url import BadDatabaseUrl, DatabaseAddress, parse_database_url
from upgradeconsole.databases import postgresql, process_kind, sqlite

WHOLE = "postgres://olga:s3cret@db.example.org:6432/console?sslmode=verify-full"


def test_every_part_is_read():
    assert parse_database_url(WHOLE) == DatabaseAddress(
        name="console",
        user="olga",
        password="s3cret",
        host="db.example.org",
        port="6432",
        parameters={"sslmode": "verify-full"},
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("postgresql:///console", "", ""),
        ("postgres://olga@%2Fvar%2Frun%2Fpostgresql/console", "/var/run/postgresql", ""),
        ("postgres:///console?host=/var/run/postgresql&port=5433", "/var/run/postgresql", "5433"),
        ("postgres://[::1]:5432/console", "::1", "5432"),
    ],
)
def test_sockets_and_addresses_are_read(text, host, port):
    address = parse_database_url(text)
    assert (address.name, address.host, address.port) == ("console", host, port)


@given(password=st.text(min_size=1), user=st.text(min_size=1))
def test_any_user_and_password_can_be_written(password, user):
    text = f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@db/console"
    address = parse_database_url(text)
    assert (address.user, address.password) == (user, password)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mysql://olga:s3cret@db/console", "only PostgreSQL"),
        ("console.sqlite3", "only PostgreSQL"),
        ("postgres://olga:s3cret@db", "name one database"),
        ("postgres://olga:s3cret@db/a/b", "name one database"),
        ("postgres://olga:s3cret@db:port/console", "not a number"),
        ("postgres://olga:s3/cret@db/console", "name one database"),
        ("postgres://olga:s3cret@db:99999/console", "not a number"),
        ("postgres://olga:s3cret@[db/console", "cannot be read"),
        ("postgres://olga:s3cret@db/console?sslmode=maybe", "sslmode='maybe'"),
        ("postgres://olga:s3cret@db/console?ssl=on", "'ssl' after '?' is unknown"),
        ("postgres://olga:s3cret@db/console?sslmode=require&sslmode=allow", "given twice"),
        ("postgres://olga:s3cret@db/console?connect_timeout=soon", "connect_timeout='soon'"),
        ("postgres://olga:s3cret@db/console?host=other", "either before"),
        ("postgres://olga:s3cret@db/console#frag", "%23"),
    ],
)
def test_what_would_not_work_is_refused_without_its_password(text, told):
    with pytest.raises(BadDatabaseUrl) as refused:
        parse_database_url(text)
    assert told in str(refused.value)
    assert "s3" not in str(refused.value)
    # Nor does it stand behind the error, where a log would show it.
    assert refused.value.__cause__ is None
    assert "s3cret" not in repr(parse_database_url(WHOLE))


def test_only_web_draws_from_a_pool_and_only_hands_and_watch_keep_connections():
    address = parse_database_url(WHOLE)
    made = {
        kind: postgresql(address, process=kind, pool_size=7)
        for kind in ("web", "watch", "hands", "command")
    }
    assert made["web"]["OPTIONS"]["pool"]["max_size"] == 7
    assert [kind for kind in made if "pool" in made[kind]["OPTIONS"]] == ["web"]
    assert [kind for kind in made if made[kind]["CONN_MAX_AGE"]] == ["watch", "hands"]
    # A migration may wait and run as long as it takes; nothing else may.
    assert "lock_timeout" not in made["command"]["OPTIONS"]["options"]
    assert all(
        "lock_timeout" in made[kind]["OPTIONS"]["options"] for kind in ("web", "watch", "hands")
    )
    assert made["watch"]["OPTIONS"]["sslmode"] == "verify-full"


def test_what_the_address_says_comes_before_the_defaults():
    address = parse_database_url(WHOLE + "&application_name=ours&connect_timeout=2")
    options = postgresql(address, process="watch", pool_size=1)["OPTIONS"]
    assert (options["application_name"], options["connect_timeout"]) == ("ours", "2")


@pytest.mark.parametrize(
    ("arguments", "serves", "kind"),
    [
        (["manage.py", "watch"], False, "watch"),
        (["manage.py", "qcluster"], False, "hands"),
        (["manage.py", "smoke_upgrade", "--json"], False, "watch"),
        (["manage.py", "migrate"], False, "command"),
        (["daphne"], True, "web"),
        ([], False, "command"),
    ],
)
def test_a_process_is_known_by_its_command(arguments, serves, kind):
    assert process_kind(arguments, serves=serves) == kind
    kept = sqlite("x", test_name="y", process=kind)["CONN_MAX_AGE"]
    assert bool(kept) == (kind in {"watch", "hands"})

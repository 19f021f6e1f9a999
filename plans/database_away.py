"""What it looks like when the database is busy, away or has just come back."""

from django.db import InterfaceError, InternalError, OperationalError, connection

DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
"""Raised for a lock that was not free and by a connection that is lost or was closed for us; the
internal error by one that the server ended because its transaction stood still too long."""


def only_this_transaction() -> bool:
    """Tell, after one of them, whether the trouble was this transaction's alone.

    On PostgreSQL that is a row that stayed locked too long, or a deadlock: other rows can be worked
    on at once. On SQLite a lock is everybody's.
    """
    return connection.vendor == "postgresql" and connection.is_usable()

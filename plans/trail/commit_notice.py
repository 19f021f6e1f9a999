"""Let other processes know of a commit at once: PostgreSQL's NOTIFY, sent with the transaction.

On SQLite nobody has to say anything: every commit is seen there
(batches/runtime/data_version_signal.py).
"""

from django.db import connection

CHANNEL = "upgradeconsole"


def notify() -> None:
    """Wake every watch and every live page when this transaction has committed.

    What is recorded in the trail does so by itself. Call it for a change that the watch acts on, or
    that a live page shows, and of which no event tells; without it, it is seen a second later.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Several within one transaction arrive as one.
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])

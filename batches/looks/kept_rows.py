"""Rows of which one is kept for each key, and written anew at each look."""

from typing import Any

from django.db.models import Model


def put(model: type[Model], where: dict[str, Any], told: dict[str, Any]) -> None:
    """Write the row of a key: one statement each time but the first."""
    rows = model._default_manager
    if not rows.filter(**where).update(**told):
        rows.create(**where, **told)

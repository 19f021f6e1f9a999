"""Small words of pages: lengths of time, short digests, labels."""

import json
from collections.abc import Mapping
from typing import Any

from django import template

from plans.policy_words import span

register = template.Library()


@register.filter
def duration(seconds: float | None) -> str:
    """Return seconds as people say them; nothing for nothing."""
    return "" if seconds is None else span(float(seconds))


@register.filter
def short(digest: str) -> str:
    """Return the first twelve characters, enough to tell two digests apart."""
    return digest[:12]


@register.filter
def words(code: str) -> str:
    """Return a code word as people would write it."""
    return code.replace("_", " ")


@register.filter
def pairs(labels: Mapping[str, Any]) -> list[str]:
    """Return labels as name=value, in order of their names."""
    return [f"{name}={value}" for name, value in sorted(labels.items())]


@register.filter
def pretty(payload: Any) -> str:
    """Return JSON values on lines of their own, members in order."""
    return json.dumps(payload, indent=2, ensure_ascii=False, sort_keys=True)

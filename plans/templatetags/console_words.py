"""Small words of pages: lengths of time, short digests, labels."""

import json
from collections.abc import Mapping
from typing import Any

from django import template

from plans.policies.policy_words import span

register = template.Library()
_ODD_SINGULARS = {"batches": "batch", "people": "person"}
# Most browsers say that they are others too: the one that says most comes first.
_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
    ("Safari/", "Safari"), ("curl/", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "macOS"),
    ("Android", "Android"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


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
def singular(noun: str) -> str:
    """Return the word for one of what is named in the plural."""
    return _ODD_SINGULARS.get(noun, noun.removesuffix("s"))


@register.filter
def counted(number: int, nouns: str) -> str:
    """Return how many there are: "1 tenant", "3 tenants"."""
    return f"{number} {singular(nouns) if number == 1 else nouns}"


@register.filter
def browser_words(agent: str) -> str:
    """Return the browser and the system that call themselves so, as people name them."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent or "unknown"


@register.filter
def pairs(labels: Mapping[str, Any]) -> list[str]:
    """Return labels as name=value, in order of their names."""
    return [f"{name}={value}" for name, value in sorted(labels.items())]


@register.filter
def pretty(payload: Any) -> str:
    """Return JSON values on lines of their own, members in order."""
    return json.dumps(payload, indent=2, ensure_ascii=False, sort_keys=True)

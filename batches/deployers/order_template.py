"""Fill the placeholders of deployers.yaml ({tenant}, {version}, ...) from an order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from batches.deployers.base import Order

ORDER_PLACEHOLDERS: Final = (
    "tenant",
    "plugin",
    "version",
    "key",
    "fence",
    "digest",
    "plan",
    "config",
)
OBSERVE_PLACEHOLDERS: Final = ("tenant", "plugin")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


class UnusableValue(Exception):
    """A value cannot go where the template puts it; the message is the operator's sentence."""


def values_of(order: Order) -> dict[str, object]:
    """Return the order's values by placeholder."""
    return {name: getattr(order, name) for name in ORDER_PLACEHOLDERS}


def placeholders_in(text: str) -> list[str]:
    """Return the names in braces, known or not."""
    return _PLACEHOLDER.findall(text)


def fill_json(template: object, values: Mapping[str, object]) -> object:
    """Return the JSON body; a string that is one placeholder becomes the value with its type."""
    if isinstance(template, dict):
        return {key: fill_json(item, values) for key, item in template.items()}
    if isinstance(template, list):
        return [fill_json(item, values) for item in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is not None:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda found: _as_text(values[found[1]]), template)


def fill_path(template: str, values: Mapping[str, object]) -> str:
    """Return the URL path; no value can leave its place in it. Raises UnusableValue."""

    def quoted(found: re.Match[str]) -> str:
        text = _as_text(values[found[1]])
        # Servers and proxies resolve dot segments even when quoted: /tenants/../upgrade.
        if text in {"", ".", ".."}:
            raise UnusableValue(f"{found[1]} is {text!r}, which cannot stand in a URL path")
        return quote(text, safe="")

    return _PLACEHOLDER.sub(quoted, template)


def fill_argument(template: str, values: Mapping[str, object]) -> str:
    """Return one command argument. Raises UnusableValue when it would pass for an option."""
    filled = _PLACEHOLDER.sub(lambda found: _as_text(values[found[1]]), template)
    if filled.startswith("-") and not template.startswith("-"):
        raise UnusableValue(f"{filled!r} would be read as an option of the command")
    if "\x00" in filled:
        raise UnusableValue("a value holds a NUL character, which no command can take")
    return filled


def header_value(name: str, value: object) -> str:
    """Return the value for a header or environment variable. Raises UnusableValue."""
    text = str(value)
    if not text.isprintable():
        raise UnusableValue(f"{name} holds control characters: {text!r}")
    return text


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

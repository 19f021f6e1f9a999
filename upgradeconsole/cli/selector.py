"""Read `--tenants`: which tenants an upgrade is for, as the API takes them."""

from pathlib import Path

TenantsBody = str | list[str] | dict[str, dict[str, str]]

FORMS = "write all, labels:region=eu,tier=gold, keys as acorn,birch or @FILE with one key per line"


class SelectorRejected(Exception):
    """The selector cannot be read; the message says what to write instead."""


def parse_selector(text: str) -> TenantsBody:
    """Return the `tenants` member of the request for one selector."""
    wanted = text.strip()
    if wanted == "all":
        return "all"
    if wanted.startswith("labels:"):
        return {"labels": _labels(wanted.removeprefix("labels:"))}
    keys = _keys_in_file(wanted.removeprefix("@")) if wanted.startswith("@") else wanted.split(",")
    keys = [key.strip() for key in keys if key.strip()]
    if not keys:
        raise SelectorRejected(f"--tenants {text!r} names no tenant: {FORMS}")
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    if doubled:
        raise SelectorRejected(f"--tenants names twice: {', '.join(doubled)}")
    return keys


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise SelectorRejected(f"--tenants: {pair!r} is not name=value: {FORMS}")
        if name in labels:
            raise SelectorRejected(f"--tenants: the label {name} is given twice")
        labels[name] = value
    return labels


def _keys_in_file(name: str) -> list[str]:
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SelectorRejected(f"--tenants @{name} cannot be read: {error}") from error
    kept = (line.partition("#")[0] for line in lines)
    return [key for line in kept for key in line.split(",")]

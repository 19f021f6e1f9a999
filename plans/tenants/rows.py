"""Read a list of tenants from CSV or YAML text: good rows, and for each wrong one line and why."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plans.policies.yaml_nodes import ListNode, MapNode, Node, RefusedNode, ScalarNode, read_nodes
from plans.policies.yaml_section import clipped, nearest
from plans.reading_direction import turning_problems

MAX_BYTES = 5 * 1024 * 1024
COLUMNS = ("tenant", "name", "owner_email", "version", "labels")

_MAX_LABELS = 50
_MAX_NAME = 200
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+",
    re.ASCII,
)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant as the file says; empty texts where it says nothing."""

    key: str
    name: str
    owner_email: str
    version: str
    labels: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing that is wrong: the line, the tenant as written (may be empty), what to write."""

    line: int
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class TenantRows:
    """The good rows and all problems, both in the order of the file."""

    rows: tuple[TenantRow, ...]
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    """A row before its values are judged; `labels` may come as text or already as a map."""

    line: int
    values: Mapping[str, str]
    labels: Mapping[str, str] | None = None


def parse_tenants(text: str, *, form: str) -> TenantRows:
    """Return the tenants of the text; `form` is 'csv' or 'yaml', ValueError otherwise."""
    if form not in ("csv", "yaml"):
        raise ValueError(f"the form is 'csv' or 'yaml', not {form!r}")
    text = text.removeprefix("\ufeff")
    problems: list[RowProblem] = []
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        message = "this is not UTF-8 text; save the file as UTF-8"
        return TenantRows((), (RowProblem(line, "", message),))
    if size > MAX_BYTES:
        message = f"the file has {size} bytes; at most {MAX_BYTES} are read, so split it"
        return TenantRows((), (RowProblem(1, "", message),))
    written = _csv_rows(text, problems) if form == "csv" else _yaml_rows(text, problems)
    rows: list[TenantRow] = []
    first_line: dict[str, int] = {}
    for row in written:
        key = row.values.get("tenant", "")
        found = _wrong_values(row)
        labels, wrong_labels = _labels(row)
        found += wrong_labels
        if key and key in first_line:
            found.append(f"tenant: '{clipped(key)}' stands on line {first_line[key]} already")
        first_line.setdefault(key, row.line)
        problems += [RowProblem(row.line, clipped(key), message) for message in found]
        if not found:
            rows.append(_row(row, key, labels))
    if not rows and not problems:
        problems.append(RowProblem(1, "", "the file names no tenant; add one per row"))
    return TenantRows(tuple(rows), tuple(sorted(problems, key=lambda problem: problem.line)))


def _row(row: _Written, key: str, labels: Mapping[str, str]) -> TenantRow:
    return TenantRow(
        key=key,
        name=row.values.get("name") or key,
        owner_email=row.values.get("owner_email", ""),
        version=row.values.get("version", ""),
        labels=labels,
        line=row.line,
    )


def _wrong_values(row: _Written) -> list[str]:
    """Return what is wrong with the row's own values."""
    found: list[str] = []
    key = row.values.get("tenant", "")
    if not key:
        found.append("tenant: the key is missing; write one, such as acorn")
    elif not _KEY.fullmatch(key):
        found.append(
            f"tenant: '{clipped(key)}' is no key; write letters, digits, '.', '_' or '-' "
            "(at most 63, the first a letter or digit)"
        )
    name = row.values.get("name", "")
    if len(name) > _MAX_NAME or _CONTROL.search(name):
        found.append(f"name: write one line of at most {_MAX_NAME} characters")
    found += turning_problems(name)
    email = row.values.get("owner_email", "")
    if email and (len(email) > 254 or not _EMAIL.fullmatch(email)):
        found.append(
            f"owner_email: '{clipped(email)}' is no e-mail address; write it like olga@example.com"
        )
    version = row.values.get("version", "")
    if version and not _VERSION.fullmatch(version):
        found.append(f"version: '{clipped(version)}' is no version; write it like 2.4.0")
    return found


def _labels(row: _Written) -> tuple[dict[str, str], list[str]]:
    """Return the labels of the row and what is wrong with them."""
    found: list[str] = []
    labels: dict[str, str] = {}
    pairs: list[tuple[str, str]] = list((row.labels or {}).items())
    for part in filter(None, (part.strip() for part in row.values.get("labels", "").split(";"))):
        label, equals, value = part.partition("=")
        if equals:
            pairs.append((label.strip(), value.strip()))
        else:
            found.append(
                f"labels: '{clipped(part)}' is no label; write it like region=eu;tier=gold"
            )
    for label, value in pairs:
        if not _LABEL.fullmatch(label):
            found.append(f"labels: '{clipped(label)}' is no label name; write it like region")
        elif not value or len(value) > 200 or ";" in value or _CONTROL.search(value):
            found.append(f"labels: {label} needs a value of 1 to 200 characters without ';'")
        elif label in labels:
            found.append(f"labels: {label} stands twice; keep one")
        else:
            labels[label] = value
    if len(pairs) > _MAX_LABELS:
        found.append(f"labels: {len(pairs)} of them; write at most {_MAX_LABELS}")
    return labels, found


def _csv_rows(text: str, problems: list[RowProblem]) -> Iterator[_Written]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            message = f"this is not CSV ({error}); correct the quotes of this row"
            problems.append(RowProblem(line, "", message))
            return
        if fields is None:
            return
        fields = [value.strip() for value in fields]
        if not any(fields):
            continue
        if columns is None:
            columns = _columns(fields, line, problems)
            if columns is None:
                return
        elif len(fields) != len(columns):
            message = (
                f"the row has {len(fields)} values and the header {len(columns)} columns; "
                'put a value that holds a comma into "quotes"'
            )
            problems.append(RowProblem(line, clipped(fields[0]), message))
        else:
            yield _Written(line, dict(zip(columns, fields, strict=True)))


def _columns(fields: list[str], line: int, problems: list[RowProblem]) -> list[str] | None:
    """Return the header's columns; None when the rows below cannot be read with it."""
    if len(fields) == 1 and (";" in fields[0] or "\t" in fields[0]):
        message = "separate the columns with commas: tenant,name,owner_email,version,labels"
        problems.append(RowProblem(line, "", message))
        return None
    for column in dict.fromkeys(fields):
        if column not in COLUMNS:
            problems.append(RowProblem(line, "", _unknown("column", column)))
        elif fields.count(column) > 1:
            problems.append(RowProblem(line, "", f"the column '{column}' stands twice; keep one"))
    if "tenant" not in fields:
        message = (
            "the first row must name the columns, 'tenant' among them; the others may be left out"
        )
        problems.append(RowProblem(line, "", message))
        return None
    return fields


def _unknown(noun: str, name: str) -> str:
    meant = nearest(name, COLUMNS)
    advice = f"did you mean '{meant}'?" if meant else f"possible: {', '.join(COLUMNS)}"
    return f"'{clipped(name)}' is not a {noun} here; {advice}"


def _yaml_rows(text: str, problems: list[RowProblem]) -> Iterator[_Written]:
    root, form_problems = read_nodes(text, max_bytes=MAX_BYTES)
    problems += [
        RowProblem(p.line, "", f"{p.path}: {p.message}" if p.path else p.message)
        for p in form_problems
    ]
    if root is None:
        return
    if not isinstance(root, ListNode):
        message = "write a list of tenants: lines that begin with '- tenant: acorn'"
        problems.append(RowProblem(root.line, "", message))
        return
    for item in root.items:
        if isinstance(item, MapNode):
            yield _yaml_row(item, problems)
        elif not isinstance(item, RefusedNode):
            message = "write a mapping here, such as {tenant: acorn, labels: {region: eu}}"
            problems.append(RowProblem(item.line, "", message))


def _yaml_row(item: MapNode, problems: list[RowProblem]) -> _Written:
    written = item.entries.get("tenant")
    key = clipped(_text(written.node) or "") if written else ""
    values: dict[str, str] = {}
    labels: dict[str, str] | None = None
    for column, entry in item.entries.items():
        if column not in COLUMNS:
            problems.append(RowProblem(entry.line, key, _unknown("key", column)))
        elif column == "labels" and isinstance(entry.node, MapNode):
            labels = {}
            for label, value in entry.node.entries.items():
                text = _text(value.node)
                if text is None:
                    message = f"labels: {label} needs a single value"
                    problems.append(RowProblem(value.line, key, message))
                else:
                    labels[label] = text
        elif (text := _text(entry.node)) is None:
            message = f"{column}: write a single value here"
            problems.append(RowProblem(entry.line, key, message))
        else:
            values[column] = text
    return _Written(item.line, values, labels)


def _text(node: Node) -> str | None:
    """Return a scalar as written, nothing as an empty text, and None for a list or mapping."""
    if isinstance(node, ScalarNode):
        return "" if node.is_null else node.text.strip()
    return None

"""The pieces a report is put together from, and how values are written in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

Tone = Literal["plain", "good", "warn", "bad"]
NOTHING = "\u2013"
LONGEST_ANNEX_LINE = 128


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; `mono` for digests and keys, which may break anywhere."""

    text: str
    tone: Tone = "plain"
    mono: bool = False
    number: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or a few."""

    kind: ClassVar[str] = "paragraph"
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Statements:
    """Findings, each with its tone."""

    kind: ClassVar[str] = "statements"
    items: tuple[tuple[str, Tone], ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names and their values."""

    kind: ClassVar[str] = "pairs"
    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose header repeats on every page; widths in percent."""

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    widths: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Return each column's title and whether it holds numbers."""
        first = self.rows[0] if self.rows else tuple(Cell(title) for title in self.head)
        return [(title, cell.number) for title, cell in zip(self.head, first, strict=True)]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as SVG with its caption; the caption says in words what it shows."""

    kind: ClassVar[str] = "picture"
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Text word for word. One entry per chunk: small chunks are set many times faster."""

    kind: ClassVar[str] = "listing"
    chunks: tuple[str, ...]
    small: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


Block = Paragraph | Statements | Pairs | Table | Picture | Listing | Heading


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part of the report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    new_page: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the tiles on the first page."""

    label: str
    value: str
    detail: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report, ready for a template."""

    title: str
    subtitle: str
    external_id: str
    plan_id: str
    outcome: str
    tone: Tone
    summary: str
    verdicts: tuple[Verdict, ...]
    pairs: Pairs
    sections: tuple[Section, ...]
    generator: str
    cut_off: str
    data_digest: str


def utc(at: datetime | None) -> str:
    """Write a moment with its zone, to the second."""
    return f"{moment(at)} UTC" if at is not None else NOTHING


def moment(at: datetime | None) -> str:
    """Write a moment for a column whose header names the zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at is not None else NOTHING


def precise(at: datetime | None) -> str:
    """Write a moment with milliseconds, for what is measured against seconds."""
    if at is None:
        return NOTHING
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def duration(seconds: float | None) -> str:
    """Write a length of time in the unit that people would use."""
    if seconds is None:
        return NOTHING
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def between(start: datetime | None, end: datetime | None) -> str:
    """Write the time between two moments, if both are known."""
    if start is None or end is None:
        return NOTHING
    return duration((end - start).total_seconds())


def quantity(value: float | None, unit: str = "") -> str:
    """Write a measured value with its unit."""
    if value is None:
        return NOTHING
    text = f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{text} {unit}".strip()


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def words(state: str) -> str:
    """Write a code word as people would."""
    return state.replace("_", " ")


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return plain cells."""
    return tuple(Cell(text) for text in texts)


def in_chunks(lines: Sequence[str], size: int) -> tuple[str, ...]:
    """Join lines into chunks of `size` lines."""
    return tuple("\n".join(lines[start : start + size]) for start in range(0, len(lines), size))


def in_columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Set rows as text in aligned columns, two rows beside each other where both fit."""
    kept = [tuple(row) for row in rows]
    if not kept:
        return []
    widths = [max(len(row[index]) for row in kept) for index in range(len(kept[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in kept
    ]
    width = max(len(line) for line in lines)
    if 2 * width + 3 > LONGEST_ANNEX_LINE:
        return lines
    # Row by row, so that a page break never tears the two halves apart.
    right = [*lines[1::2], ""]
    return [f"{a.ljust(width)} │ {b}".rstrip(" │") for a, b in zip(lines[::2], right, strict=False)]

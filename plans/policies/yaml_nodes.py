"""Turn YAML text into nodes that know their line, and find what no file of ours may hold.

Scalars keep their raw text, so `on`, `no`, `22:00` and `1.10` mean what was written. Anchors,
aliases, tags and duplicate keys are problems; they are collected, not raised one by one.
"""

from dataclasses import dataclass, field

import yaml

MAX_DEPTH = 20
_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = (
    yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what to write instead."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


@dataclass(slots=True)
class ScalarNode:
    """A text, number, truth value or nothing: as written."""

    line: int
    text: str
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """Tell whether YAML reads this as nothing."""
        return self.plain and self.text in _NULLS


@dataclass(slots=True)
class RefusedNode:
    """Stands where something is that was already reported, so that it is reported once."""

    line: int


@dataclass(slots=True)
class ListNode:
    """A sequence."""

    line: int
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class MapNode:
    """A mapping; the first of two equal keys stays."""

    line: int
    entries: dict[str, "Entry"] = field(default_factory=dict)


Node = ScalarNode | RefusedNode | ListNode | MapNode


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a key, and the line on which the key stands."""

    line: int
    node: Node


@dataclass(slots=True)
class _Frame:
    node: ListNode | MapNode
    path: str
    key: str | None = None
    key_line: int = 0


class _Unreadable(Exception):
    """Raised when nothing after this place can be read; the problem is already noted."""


def read_nodes(text: str, *, max_bytes: int) -> tuple[Node | None, list[Problem]]:
    """Return the document's root (None when unreadable or empty) and all problems of form."""
    problems: list[Problem] = []
    text = text.removeprefix("\ufeff")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        message = "this is not UTF-8 text; save the file as UTF-8"
        return None, [Problem(line, "", message)]
    if size > max_bytes:
        message = f"the text has {size} bytes; at most {max_bytes} are read, so split the file"
        return None, [Problem(1, "", message)]
    composer = _Composer(problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Unreadable:
        return None, problems
    except yaml.YAMLError as error:
        problems.append(_syntax_problem(error, text))
        return None, problems
    return composer.root, problems


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        return Problem(line, "", f"this is not YAML ({said}); correct the line or the one before")
    position = getattr(error, "position", 0)
    line = text.encode()[:position].count(b"\n") + 1
    return Problem(line, "", "a control character is not allowed here; delete it")


def _line(event: yaml.Event) -> int:
    """Return the line of an event; only events made by hand have no mark."""
    return event.start_mark.line + 1 if event.start_mark is not None else 1


class _Composer:
    """Builds nodes from parser events with a stack of its own, so depth cannot exhaust Python's."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.root: Node | None = None
        self._frames: list[_Frame] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._frames.pop()
        elif isinstance(event, yaml.AliasEvent):
            line = _line(event)
            message = f"the alias '*{event.anchor}' is not allowed; write the value out"
            if self._awaits_key():
                self._stop(line, message)
            self._note(line, message)
            self._place(RefusedNode(line))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                line = _line(event)
                self._stop(line, "a second document ('---') is not allowed; keep one per file")

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        line = _line(event)
        if self._awaits_key():
            self._take_key(event, line)
            return
        if self._refuses(event, line):
            self._place(RefusedNode(line))
            return
        self._place(ScalarNode(line, event.value, plain=event.style in (None, "")))

    def _take_key(self, event: yaml.ScalarEvent, line: int) -> None:
        frame = self._frames[-1]
        self._refuses(event, line)
        frame.key, frame.key_line = event.value, line
        node = frame.node
        if isinstance(node, MapNode) and event.value in node.entries:
            first = node.entries[event.value].line
            message = f"the key stands here twice (first on line {first}); keep one of them"
            self._note(line, message)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        line = _line(event)
        if self._awaits_key():
            self._stop(line, "a list or mapping cannot be a key; write a plain name")
        if len(self._frames) >= MAX_DEPTH:
            self._stop(line, f"nested deeper than {MAX_DEPTH} levels; nothing here needs that")
        self._refuses(event, line)
        is_map = isinstance(event, yaml.MappingStartEvent)
        node: ListNode | MapNode = MapNode(line) if is_map else ListNode(line)
        path = self._path()
        self._place(node)
        self._frames.append(_Frame(node, path))

    def _refuses(self, event: yaml.NodeEvent, line: int) -> bool:
        """Note an anchor or a tag on the event; tell whether there was a tag."""
        if event.anchor is not None:
            message = f"the anchor '&{event.anchor}' is not allowed; write the value out each time"
            self._note(line, message)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            self._note(line, f"the tag '{tag}' is not allowed; write the plain value")
            return True
        return False

    def _place(self, node: Node) -> None:
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        if isinstance(frame.node, ListNode):
            frame.node.items.append(node)
            return
        if frame.key is not None:
            frame.node.entries.setdefault(frame.key, Entry(frame.key_line, node))
            frame.key = None

    def _awaits_key(self) -> bool:
        return (
            bool(self._frames)
            and isinstance(self._frames[-1].node, MapNode)
            and self._frames[-1].key is None
        )

    def _path(self) -> str:
        if not self._frames:
            return ""
        frame = self._frames[-1]
        if isinstance(frame.node, ListNode):
            return f"{frame.path}[{len(frame.node.items)}]"
        if frame.key is None:
            return frame.path
        return f"{frame.path}.{frame.key}" if frame.path else frame.key

    def _note(self, line: int, message: str) -> None:
        self.problems.append(Problem(line, self._path(), message))

    def _stop(self, line: int, message: str) -> None:
        self._note(line, message)
        raise _Unreadable

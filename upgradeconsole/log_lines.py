"""Log lines that hold no secret and cannot be forged: one record, one line that begins with a time.

What a record says is masked by the values that this process knows and by the look of things;
a line break in it is written as \\n; the lines of a traceback are indented.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from types import TracebackType

from upgradeconsole.known_secrets import MASK, masked

_BEARER = re.compile(r"\b(bearer|basic)\s+(?!\*{3})[\w\-.~+/]{6,}=*", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
# The {0,40} keep this linear on long words such as base64.
_NAMED = re.compile(
    r"""(?P<name>["']?[\w\-.]{0,40}(?:passw(?:or)?d|passphrase|secret|api[-_]?key|private[-_]?key"""
    r"""|credential|token)s?[\w\-.]{0,40}["']?\s*[:=]\s*)(?!["']?\*{3})"""
    r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&"'}\]]+)""",
    re.IGNORECASE,
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL |= {9: " ", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}
INDENT = "    | "


def without_secrets(text: str) -> str:
    """Return the text masked by known values, then by names and forms of secrets."""
    text = _BEARER.sub(rf"\1 {MASK}", masked(text))
    text = _URL_LOGIN.sub(MASK, text)
    return _NAMED.sub(rf"\g<name>{MASK}", text)


def on_one_line(text: str) -> str:
    """Return the text with its line breaks and control characters spelled out."""
    return text.translate(_CONTROL)


class SafeFormatter(logging.Formatter):
    """Formats as Django's settings say, then masks; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and the indented lines of its traceback."""
        # On a copy: other handlers get the record too.
        shown = logging.makeLogRecord(record.__dict__)
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError) as error:
            # A record that cannot be put together must not be lost, nor print its arguments raw.
            said = f"{record.msg} (its arguments do not fit: {type(error).__name__})"
        shown.msg, shown.args = on_one_line(without_secrets(said)), None
        shown.exc_info = shown.exc_text = shown.stack_info = None
        lines = [super().format(shown)]
        if record.exc_info:
            lines.append(indented(self.formatException(record.exc_info)))
        if record.stack_info:
            lines.append(indented(record.stack_info))
        return "\n".join(lines)


def indented(text: str) -> str:
    """Return text of several lines so that none of them can pass for a record of its own."""
    lines = without_secrets(text).splitlines()
    return "\n".join(f"{INDENT}{on_one_line(line)}" for line in lines)


def mask_tracebacks() -> None:
    """Write what nobody caught without secrets, too."""
    sys.excepthook = _write
    threading.excepthook = _write_of_thread


def _write(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))


def _write_of_thread(about: threading.ExceptHookArgs) -> None:
    if about.exc_value is None or issubclass(about.exc_type, SystemExit):
        return
    name = about.thread.name if about.thread is not None else "?"
    sys.stderr.write(f"Exception in thread {name}:\n")
    _write(about.exc_type, about.exc_value, about.exc_traceback)

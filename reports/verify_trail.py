#!/usr/bin/env python3
"""Check a trail that an Upgrade Console has handed out, with nothing of that console's own.

    python3 verify_trail.py TRAIL.jsonl [--anchors PATH ...] [--pubkey KEY ...] [--json]

TRAIL.jsonl is an export of the trail, or the trail.jsonl and checkpoint.json of a report. PATH is
a file or a folder of anchors: the checkpoints that the console wrote outside of its database. KEY
is a public key that you got by another way than this file: a PEM file, name+id+key as signed notes
have it, or 64 hex digits.

Exit codes: 0 all holds, 1 a link is broken (the first bad event is named), 2 cut off or forked
against a checkpoint or an anchor, 3 a bad signature, 4 a gap in the checkpoints, 5 not all could be
checked (the package `cryptography` is missing, or no key is known), 64 this cannot be read.

How it is made: the hash of an event is SHA-256 over a zero byte, the hash before as 32 bytes (of
the first: zeros), and the event as RFC 8785 JSON. A checkpoint is a C2SP signed note over the root
of an RFC 6962 tree, whose leaves are the lines "stream number hash" of all streams, sorted by
stream.

One file, Python 3.11 or newer; signatures need the package `cryptography`.
"""

import argparse
import base64
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:  # pragma: no cover - said below, and by the exit code
    Ed25519PublicKey = None  # type: ignore[assignment,misc]

HOLDS, BROKEN, FORKED, BAD_SIGNATURE, GAP, UNCHECKED, UNREADABLE = 0, 1, 2, 3, 4, 5, 64
WORDS = {
    HOLDS: "every link holds",
    BROKEN: "a link is broken",
    FORKED: "the trail was cut off or forked",
    BAD_SIGNATURE: "a signature does not hold",
    GAP: "checkpoints are missing for a time",
    UNCHECKED: "not everything could be checked",
}
ZERO = "0" * 64
ED25519_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a public key in a PEM file."""
LONGEST_GAP_SECONDS = 660.0
"""Twice the five minutes between checkpoints, and a minute for a machine that is busy."""
MOST_PROBLEMS = 100
LENGTH_OF_UUID = 36
"""So long is the id of an approval, by which an event names it."""
NO_CRYPTOGRAPHY = "signatures were not checked: install the package cryptography"


# --- canonical JSON (RFC 8785)


def canonical(value: Any) -> bytes:
    """Return the one form of a JSON value; ValueError for what JSON cannot say exactly."""
    out: list[str] = []
    _write(value, out)
    return "".join(out).encode()


_text = json.JSONEncoder(ensure_ascii=False).encode


def _write(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(_text(value))
    elif value is None or isinstance(value, bool):
        out.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int):
        if abs(value) >= 2**53:
            raise ValueError(f"{value} is too large for a JSON number")
        out.append(str(value))
    elif isinstance(value, float):
        out.append(_number(value))
    elif isinstance(value, Mapping):
        _write_object(value, out)
    elif isinstance(value, (list, tuple)):
        between = "["
        for entry in value:
            out.append(between)
            _write(entry, out)
            between = ","
        out.append("]" if value else "[]")
    else:
        raise ValueError(f"{type(value).__name__} is nothing that JSON has")


def _write_object(value: Mapping[str, Any], out: list[str]) -> None:
    between = "{"
    # RFC 8785 sorts by UTF-16 units, which differs from Python's order beyond U+FFFF only.
    for name in sorted(value, key=lambda name: name.encode("utf-16-be")):
        out.append(between)
        out.append(_text(name))
        out.append(":")
        _write(value[name], out)
        between = ","
    out.append("}" if value else "{}")


def _number(value: float) -> str:
    """Return a number as ECMAScript writes it: the shortest digits that mean this very value."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if value == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        more = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{more}e{point - 1:+d}"
    return f"-{text}" if sign else text


def chained(prev_hash: str, body: Mapping[str, Any]) -> str:
    """Return the hash of an event after the one before."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(prev_hash) + canonical(body)).hexdigest()


def salted(address: Mapping[str, str]) -> str:
    """Return what the chain holds of an address, '' where its salt is none."""
    try:
        salt = bytes.fromhex(address["salt"])
    except ValueError:
        return ""
    return hashlib.sha256(salt + address["address"].encode()).hexdigest()


# --- the tree (RFC 6962)


def leaf(stream: str, seq: int, head_hash: str) -> bytes:
    """Return the hash of one head."""
    return hashlib.sha256(b"\x00" + f"{stream} {seq} {head_hash}".encode()).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(heads: Mapping[str, tuple[int, str]]) -> bytes:
    """Return the root over all heads, sorted by stream."""
    level = [leaf(stream, *heads[stream]) for stream in sorted(heads)]
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        left_over = level[-1:] if len(level) % 2 else []
        level = [node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)] + left_over
    return level[0]


def root_from(leaf_hash: bytes, index: int, count: int, path: Sequence[str]) -> bytes | None:
    """Return the root to which a proof leads (RFC 9162, 2.1.3.2), None where it is malformed."""
    if not 0 <= index < count:
        return None
    first, last, found = index, count - 1, leaf_hash
    for step in path:
        beside = bytes.fromhex(step)
        if last == 0:
            return None
        if first % 2 or first == last:
            found = node(beside, found)
            while first % 2 == 0 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node(found, beside)
        first, last = first >> 1, last >> 1
    return found if last == 0 else None


# --- the signed notes


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint as it was read."""

    text: str
    signed: bytes
    origin: str
    size: int
    root: bytes
    number: int
    at: datetime
    previous: str
    kid: str
    signer: str
    signature: bytes

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 by which the next checkpoint names this one."""
        return hashlib.sha256(self.text.encode()).digest()


def unpacked(text: str) -> bytes:
    """Return what base64 says; ValueError unless it is written in the one right way."""
    told = base64.b64decode(text, validate=True)
    if base64.b64encode(told).decode() != text:
        raise ValueError("its base64 has another form")
    return told


def moment(text: str) -> datetime:
    """Return the time that a text of the trail means; ValueError for others."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def parse_note(text: str) -> Note:
    """Read a checkpoint; ValueError says what is wrong with it."""
    body, blank, signatures = text.partition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) < 7:
        raise ValueError("it is no checkpoint: it has too few lines")
    told = dict(line.split(" ", 1) for line in lines[3:] if " " in line)
    try:
        dash, signer, packed = signatures.rstrip("\n").split(" ")
        if dash != "—" or "\n" in packed:
            raise ValueError("its signature line has another form")
        return Note(
            text=text,
            signed=f"{body}\n".encode(),
            origin=lines[0],
            size=int(lines[1]),
            root=unpacked(lines[2]),
            number=int(told["number"]),
            at=moment(told["time"]),
            previous=bytes.fromhex(told["previous"]).hex(),
            kid=told["key"],
            signer=signer,
            signature=unpacked(packed),
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"it is no checkpoint: {error}") from error


def kid_of(public: bytes) -> str:
    """Return the id of a key, as checkpoints and grants name it."""
    return hashlib.sha256(public).hexdigest()[:16]


def read_key(text: str) -> bytes:
    """Return the 32 bytes of a public key: PEM, name+id+key or hex; ValueError for others."""
    text = text.strip()
    try:
        if text.startswith("-----BEGIN"):
            # Read by hand: to tell what was not checked, no package is needed.
            der = base64.b64decode("".join(text.splitlines()[1:-1]), validate=True)
            if len(der) == 44 and der.startswith(ED25519_DER):
                return der[12:]
        if "+" in text:
            _name, _key_id, packed = text.split("+", 2)
            told = unpacked(packed)
            if len(told) == 33 and told[:1] == b"\x01":
                return told[1:]
        if len(text) == 64:
            return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"this is no Ed25519 public key: {error}") from error
    raise ValueError("this is no Ed25519 public key: give a PEM file, name+id+key or 64 hex digits")


def signature_holds(public: bytes, signature: bytes, signed: bytes) -> bool:
    """Tell whether the key has signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def note_holds(note: Note, public: bytes) -> bool:
    """Tell whether the key has signed this checkpoint, under the name that it gives."""
    key_id = hashlib.sha256(note.signer.encode() + b"\n\x01" + public).digest()[:4]
    return note.signature[:4] == key_id and signature_holds(public, note.signature[4:], note.signed)


# --- the check


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold; `exit` is the code that it alone would give."""

    exit: int
    why: str
    stream: str = ""
    seq: int = 0

    def __str__(self) -> str:
        where = f"{self.stream} event {self.seq}: " if self.stream else ""
        return f"{where}{self.why}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass
class Outcome:
    """What a check has found."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    events: int = 0
    streams: int = 0
    checkpoints: int = 0
    grants: int = 0
    excerpt: str = ""
    """From which checkpoint to which, where not the whole trail was looked at."""

    @property
    def exit(self) -> int:
        """Return the code of what matters most."""
        return min((problem.exit for problem in self.problems), default=HOLDS)

    @property
    def first(self) -> Problem | None:
        """Return what is to be looked at first."""
        of_it = [problem for problem in self.problems if problem.exit == self.exit]
        return of_it[0] if of_it else None

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        said = WORDS[self.exit]
        if self.first is not None:
            return f"{said}: {self.first}"
        if self.excerpt:
            said = f"{said}, {self.excerpt}"
        return (
            f"{said}: {_count(self.events, 'event')} in {_count(self.streams, 'stream')},"
            f" {_count(self.checkpoints, 'checkpoint')}"
            + (f", {_count(self.grants, 'signed approval')}" if self.grants else "")
        )


def grant_words(signed: bytes) -> str:
    """Return how to call a grant: by the id that it says it has, signed or not."""
    try:
        return f"grant {str(json.loads(signed)['jti'])[:36]}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "a grant that cannot be read"


def id_in(payload: str) -> str:
    """Return the id that a grant says it has, '' where it says none."""
    try:
        return str(json.loads(base64.b64decode(payload))["jti"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a checkpoint."""

    digest: bytes
    previous: bytes
    at: datetime


class TrailVerifier:
    """Takes checkpoints first, then the events, stream by stream; keeps heads, never events."""

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        since: Mapping[str, tuple[int, str]] | None = None,
        whole: bool = True,
        signed: bool = False,
        approved: bool = False,
        ends: datetime | None = None,
        longest_gap: float = LONGEST_GAP_SECONDS,
    ) -> None:
        """Begin. `signed`: all checkpoints are to be here, so that none are is a finding, too.

        `approved`, and `signed` as well: all approvals that the events name are to be here.
        """
        self.outcome = Outcome()
        self._keys = dict(keys)
        self._whole = whole
        self._signed = signed
        self._approved = approved or signed
        self._ends = ends
        self._longest_gap = longest_gap
        self._begin = dict(since or {})
        self._known: dict[int, Known] = {}
        self._proved: dict[int, bytes] = {}
        self._log = ""
        self._heads: dict[str, tuple[int, str]] | None = dict(since) if since else None
        self._root = b""
        self._wanted: dict[str, dict[int, tuple[str, int]]] = {}
        self._stream, self._seq, self._hash, self._bad = "", 0, ZERO, False
        self._seen: dict[str, tuple[int, str]] = {}
        self._first: dict[str, int] = {}
        self._named: dict[str, tuple[str, int]] = {}
        self._granted: set[str] = set()

    def _problem(self, code: int, why: str, stream: str = "", seq: int = 0) -> None:
        worse = not self.outcome.problems or code < self.outcome.exit
        if worse or len(self.outcome.problems) < MOST_PROBLEMS:
            self.outcome.problems.append(Problem(code, why, stream, seq))

    # Checkpoints.

    def checkpoint(
        self,
        text: str,
        heads: Mapping[str, Sequence[Any]] | None,
        *,
        whole: bool,
        source: str = "the trail",
    ) -> None:
        """Take one checkpoint; of one source they come in their order."""
        try:
            note = parse_note(text)
        except ValueError as error:
            self._problem(BAD_SIGNATURE, f"a checkpoint of {source} cannot be used: {error}")
            return
        known = self._known.get(note.number)
        if known is not None and known.digest == note.digest:
            return
        self.outcome.checkpoints += 1
        self._check_signature(note, source)
        if known is not None or (self._log and note.origin != self._log):
            self._fork(note, known, source)
            return
        self._log = self._log or note.origin
        self._known[note.number] = Known(note.digest, bytes.fromhex(note.previous), note.at)
        self._take_heads(note, heads, whole=whole)

    def _check_signature(self, note: Note, source: str) -> None:
        public = self._keys.get(note.kid)
        if Ed25519PublicKey is None:
            self._problem(UNCHECKED, NO_CRYPTOGRAPHY)
        elif public is None:
            self._problem(
                BAD_SIGNATURE if self._keys else UNCHECKED,
                f"checkpoint {note.number} of {source} is signed by a key that is not known here"
                f" ({note.kid})",
            )
        elif not note_holds(note, public):
            self._problem(
                BAD_SIGNATURE, f"the signature of checkpoint {note.number} of {source} is wrong"
            )

    def _fork(self, note: Note, known: Known | None, source: str) -> None:
        if known is None:
            self._problem(FORKED, f"{source} holds checkpoints of another trail: {note.origin}")
            return
        self._problem(
            FORKED,
            f"checkpoint {note.number} of {source} ({note.at:%Y-%m-%d %H:%M:%S}) says otherwise"
            f" than the trail's own ({known.at:%Y-%m-%d %H:%M:%S})",
        )

    def _take_heads(
        self, note: Note, heads: Mapping[str, Sequence[Any]] | None, *, whole: bool
    ) -> None:
        if heads is None or (self._heads is None and not whole):
            # Without them the signature is over nothing that could be compared.
            self._problem(BAD_SIGNATURE, f"the heads of checkpoint {note.number} are missing")
            return
        told = {stream: (int(seq), str(head)) for stream, (seq, head) in heads.items()}
        for stream, (seq, head) in told.items():
            wanted = self._wanted.setdefault(stream, {})
            if wanted.setdefault(seq, (head, note.number))[0] != head:
                self._problem(
                    FORKED,
                    f"checkpoints {wanted[seq][1]} and {note.number} disagree about it",
                    stream,
                    seq,
                )
        heads_now = {} if whole or self._heads is None else self._heads
        heads_now.update(told)
        self._heads = heads_now
        if told or not self._root:
            self._root = root_of(self._heads)
        if sum(seq for seq, _head in self._heads.values()) != note.size or self._root != note.root:
            self._problem(
                BAD_SIGNATURE, f"the heads of checkpoint {note.number} are not what was signed"
            )

    def anchor(self, text: str, source: str) -> None:
        """Compare a checkpoint from outside of the database; after all of `checkpoint`."""
        try:
            note = parse_note(text)
        except ValueError as error:
            self._problem(BAD_SIGNATURE, f"a checkpoint of {source} cannot be used: {error}")
            return
        own = self._known.get(note.number)
        if own is not None and own.digest == note.digest:
            return
        if self._proved.get(note.number) == note.digest:
            return
        self.outcome.checkpoints += 1
        self._check_signature(note, source)
        if own is not None:
            self._fork(note, own, source)
        elif note.number in self._proved:
            self._problem(FORKED, f"checkpoint {note.number} of {source} is not the report's")
        elif not self._known:
            self._cannot_compare(note, source)
        elif note.origin != self._log:
            self._fork(note, None, source)
        elif self._ends is not None and note.at > self._ends:
            self.outcome.notes.append(f"checkpoint {note.number} of {source} is newer than this")
        elif self._known and note.number < min(self._known):
            self.outcome.notes.append(f"{source} begins before what is checked here")
        else:
            self._problem(
                FORKED,
                f"checkpoint {note.number} of {source} ({note.at:%Y-%m-%d %H:%M:%S}) is not in the"
                " trail any more: it was cut off, or is an older copy",
            )

    def _cannot_compare(self, note: Note, source: str) -> None:
        if not self._signed:
            self.outcome.notes.append(
                f"checkpoint {note.number} of {source} holds; this excerpt cannot be compared"
            )
            return
        self._problem(
            FORKED,
            f"checkpoint {note.number} of {source} ({note.at:%Y-%m-%d %H:%M:%S}) is not in the"
            " trail, which holds none any more",
        )

    def _check_sequence(self, now: datetime | None) -> None:
        """Nothing between two checkpoints is missing, neither a number nor time."""
        numbers = sorted(self._known)
        for before, after in pairwise(numbers):
            one, other = self._known[before], self._known[after]
            if after != before + 1 or other.previous != one.digest:
                self._problem(FORKED, f"checkpoint {before + 1} is missing or was replaced")
                continue
            self._check_gap(one.at, other.at, f"checkpoint {after}")
        if self._whole and not self._begin and numbers and numbers[0] != 1:
            self._problem(FORKED, f"the checkpoints before {numbers[0]} are missing")
        if now is not None and numbers:
            self._check_gap(self._known[numbers[-1]].at, now, "now")

    def _check_gap(self, since: datetime, until: datetime, what: str) -> None:
        if (until - since).total_seconds() > self._longest_gap:
            self._problem(
                GAP,
                f"no checkpoint between {since:%Y-%m-%d %H:%M:%S} and {until:%Y-%m-%d %H:%M:%S}"
                f" UTC ({what}): the console stood still, or its checkpoints were held back",
            )

    # Events.

    def event(
        self,
        body: Mapping[str, Any],
        prev_hash: str | None = None,
        own_hash: str | None = None,
        address: Mapping[str, str] | None = None,
    ) -> None:
        """Take the next event; those of a stream come one after another, in their order."""
        self.outcome.events += 1
        stream, seq = str(body["stream"]), int(body["seq"])
        if stream != self._stream:
            self._end_stream()
            self._begin_stream(stream, seq, prev_hash)
        if self._bad:
            return
        why = self._wrong(body, seq, prev_hash, own_hash, address)
        if why:
            self._bad = True
            self._problem(BROKEN, why, stream, min(seq, self._seq + 1))
            return
        named = str(body.get("grant", ""))
        if len(named) == LENGTH_OF_UUID:
            self._named.setdefault(named, (stream, seq))
        wanted = self._wanted.get(stream, {}).get(seq)
        if wanted is not None and wanted[0] != self._hash:
            self._bad = True
            self._problem(
                FORKED, f"checkpoint {wanted[1]} was signed over another event", stream, seq
            )

    def _begin_stream(self, stream: str, seq: int, prev_hash: str | None) -> None:
        if stream in self._seen:
            self._problem(BROKEN, "its events do not stand together", stream, seq)
        self.outcome.streams += 1
        self._stream, self._bad = stream, False
        self._first[stream] = seq
        self._seq, self._hash = self._begin.get(stream, (0, ZERO))
        if not self._whole and seq > 1:
            # An excerpt begins somewhere; what came before is vouched for by its first hash.
            self._seq, self._hash = seq - 1, prev_hash or ZERO
            self.outcome.notes.append(f"{stream} begins with event {seq} here")

    def _wrong(
        self,
        body: Mapping[str, Any],
        seq: int,
        prev_hash: str | None,
        own_hash: str | None,
        address: Mapping[str, str] | None,
    ) -> str:
        """Return what is wrong with the event, '' for nothing; go on to it if so."""
        if seq != self._seq + 1:
            return "an event is missing" if seq > self._seq + 1 else "an event is there twice"
        if prev_hash is not None and prev_hash != self._hash:
            return "it does not follow the event before it"
        try:
            found = chained(self._hash, body)
        except ValueError as error:
            return f"an event was changed: {error}"
        if own_hash is not None and own_hash != found:
            return "an event was changed"
        if address is not None and salted(address) != body.get("ip"):
            return "its address was changed"
        self._seq, self._hash = seq, found
        return ""

    def _end_stream(self) -> None:
        if not self._stream:
            return
        if not self._bad:
            self._seen[self._stream] = (self._seq, self._hash)
            beyond = [seq for seq in self._wanted.get(self._stream, {}) if seq > self._seq]
            if beyond:
                self._problem(
                    FORKED,
                    f"the tail was cut: a checkpoint knows event {max(beyond)}",
                    self._stream,
                    self._seq + 1,
                )
                self._bad = True
        else:
            self._seen[self._stream] = (-1, "")
        self._stream = ""

    def head(
        self, stream: str, seq: int, head_hash: str, *, earlier: tuple[int, str] | None = None
    ) -> None:
        """Compare what a stream says its last event is; after all events.

        `earlier` is what it said before the events were read: more may have come meanwhile.
        """
        self._end_stream()
        found = self._seen.get(stream, self._begin.get(stream, (0, ZERO)))
        if found[0] < 0 or found == (seq, head_hash) or found == earlier:
            return
        if earlier is not None and earlier[0] < found[0] < seq:
            return
        why = "the tail was cut" if seq >= found[0] else "events were added"
        if seq == found[0]:
            why = "the stream's head was changed"
        self._problem(BROKEN, why, stream, min(found[0], seq) + 1)

    def vouch(self, *, tails: bool = False) -> None:
        """Tell which events of an excerpt no checkpoint vouches for; after all events.

        Links that fit each other anybody can make: what is signed is a checkpoint. With `tails`
        what is newer than the last one is no finding, be it all of a stream.
        """
        self._end_stream()
        for stream, (last, _hash) in self._seen.items():
            signed = max(self._wanted.get(stream, {}), default=0)
            if last < 0:
                continue
            if signed < self._first[stream] and not tails:
                self._problem(
                    UNCHECKED, "no checkpoint is there that vouches for its events", stream, last
                )
            elif signed < last:
                self.outcome.notes.append(
                    f"{stream}: events after {signed} are newer than the checkpoint"
                )

    def between(
        self,
        first: Note | None,
        last: Note | None,
        *,
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        """Say what the excerpt is of, and whether that is all of the time that it names."""
        begins = "the first event"
        if first is not None:
            begins = f"{first.at:%Y-%m-%d %H:%M:%S} UTC (checkpoint {first.number})"
            if since is not None and first.at > since:
                self._problem(UNCHECKED, f"it begins at {first.at:%Y-%m-%d %H:%M:%S} UTC only")
        if last is None:
            return
        self.outcome.excerpt = (
            f"an excerpt from {begins} to {last.at:%Y-%m-%d %H:%M:%S} UTC (checkpoint"
            f" {last.number})"
        )
        if until is not None and (until - last.at).total_seconds() > self._longest_gap:
            self._problem(
                UNCHECKED,
                f"no checkpoint is there that vouches for what came after"
                f" {last.at:%Y-%m-%d %H:%M:%S} UTC",
            )

    def unbounded(self) -> None:
        """Say that an excerpt has no ends that anybody has signed."""
        self._problem(
            UNCHECKED,
            "it is a part of the trail without the checkpoints around it, so nobody can tell what"
            " is missing at its ends; have it exported anew",
        )

    def broken(self, stream: str, seq: int, why: str) -> None:
        """Tell of an event that cannot even be read."""
        if not (self._bad and stream == self._stream):
            self._problem(BROKEN, why, stream, seq)
        if stream == self._stream:
            self._bad = True

    def grant(
        self, payload: str, signature: str, kid: str, *, keys: Mapping[str, bytes] | None = None
    ) -> None:
        """Check the signature of one approval grant.

        `keys` are all with which this console ever signed approvals, where that is known: a grant
        by any other is forged then. Without it only the given keys are there to try.
        """
        self.outcome.grants += 1
        self._granted.add(id_in(payload))
        public = (self._keys if keys is None else keys).get(kid)
        if Ed25519PublicKey is None:
            self._problem(UNCHECKED, NO_CRYPTOGRAPHY)
            return
        try:
            signed, packed = unpacked(payload), unpacked(signature)
        except ValueError:
            signed, packed = b"", b""
        if public is None:
            # Another key than that of checkpoints; not everybody was given both.
            self._problem(
                UNCHECKED if keys is None else BAD_SIGNATURE,
                f"{grant_words(signed)} is signed by a key that is not known here ({kid})",
            )
        elif not signature_holds(public, packed, signed):
            self._problem(
                BAD_SIGNATURE, f"the signature of {grant_words(signed)} by key {kid} is wrong"
            )

    def proof(self, text: str, told: Mapping[str, Any]) -> None:
        """Check that a checkpoint was signed over one stream's head."""
        try:
            note = parse_note(text)
            hash_of_head = leaf(told["stream"], told["seq"], told["hash"])
            root = root_from(hash_of_head, told["index"], told["count"], told["path"])
        except (KeyError, TypeError, ValueError) as error:
            self._problem(BAD_SIGNATURE, f"the proof of a checkpoint cannot be used: {error}")
            return
        self.outcome.checkpoints += 1
        self._proved[note.number] = note.digest
        self._check_signature(note, "the report")
        if root != note.root:
            self._problem(BAD_SIGNATURE, f"checkpoint {note.number} was not signed over this head")
        self._wanted.setdefault(told["stream"], {})[told["seq"]] = (told["hash"], note.number)

    def finish(self, *, now: datetime | None = None) -> Outcome:
        """Compare what is left to compare, and return what was found."""
        self._end_stream()
        if self._whole:
            for stream in self._wanted.keys() - self._seen.keys():
                last = max(self._wanted[stream])
                if last > self._begin.get(stream, (0, ZERO))[0]:
                    self._problem(
                        FORKED, f"the tail was cut: a checkpoint knows event {last}", stream,
                        self._begin.get(stream, (0, ZERO))[0] + 1,
                    )  # fmt: skip
        self._check_sequence(now)
        if self._approved:
            for jti in self._named.keys() - self._granted:
                self._problem(
                    BAD_SIGNATURE, f"its signed approval {jti} is missing", *self._named[jti]
                )
        if self._signed and self.outcome.events and not self._known:
            self._problem(UNCHECKED, "no checkpoint is there that vouches for these events")
        return self.outcome


# --- files


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file; ValueError names the line that is none."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if not isinstance(found, dict):
                raise ValueError(f"{path}, line {number}: it is no JSON object")
            yield found


def anchor_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and those of the folders, by name."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return found


def anchor_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints of an anchor file; a line that a crash cut off is left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "checkpoint" in found:
            yield found


def verify_files(
    files: Sequence[Path], anchors: Sequence[Path], keys: Mapping[str, bytes]
) -> Outcome:
    """Check what the files hold, against the anchors."""
    told = _first_look(files)
    own_keys, told_keys = not keys, told.keys
    verifier = TrailVerifier(
        keys or told_keys,
        since=told.begin,
        whole=not told.is_unbounded,
        signed=told.scope == "everything" or (told.scope == "period" and told.is_period),
        approved=told.scope.startswith("plan:"),
        ends=told.last.at if told.is_period and told.last else told.at,
    )
    if own_keys and told_keys:
        verifier.outcome.notes.append(
            "the keys are those that the file itself names: compare their ids with what you were"
            f" given otherwise ({', '.join(sorted(told_keys))})"
        )
    _take_checkpoints(verifier, files, anchors)
    heads = [head for line in _all_lines(files) if (head := _take(verifier, line)) is not None]
    for head in heads:
        verifier.head(head["stream"], head["seq"], head["hash"])
    if not told.is_period:
        _tell_newest(verifier, told.last)
    if told.scope == "everything":
        return verifier.finish(now=told.at)
    verifier.vouch(tails=told.scope == "period" and told.last is not None)
    if told.is_period:
        verifier.between(told.first, told.last, since=told.since, until=told.until)
    elif told.is_unbounded:
        verifier.unbounded()
    return verifier.finish()


def _take_checkpoints(
    verifier: TrailVerifier, files: Sequence[Path], anchors: Sequence[Path]
) -> None:
    for line in _all_lines(files):
        if "proof" in line:
            verifier.proof(line["checkpoint"], line["proof"])
        elif "checkpoint" in line:
            verifier.checkpoint(line["checkpoint"], line.get("heads"), whole=line["whole"])
    for path in anchor_files(anchors):
        for line in anchor_lines(path):
            verifier.anchor(line["checkpoint"], str(path.name))


def _tell_newest(verifier: TrailVerifier, newest: Note | None) -> None:
    """Say to when it reaches: whoever cut off what came later says another time in its heading."""
    if newest is not None:
        verifier.outcome.notes.append(
            f"the newest checkpoint in it is {newest.number}, of"
            f" {newest.at:%Y-%m-%d %H:%M:%S} UTC; what came later it does not prove"
        )


def _take(verifier: TrailVerifier, line: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Take an event or a grant; return a stream's head, which is compared at the end."""
    if "seq" in line and "stream" in line:
        verifier.event(line)
    elif "event" in line:
        verifier.event(line["event"], line["prev_hash"], line["hash"], line.get("address"))
    elif "head" in line:
        head: Mapping[str, Any] = line["head"]
        return head
    elif "grant" in line:
        grant = line["grant"]
        verifier.grant(grant["payload"], grant["sig"], grant["kid"])
    return None


def _all_lines(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        yield from lines_of(path)


@dataclass
class Told:
    """What files say of themselves, before anything of it was checked."""

    scope: str = ""
    at: datetime | None = None
    keys: dict[str, bytes] = field(default_factory=dict)
    is_period: bool = False
    is_unbounded: bool = False
    """Whether it is a part whose ends no checkpoint says."""
    since: datetime | None = None
    until: datetime | None = None
    begin: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The heads after which a period begins, as the checkpoint before it is said to have them."""
    first: Note | None = None
    last: Note | None = None


def _first_look(files: Sequence[Path]) -> Told:
    told = Told()
    for path in files:
        for line in lines_of(path):
            if "trail" in line:
                _look_at_header(told, line["trail"])
            elif "key" in line:
                public = bytes.fromhex(line["key"]["public_key"])
                told.keys[kid_of(public)] = public
            elif "checkpoint" in line:
                _look_at_edge(told, line)
    return told


def _look_at_header(told: Told, header: Mapping[str, Any]) -> None:
    told.scope = str(header["scope"])
    told.at = moment(header["at"])
    told.is_period = "between" in header
    is_part = told.scope == "period" or bool(header.get("since") or header.get("until"))
    told.is_unbounded = is_part and not told.is_period
    told.since = moment(header["since"]) if header.get("since") else None
    until = moment(header["until"]) if header.get("until") else told.at
    told.until = min(until, told.at)


def _look_at_edge(told: Told, line: Mapping[str, Any]) -> None:
    """Take a checkpoint for an end of the file: of all streams with heads, of one with its proof.

    One that says less of it ends nothing: what is proved of one stream says nothing of the others.
    """
    proof = line.get("proof", {})
    of_all = told.scope in {"everything", "period"}
    fits = not proof if of_all else proof.get("stream") == told.scope
    if told.scope and not fits:
        return
    try:
        note = parse_note(line["checkpoint"])
    except ValueError:
        # Said when it is checked.
        return
    if line.get("edge") != "before" or not told.is_period:
        told.last = note
        return
    heads = {proof["stream"]: (proof["seq"], proof["hash"])} if proof else line["heads"]
    begin = {str(stream): (int(seq), str(head)) for stream, (seq, head) in heads.items()}
    if proof or root_of(begin) == note.root:
        told.first, told.begin = note, begin


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        # argparse would end with 2, which has a meaning of its own here.
        self.exit(UNREADABLE, f"{message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check files and say what was found."""
    parser = _Arguments(description="Check a trail of an Upgrade Console.")
    parser.add_argument("files", nargs="+", type=Path, help="exports of the trail")
    parser.add_argument("--anchors", action="append", default=[], type=Path)
    parser.add_argument("--pubkey", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        given = [Path(key).read_text() if Path(key).exists() else key for key in asked.pubkey]
        keys = {kid_of(public): public for public in map(read_key, given)}
        outcome = verify_files(asked.files, asked.anchors, keys)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"This cannot be read: {error}\n")
        return UNREADABLE
    say(outcome, as_json=asked.json)
    return outcome.exit


def say(outcome: Outcome, *, as_json: bool, to: Any = None) -> None:
    """Write what was found."""
    out = to or sys.stdout
    if as_json:
        told = asdict(outcome) | {"exit": outcome.exit, "sentence": outcome.sentence}
        out.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    out.write(f"{outcome.sentence}\n")
    for problem in outcome.problems:
        if problem is not outcome.first:
            out.write(f"  {WORDS[problem.exit]}: {problem}\n")
    for note in outcome.notes:
        out.write(f"Note: {note}.\n")


if __name__ == "__main__":
    raise SystemExit(main())

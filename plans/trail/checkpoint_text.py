"""A checkpoint of the trail: what all streams' heads were at a moment, as one signed text.

The heads, sorted by stream, are the leaves of an RFC 6962 tree; its root stands in a text of the
C2SP form (tlog-checkpoint, signed-note), so that other people's tools can check the signature.
Pure: no clock, no settings, no database.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from plans.chain import timestamp

NO_CHECKPOINT = "0" * 64
ED25519 = b"\x01"
Heads = Mapping[str, tuple[int, str]]
"""Stream -> number and hash of its last event."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What shows that one stream's head is under a root: its leaf and the hashes beside its way."""

    stream: str
    seq: int
    hash: str
    index: int
    count: int
    path: tuple[str, ...]


def leaf(stream: str, seq: int, head_hash: str) -> bytes:
    """Return the hash of one head: SHA-256 over 0x00 and the line "stream seq hash"."""
    return hashlib.sha256(b"\x00" + f"{stream} {seq} {head_hash}".encode()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _leaves(heads: Heads) -> list[bytes]:
    return [leaf(stream, *heads[stream]) for stream in sorted(heads)]


def _split(count: int) -> int:
    """Return the largest power of two below the count, where RFC 6962 divides."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    # Level by level gives the tree of RFC 6962: who is left over goes up as it is.
    level = list(leaves)
    while len(level) > 1:
        pairs = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0] if level else hashlib.sha256(b"").digest()


def root_of(heads: Heads) -> bytes:
    """Return the root over all heads; of none, the hash of nothing."""
    return _root(_leaves(heads))


def inclusion(heads: Heads, stream: str) -> Inclusion:
    """Return the proof that the stream's head is under the root; KeyError for no such stream."""
    seq, head_hash = heads[stream]
    leaves = _leaves(heads)
    index = sorted(heads).index(stream)
    path: list[str] = []
    part, at = leaves, index
    while len(part) > 1:
        half = _split(len(part))
        inside, beside = (part[:half], part[half:]) if at < half else (part[half:], part[:half])
        path.append(_root(beside).hex())
        part, at = inside, at if at < half else at - half
    return Inclusion(stream, seq, head_hash, index, len(leaves), tuple(reversed(path)))


def key_name(instance: str) -> str:
    """Return the instance as a key may be named: no blanks, no plus sign."""
    return "".join("-" if sign.isspace() or sign == "+" else sign for sign in instance) or "console"


def note_key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes that stand before a signature: of the name, the algorithm, the key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """Return the public key in the form of signed notes: name+id+key."""
    told = base64.b64encode(ED25519 + public).decode()
    return f"{name}+{note_key_id(name, public).hex()}+{told}"


def compose(
    *,
    origin: str,
    number: int,
    at: datetime,
    size: int,
    root: bytes,
    previous: str,
    kid: str,
) -> str:
    """Return the text that is signed; `previous` is the SHA-256 of the checkpoint before it."""
    lines = (
        origin,
        str(size),
        base64.b64encode(root).decode(),
        f"number {number}",
        f"time {timestamp(at)}",
        f"previous {previous}",
        f"key {kid}",
    )
    return "\n".join(lines) + "\n"


def signed(text: str, *, name: str, public: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Return the text with its signature line."""
    told = base64.b64encode(note_key_id(name, public) + sign(text.encode())).decode()
    return f"{text}\n— {name} {told}\n"


def digest_of(note: str) -> str:
    """Return the SHA-256 of a whole checkpoint, by which the next one names it."""
    return hashlib.sha256(note.encode()).hexdigest()

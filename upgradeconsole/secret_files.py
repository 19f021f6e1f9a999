"""Files that hold a secret: made at first start, readable by their owner alone, never half there.

On the ground floor: used by everything, imports nothing of the product and no Django.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretFileRefused(Exception):
    """The file must not be used as it is; the sentence says what to do."""


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the file's content; where there is none, write what `make` returns and return that.

    Of several processes that start at once one makes the file, and all return the same bytes.
    Raises SecretFileRefused for a file that others may read, that is no plain file or is empty,
    and where none can be made.
    """
    try:
        return read_secret_file(path)
    except FileNotFoundError:
        pass
    made = make()
    try:
        # The folder is made as the data folder is; a mode of its own would be a surprise.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = _written_beside(path, made)
        try:
            # Unlike a rename this never replaces what another process has made meanwhile.
            os.link(draft, path)
        except FileExistsError:
            return read_secret_file(path)
        finally:
            draft.unlink()
    except OSError as error:
        raise SecretFileRefused(f"{path} cannot be made: {error.strerror}") from error
    return made


def read_secret_file(path: Path) -> bytes:
    """Return the content of a file that only its owner may read.

    Raises FileNotFoundError or SecretFileRefused.
    """
    try:
        # What is looked at is what is read: the name may lead elsewhere a moment later.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SecretFileRefused(
            f"{path} cannot be read: {error.strerror}; it must be a plain file of the console's own"
            " user, and no link"
        ) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SecretFileRefused(f"{path} is no plain file; put it away, and a new one is made")
        if status.st_mode & OTHERS:
            raise SecretFileRefused(
                f"{path} may be read by others (mode {status.st_mode & 0o777:03o}); what was in it"
                f" may be known: replace it, or type: chmod 600 {path}"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise SecretFileRefused(
                f"{path} belongs to another user ({status.st_uid}); whoever wrote it knows it"
            )
        content = _all_of(handle)
    finally:
        os.close(handle)
    if not content.strip():
        raise SecretFileRefused(f"{path} is empty; put it away, and a new one is made")
    return content


def _all_of(handle: int) -> bytes:
    parts = []
    while part := os.read(handle, 65_536):
        parts.append(part)
    return b"".join(parts)


def replace_secret_file(path: Path, content: bytes) -> None:
    """Write the content in the place of what is there, as a whole or not at all."""
    draft = _written_beside(path, content)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _written_beside(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            # A power cut right after must not leave an empty key behind.
            os.fsync(out.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft

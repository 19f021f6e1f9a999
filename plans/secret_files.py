"""Files that hold a secret: made at first use, whole or not at all, for their owner alone."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


class NotSecret(OSError):
    """Raised for a secret file that others may read or write; it says what to do."""


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the file's content; where there is none, make it first.

    Of processes that start at once one makes it and all return the same. Raises NotSecret for a
    file that its group or others may touch, and OSError where it can be neither read nor made.
    """
    try:
        return read_secret(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = _draft(path, make())
        try:
            # A link is made only where there is nothing yet.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return read_secret(path)


def replace_secret(path: Path, content: bytes) -> None:
    """Put another secret in the file's place, at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _draft(path, content).replace(path)


def read_secret(path: Path) -> bytes:
    """Return the content; raise NotSecret where others may touch the file."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise NotSecret(
                f"{path} may be read or written by others (mode {mode:o}); whoever could, may have"
                f" the secret: change it, or run chmod 600 {path} if nobody could."
            )
        return file.read()


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return draft

"""Turn a platform's JSON about one tenant into Observed, or say what is wrong with it."""

from __future__ import annotations

from batches.deployers.answer_text import presentable, storable
from batches.deployers.base import Observed, ObserveFailed
from batches.deployers.json_path import MISSING, look_up

_LONGEST = 200


def read_observed(
    document: object, *, version: str, digest: str | None, config: str | None
) -> Observed:
    """Return what the document says at these JSON paths. Raises ObserveFailed."""
    if document is MISSING:
        raise ObserveFailed("the answer is not JSON")
    found = look_up(document, version)
    if found is MISSING or found is None:
        raise ObserveFailed(f"the answer had no {version}")
    return Observed(
        version=_word(found, version),
        digest=_digest(document, digest),
        config=_config(document, config),
    )


def _word(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        shown = presentable(repr(value))
        raise ObserveFailed(f"the answer had {path} = {shown}, which is not a text")
    if len(value) > _LONGEST or not value.isprintable():
        raise ObserveFailed(
            f"the answer's {path} is not one printable word of up to {_LONGEST} characters"
        )
    return value


def _digest(document: object, path: str | None) -> str | None:
    found = MISSING if path is None else look_up(document, path)
    if found is MISSING or found is None or found == "":
        return None
    return _word(found, str(path))


def _config(document: object, path: str | None) -> object | None:
    found = MISSING if path is None else look_up(document, path)
    if found is MISSING:
        return None
    if not storable(found):
        raise ObserveFailed(f"the answer's {path} holds characters that cannot be stored")
    return found

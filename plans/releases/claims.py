"""What a signed payload says: plugin, version and digest, once its signature holds.

Two kinds of payload say it: an in-toto Statement v1, and the simple-signing payload that
`cosign sign` makes of an image, where the annotations plugin and version name the release.
"""

import re
from dataclasses import dataclass
from typing import Any

from plans.releases.signed_forms import COSIGN, Signed, malformed, read_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
COSIGN_TYPE = "cosign container image signature"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLUGIN = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._/@-]{0,62}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """Which artifact the payload is about."""

    plugin: str
    version: str
    digest: str


def is_plugin(text: str) -> bool:
    """Tell whether a text may name a plugin: it can never lead out of a folder or a URL path."""
    parts = text.split("/")
    return bool(_PLUGIN.fullmatch(text)) and not {"", ".", ".."} & set(parts)


def is_version(text: str) -> bool:
    """Tell whether a text may name a version."""
    return bool(_VERSION.fullmatch(text))


def is_digest(text: object) -> bool:
    """Tell whether a value is a SHA-256 in lower-case hex."""
    return isinstance(text, str) and bool(_SHA256.fullmatch(text))


def read_claim(signed: Signed) -> Claim:
    """Return what a payload says whose signature holds; raises SignatureRefused."""
    body = read_json(signed.payload, "payload")
    if signed.form == COSIGN and "critical" in body:
        return _read_simple_signing(body)
    return _read_statement(body)


def _read_statement(statement: dict[str, Any]) -> Claim:
    if statement.get("_type") != STATEMENT_TYPE:
        raise malformed(f"its statement is not of the type {STATEMENT_TYPE}")
    if not isinstance(statement.get("predicateType"), str):
        raise malformed("its statement has no predicateType")
    subjects = statement.get("subject")
    subject = subjects[0] if isinstance(subjects, list) and len(subjects) == 1 else None
    if not isinstance(subject, dict):
        raise malformed("its statement needs exactly one subject")
    name = subject.get("name")
    plugin, _at, version = name.rpartition("@") if isinstance(name, str) else ("", "", "")
    if not is_plugin(plugin) or not is_version(version):
        raise malformed("its subject is not called plugin@version")
    digests = subject.get("digest")
    digest = digests.get("sha256") if isinstance(digests, dict) else None
    if not is_digest(digest):
        raise malformed("its subject has no sha256 digest of 64 lower-case hex digits")
    return Claim(plugin, version, str(digest))


def _read_simple_signing(body: dict[str, Any]) -> Claim:
    critical, optional = body["critical"], body.get("optional")
    if not isinstance(critical, dict) or critical.get("type") != COSIGN_TYPE:
        raise malformed(f"its payload is not of the type '{COSIGN_TYPE}'")
    image = critical.get("image")
    written = image.get("docker-manifest-digest") if isinstance(image, dict) else None
    digest = written.removeprefix("sha256:") if isinstance(written, str) else None
    if not is_digest(digest) or digest == written:
        raise malformed("its payload has no docker-manifest-digest of the form sha256:...")
    named = optional if isinstance(optional, dict) else {}
    plugin, version = named.get("plugin"), named.get("version")
    if not isinstance(plugin, str) or not is_plugin(plugin):
        raise malformed("its payload names no plugin: sign with -a plugin=NAME -a version=VERSION")
    if not isinstance(version, str) or not is_version(version):
        raise malformed("its payload names no version: sign with -a plugin=NAME -a version=VERSION")
    return Claim(plugin, version, str(digest))

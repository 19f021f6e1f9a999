"""Whether a release may be installed: a signature that holds now, over the very artifact we know.

Asked at registration, submission, approval and start, and again under the lock of each batch that
begins. A rollback never asks.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from plans.models import Release, TrustKey
from plans.refusal import Refused
from plans.releases.signature import SignatureRefused, TrustedKey, VerifiedRelease, verify_release

TAMPERED = frozenset({"bad_signature", "malformed", "other_artifact"})
"""What neither time nor a revocation does to a release that was verified once."""


_OF_WHICH = " may not be used: "


class ReleaseNotTrusted(Refused):
    """The release's signature does not hold (any more), or it is in quarantine."""

    default_code = "release_not_trusted"

    @property
    def why(self) -> str:
        """Return the reason alone, without which release it is about."""
        return self.sentence.partition(_OF_WHICH)[2] or self.sentence

    @property
    def tampered(self) -> bool:
        """Tell whether somebody must have changed what was kept of the release."""
        return self.code in TAMPERED


def as_trusted(keys: Iterable[TrustKey]) -> list[TrustedKey]:
    """Return keys of the trust store as the verifier wants them."""
    return [
        TrustedKey(
            key_id=key.key_id,
            public_key=key.public_key,
            not_before=key.not_before,
            not_after=key.not_after,
            revoked_at=key.revoked_at,
            plugins=tuple(key.plugins),
        )
        for key in keys
    ]


def trusted_keys() -> list[TrustedKey]:
    """Return the whole trust store as the verifier wants it."""
    return as_trusted(TrustKey.objects.all())


def verify_again(
    *, release: Release, now: datetime, keys: Sequence[TrustedKey] | None = None
) -> VerifiedRelease:
    """Return what the signature says that holds now for this very artifact.

    The signature that counts is asked first, then all that were ever handed in. Raises
    ReleaseNotTrusted, always for a release in quarantine.
    """
    if release.state == Release.QUARANTINED:
        raise ReleaseNotTrusted(_refusal(release, release.standing), code="quarantined")
    return holding_signature(release, now, trusted_keys() if keys is None else keys)[0]


def holding_signature(
    release: Release, now: datetime, keys: Sequence[TrustedKey]
) -> tuple[VerifiedRelease, str]:
    """Return a signature that holds, as what it says and as its text; quarantine does not count."""
    try:
        return _verified(release, release.envelope, now, keys), release.envelope
    except ReleaseNotTrusted as refused:
        first = refused
    if first.tampered:
        # Another signature does not make good that the one we go by was changed under our hands.
        raise first
    for text in release.signatures.exclude(envelope=release.envelope).values_list(
        "envelope", flat=True
    ):
        try:
            return _verified(release, text, now, keys), text
        except ReleaseNotTrusted:
            continue
    raise first


def _verified(
    release: Release, text: str, now: datetime, keys: Sequence[TrustedKey]
) -> VerifiedRelease:
    try:
        verified = verify_release(text, keys, at=now)
    except SignatureRefused as refused:
        raise ReleaseNotTrusted(_refusal(release, refused.reason), code=refused.code) from refused
    named = (release.plugin.key, release.version, release.digest.removeprefix("sha256:"))
    if (verified.plugin, verified.version, verified.digest) != named:
        raise ReleaseNotTrusted(
            _refusal(
                release,
                f"its signature speaks of {verified.plugin}@{verified.version},"
                f" sha256 {verified.digest[:12]}…, not of {named[0]}@{named[1]},"
                f" sha256 {named[2][:12]}….",
            ),
            code="other_artifact",
        )
    return verified


def _refusal(release: Release, why: str) -> str:
    return f"Release {release.version}{_OF_WHICH}{why}"

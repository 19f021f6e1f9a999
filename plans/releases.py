"""Register signed releases and check their signatures again before they are used."""

import json
from datetime import datetime

from django.db import transaction

from plans import events
from plans.models import Plugin, Release, TrustKey, User
from plans.permissions import require
from plans.refusal import BadInput, Refused
from plans.signature import SignatureRefused, TrustedKey, VerifiedRelease, verify_release


class ReleaseNotTrusted(Refused):
    """The release's signature does not hold (any more)."""

    default_code = "release_not_trusted"


def trusted_keys() -> list[TrustedKey]:
    """Return the trust store as the verifier wants it."""
    return [
        TrustedKey(
            key_id=key.key_id,
            public_key=key.public_key,
            not_before=key.not_before,
            not_after=key.not_after,
            revoked_at=key.revoked_at,
            plugins=tuple(key.plugins),
        )
        for key in TrustKey.objects.all()
    ]


def register_release(
    *, envelope: str, by: User | None, now: datetime, via: str, irreversible: bool = False
) -> Release:
    """Verify a DSSE envelope against the trust store and keep the release.

    The same release again is no change. Raises BadInput with the verifier's reason, and Refused
    when the version is known with another artifact: a version's digest never changes.
    """
    if by is not None:
        require(by, "manage_releases")
    try:
        verified = verify_release(envelope, trusted_keys(), at=now)
    except SignatureRefused as refused:
        raise BadInput([refused.reason], code=refused.code) from refused
    with transaction.atomic():
        plugin, _made = Plugin.objects.get_or_create(
            key=verified.plugin, defaults={"name": verified.plugin}
        )
        known = Release.objects.filter(plugin=plugin, version=verified.version).first()
        if known is not None:
            return _signed_again(known, verified, envelope=envelope, by=by, now=now, via=via)
        release = Release.objects.create(
            plugin=plugin,
            version=verified.version,
            digest=verified.digest,
            envelope=envelope,
            signed_by=TrustKey.objects.get(key_id=verified.key_id),
            verified_at=now,
            irreversible=irreversible,
            registered_by=by,
        )
        events.record(
            stream=None,
            kind="release_registered",
            sentence=f"{plugin.key} {release.version} was registered; signature by key"
            f" {verified.key_id} verified, artifact sha256 {release.digest[:12]}…",
            actor=by,
            via=via,
            now=now,
            payload={
                "plugin": plugin.key,
                "version": release.version,
                "digest": release.digest,
                "key_id": verified.key_id,
            },
        )
    return release


def _signed_again(
    known: Release,
    verified: VerifiedRelease,
    *,
    envelope: str,
    by: User | None,
    now: datetime,
    via: str,
) -> Release:
    """Keep a newer signature over the very same artifact; refuse another artifact."""
    if known.digest != verified.digest:
        raise Refused(
            f"{known.plugin.key} {known.version} is registered with another artifact"
            f" ({known.digest[:12]}…); give the changed artifact a new version.",
            code="digest_changed",
        )
    if json.loads(known.envelope) == json.loads(envelope):
        return known
    known.envelope = envelope
    known.signed_by = TrustKey.objects.get(key_id=verified.key_id)
    known.verified_at = now
    known.save()
    events.record(
        stream=None,
        kind="release_signed_again",
        sentence=f"{known.plugin.key} {known.version} has a new signature by key"
        f" {verified.key_id} over the same artifact.",
        actor=by,
        via=via,
        now=now,
        payload={"plugin": known.plugin.key, "version": known.version, "key_id": verified.key_id},
    )
    return known


def verify_again(*, release: Release, now: datetime) -> None:
    """Raise ReleaseNotTrusted unless the stored signature still holds for this very artifact."""
    try:
        verified = verify_release(release.envelope, trusted_keys(), at=now)
    except SignatureRefused as refused:
        raise ReleaseNotTrusted(
            f"Release {release.version} may not be used: {refused.reason}", code=refused.code
        ) from refused
    same = (verified.plugin, verified.version, verified.digest) == (
        release.plugin.key,
        release.version,
        release.digest,
    )
    if not same:
        raise ReleaseNotTrusted(
            f"Release {release.version} may not be used: its signature speaks of"
            f" {verified.plugin}@{verified.version}, sha256 {verified.digest[:12]}…."
        )


def trust_key(
    *,
    key_id: str,
    public_key: str,
    name: str,
    not_before: datetime,
    not_after: datetime,
    plugins: tuple[str, ...],
    by: User | None,
    now: datetime,
    via: str,
) -> TrustKey:
    """Add a public key to the trust store; raise Refused when its id is there already."""
    if by is not None:
        require(by, "administer")
    if not_after <= not_before:
        raise BadInput(["not_after: the key would end before it begins"])
    with transaction.atomic():
        if TrustKey.objects.filter(key_id=key_id).exists():
            raise Refused(f"Key {key_id} is in the trust store already.", code="key_known")
        key = TrustKey.objects.create(
            key_id=key_id,
            public_key=public_key,
            name=name,
            not_before=not_before,
            not_after=not_after,
            plugins=list(plugins),
        )
        events.record(
            stream=None,
            kind="key_trusted",
            sentence=f"Key {key_id} ({name or 'no name'}) is trusted from {not_before:%Y-%m-%d}"
            f" to {not_after:%Y-%m-%d} for {', '.join(plugins) or 'all plugins'}.",
            actor=by,
            via=via,
            now=now,
            payload={"key_id": key_id, "plugins": list(plugins)},
        )
    return key


@transaction.atomic
def revoke_key(*, key_id: str, reason: str, by: User | None, now: datetime, via: str) -> TrustKey:
    """Stop trusting a key from now on; what it signed is refused at the next check."""
    if by is not None:
        require(by, "administer")
    key = TrustKey.objects.select_for_update(no_key=True).filter(key_id=key_id).first()
    if key is None:
        raise Refused(f"There is no key {key_id} in the trust store.", code="key_unknown")
    if key.revoked_at is not None:
        raise Refused(f"Key {key_id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC already.")
    key.revoked_at = now
    key.save()
    events.record(
        stream=None,
        kind="key_revoked",
        sentence=f"Key {key_id} was revoked{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"key_id": key_id, "reason": reason},
    )
    return key

"""Register signed releases, and say whose signatures count: keys are trusted, retired, revoked.

Whether a release may be used now is asked of `plans/releases/trust.py`; how it stands after a
revocation or in quarantine is kept by `plans/releases/standing.py`.
"""

import json
from datetime import datetime

from django.db import transaction

from plans.models import Plugin, Release, TrustKey, User
from plans.people.permissions import require
from plans.reading_direction import turning_problems
from plans.refusal import BadInput, NotFound, Refused
from plans.releases.signature import SignatureRefused, VerifiedRelease, key_id_of, verify_release
from plans.releases.standing import (
    keep_signature,
    plans_of_key,
    reassess_releases_of,
    trust_again,
)
from plans.releases.trust import ReleaseNotTrusted, trusted_keys, verify_again
from plans.trail import events

__all__ = [
    "ReleaseNotTrusted",
    "register_release",
    "retire_key",
    "revoke_key",
    "trust_key",
    "trusted_keys",
    "verify_again",
]


def register_release(
    *, envelope: str, by: User | None, now: datetime, via: str, irreversible: bool = False
) -> Release:
    """Verify a signed release (DSSE, or signed by cosign) against the trust store and keep it.

    The same signature again is no change; another one over the same artifact is kept beside the
    earlier ones and counts from now on. Raises BadInput with the verifier's reason, and Refused
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
        releases = Release.objects.select_for_update(no_key=True)
        known = releases.filter(plugin=plugin, version=verified.version).first()
        if known is not None:
            return _signed_again(known, verified, envelope=envelope, by=by, now=now, via=via)
        key = TrustKey.objects.get(key_id=verified.key_id)
        release = Release.objects.create(
            plugin=plugin,
            version=verified.version,
            digest=verified.digest,
            envelope=envelope,
            signed_by=key,
            verified_at=now,
            irreversible=irreversible,
            registered_by=by,
        )
        keep_signature(
            release, envelope=envelope, form=verified.form, key=key, by=by, now=now, via=via
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
    before = known.signatures.values_list("envelope", flat=True)
    is_new = all(json.loads(text) != json.loads(envelope) for text in before)
    if not is_new and known.state != Release.DISTRUSTED:
        return known
    key = TrustKey.objects.get(key_id=verified.key_id)
    if is_new:
        keep_signature(
            known, envelope=envelope, form=verified.form, key=key, by=by, now=now, via=via
        )
    known.envelope = envelope
    known.signed_by = key
    known.verified_at = now
    known.save()
    trust_again(known, by=by, now=now, via=via)
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
    """Add a public key to the trust store; raise Refused when its id is there already.

    Several keys may be trusted at once, so that a new one overlaps with the one it follows.
    """
    if by is not None:
        require(by, "administer")
    problems = _problems_of_key(public_key, not_before, not_after)
    if problems := [*turning_problems(name), *problems]:
        raise BadInput(problems)
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


def _problems_of_key(public_key: str, not_before: datetime, not_after: datetime) -> list[str]:
    problems = []
    if not_after <= not_before:
        problems.append("not_after: the key would end before it begins")
    try:
        key_id_of(public_key)
    except ValueError as error:
        problems.append(f"public_key: {error}")
    return problems


@transaction.atomic
def retire_key(
    *, key_id: str, not_after: datetime, reason: str, by: User | None, now: datetime, via: str
) -> TrustKey:
    """Let a key end earlier than it would, as when another one has taken over.

    Its time only ever gets shorter: whoever needs longer trusts a new key. A key that must not
    count from now on is revoked.
    """
    if by is not None:
        require(by, "administer")
    key = _locked_key(key_id)
    if key.revoked_at is not None:
        raise Refused(f"Key {key_id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC already.")
    if not_after <= now:
        raise BadInput(["not_after: this moment is over; revoke the key to end it at once"])
    if not_after >= key.not_after:
        raise BadInput(
            [
                f"not_after: the key ends at {key.not_after:%Y-%m-%d %H:%M} UTC; it can only end"
                " earlier, for longer trust a new key"
            ]
        )
    key.not_after = not_after
    key.save()
    events.record(
        stream=None,
        kind="key_retired",
        sentence=f"Key {key_id} ({key.name or 'no name'}) is trusted until"
        f" {not_after:%Y-%m-%d %H:%M} UTC only{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"key_id": key_id, "not_after": not_after.isoformat(), "reason": reason},
    )
    return key


def _locked_key(key_id: str) -> TrustKey:
    key = TrustKey.objects.select_for_update(no_key=True).filter(key_id=key_id).first()
    if key is None:
        raise NotFound(f"There is no key {key_id} in the trust store.", code="key_unknown")
    return key


@transaction.atomic
def revoke_key(*, key_id: str, reason: str, by: User | None, now: datetime, via: str) -> TrustKey:
    """Stop trusting a key from now on, and all that no other trusted key has signed.

    Plans that have not begun are refused at their start, plans under way are held by the watch.
    """
    if by is not None:
        require(by, "administer")
    known = TrustKey.objects.filter(key_id=key_id).first()
    plans = plans_of_key(known) if known is not None else []
    key = _locked_key(key_id)
    if key.revoked_at is not None:
        raise Refused(f"Key {key_id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC already.")
    key.revoked_at, key.revoked_by, key.revoked_why = now, by, reason.strip()[:300]
    key.save()
    fallen = reassess_releases_of(key, plans, by=by, now=now, via=via)
    named = ", ".join(f"{release.plugin.key} {release.version}" for release in fallen[:10])
    reach = f" Not trusted any more: {named}." if fallen else ""
    events.record(
        stream=None,
        kind="key_revoked",
        sentence=f"Key {key_id} was revoked{': ' + reason.rstrip('.') if reason else ''}.{reach}",
        actor=by,
        via=via,
        now=now,
        payload={
            "key_id": key_id,
            "reason": reason,
            "releases": [f"{release.plugin.key}@{release.version}" for release in fallen],
        },
    )
    return key

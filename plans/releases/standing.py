"""The standing of releases: trusted, not trusted any more, or in quarantine; and who changes it.

What runs or is installed is not touched from here. The watch sees the standing: it holds plans
that are under way and tells who runs what should not be run.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan, Release, ReleaseSignature, TrustKey, User
from plans.people.permissions import require
from plans.refusal import BadInput, NotFound, Refused
from plans.releases.trust import (
    ReleaseNotTrusted,
    holding_signature,
    trusted_keys,
    verify_again,
)
from plans.trail import events

NOT_ENDED = ("draft", "awaiting_approval", "approved", *sorted(LIVE_PLAN_STATES))
"""Plans in these states have still to install something, or may have to take it back."""


class NotInQuarantine(Refused):
    """The release is in no quarantine."""

    default_code = "not_in_quarantine"


def quarantine_release(
    *, release_id: Any, reason: str, by: User | None, now: datetime, via: str
) -> Release:
    """Let nothing of a release be installed any more, whatever its signature says.

    Anybody who may stop a plan may do it; only an administrator ends it. Twice is once.
    """
    if by is not None:
        require(by, "quarantine")
    if not reason.strip():
        raise BadInput(["reason: say what is wrong with it; whoever runs it reads it"])
    with transaction.atomic():
        plans = _locked_plans([release_id])
        release = _locked_release(release_id)
        if release.state == Release.QUARANTINED:
            return release
        _stand(release, Release.QUARANTINED, reason.strip(), by=by, now=now)
        who = by.get_full_name() if by is not None else "The console"
        _tell(
            release,
            plans,
            kind="release_quarantined",
            sentence=f"{who} put {release.plugin.key} {release.version} into quarantine:"
            f" {reason.strip().rstrip('.')}. Nothing of it is installed any more.",
            by=by,
            now=now,
            via=via,
        )
    return release


def lift_quarantine(*, release_id: Any, reason: str, by: User, now: datetime, via: str) -> Release:
    """End a quarantine; raise ReleaseNotTrusted when what was kept of the release was changed."""
    require(by, "administer")
    if not reason.strip():
        raise BadInput(["reason: say why it may be installed again"])
    with transaction.atomic():
        plans = _locked_plans([release_id])
        release = _locked_release(release_id)
        if release.state != Release.QUARANTINED:
            raise NotInQuarantine(
                f"{release.plugin.key} {release.version} is in no quarantine (any more)."
            )
        state, why = _standing_by_signature(release, now)
        _stand(release, state, why, by=by, now=now)
        after = "" if state == Release.TRUSTED else f" It stays unused: {why}"
        _tell(
            release,
            plans,
            kind="release_quarantine_lifted",
            sentence=f"{by.get_full_name()} took {release.plugin.key} {release.version} out of"
            f" quarantine: {reason.strip().rstrip('.')}.{after}",
            by=by,
            now=now,
            via=via,
        )
    return release


def _standing_by_signature(release: Release, now: datetime) -> tuple[str, str]:
    try:
        holding_signature(release, now, trusted_keys())
    except ReleaseNotTrusted as refused:
        if refused.tampered:
            raise
        if refused.code == "revoked_key":
            return Release.DISTRUSTED, refused.why
    # What time does to a key is asked of the clock, each time anew; what people do is kept.
    return Release.TRUSTED, ""


def check_release(*, release_id: Any, by: User | None, now: datetime, via: str) -> Release:
    """Verify a release once more; one that was tampered with goes into quarantine at once.

    Raises ReleaseNotTrusted with the reason, also after that.
    """
    release = Release.objects.select_related("plugin").filter(pk=release_id).first()
    if release is None:
        raise NotFound("There is no such release.")
    try:
        verify_again(release=release, now=now)
    except ReleaseNotTrusted as refused:
        if refused.tampered:
            quarantine_tampered(release, refused, now=now, via=via)
        raise
    return release


def quarantine_tampered(
    release: Release, found: ReleaseNotTrusted, *, now: datetime, via: str
) -> Release:
    """Put a release into quarantine that was found tampered with."""
    return quarantine_release(
        release_id=release.pk,
        reason=f"found tampered with: {found.why}",
        by=None,
        now=now,
        via=via,
    )


def check_artifact(
    *,
    release_id: Any,
    digest: str,
    by: User | None,
    now: datetime,
    via: str,
    quarantine: bool = False,
) -> Release:
    """Compare an artifact's SHA-256 with the signed one; raise ReleaseNotTrusted for another one.

    A person may have named the wrong file: nothing is stopped everywhere for that, unless they say
    beforehand that another artifact means quarantine.
    """
    if by is not None:
        require(by, "quarantine" if quarantine else "view")
    release = check_release(release_id=release_id, by=by, now=now, via=via)
    if digest.removeprefix("sha256:").lower() == release.digest.removeprefix("sha256:"):
        return release
    sentence = (
        f"the artifact that was found has sha256 {digest[:12]}…, signed was {release.digest[:12]}…"
    )
    if not quarantine:
        raise ReleaseNotTrusted(
            f"This is not the artifact of release {release.version}: {sentence}. Nothing was"
            " changed. If it is the right file, then what you were sent is not what was signed:"
            " put the release into quarantine, or verify it again so that another artifact does.",
            code="other_artifact",
            possible=("quarantine",),
        )
    quarantine_release(release_id=release.pk, reason=sentence, by=by, now=now, via=via)
    raise ReleaseNotTrusted(
        f"Release {release.version} is in quarantine now: {sentence}.", code="other_artifact"
    )


def plans_of_key(key: TrustKey) -> list[Plan]:
    """Lock the plans that have not ended and whose release the key signed, before other rows."""
    return _locked_plans(ReleaseSignature.objects.filter(key=key).values_list("release", flat=True))


def reassess_releases_of(
    key: TrustKey, plans: Sequence[Plan], *, by: User | None, now: datetime, via: str
) -> list[Release]:
    """Let releases stand as their signatures do after a key was revoked; return those that fell.

    A release that another trusted key has signed too goes on with that signature.
    """
    keys = trusted_keys()
    fallen = []
    signed = ReleaseSignature.objects.filter(key=key).values("release")
    releases = Release.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=signed)
    for release in releases.select_related("plugin").order_by("plugin__key", "version"):
        if release.state != Release.TRUSTED or release.signed_by_id != key.pk:
            continue
        mine = [plan for plan in plans if plan.release_id == release.pk]
        try:
            verified, text = holding_signature(release, now, keys)
        except ReleaseNotTrusted as refused:
            _stand(release, Release.DISTRUSTED, refused.why, by=by, now=now)
            fallen.append(release)
            _tell(
                release,
                mine,
                kind="release_distrusted",
                sentence=f"{release.plugin.key} {release.version} is not trusted any more:"
                f" key {key.key_id} was revoked and no other signature holds.",
                by=by,
                now=now,
                via=via,
            )
            continue
        _go_on_with(release, verified.key_id, text)
        _tell(
            release,
            mine,
            kind="release_signature_changed",
            sentence=f"{release.plugin.key} {release.version} goes on with its signature by key"
            f" {verified.key_id}: key {key.key_id} was revoked.",
            by=by,
            now=now,
            via=via,
        )
    return fallen


def _go_on_with(release: Release, key_id: str, text: str) -> None:
    release.envelope = text
    release.signed_by = TrustKey.objects.get(key_id=key_id)
    release.save()


def trust_again(release: Release, *, by: User | None, now: datetime, via: str) -> None:
    """Let a release that a new signature vouches for be used again; a quarantine stays one."""
    if release.state != Release.DISTRUSTED:
        return
    _stand(release, Release.TRUSTED, "", by=by, now=now)
    _tell(
        release,
        list(Plan.objects.filter(release=release, state__in=NOT_ENDED).order_by("pk")),
        kind="release_trusted_again",
        sentence=f"{release.plugin.key} {release.version} is trusted again: it has a new signature"
        f" by key {release.signed_by.key_id}.",
        by=by,
        now=now,
        via=via,
    )


def keep_signature(
    release: Release,
    *,
    envelope: str,
    form: str,
    key: TrustKey,
    by: User | None,
    now: datetime,
    via: str,
) -> ReleaseSignature:
    """Add a signature to those that the release ever had."""
    return ReleaseSignature.objects.create(
        release=release,
        key=key,
        form=form,
        envelope=envelope,
        verified_at=now,
        handed_in_by=by,
        via=via,
    )


def _locked_plans(releases: Iterable[Any]) -> list[Plan]:
    """Lock plans in one order, before any other row, as everybody does who changes a plan."""
    plans = Plan.objects.filter(release__in=list(releases), state__in=NOT_ENDED)
    ids = plans.order_by("pk").values_list("pk", flat=True)
    return [Plan.objects.locked(plan_id) for plan_id in list(ids)]


def _locked_release(release_id: Any) -> Release:
    releases = Release.objects.select_for_update(no_key=True, of=("self",))
    release = releases.select_related("plugin", "signed_by").filter(pk=release_id).first()
    if release is None:
        raise NotFound("There is no such release.")
    return release


def _stand(release: Release, state: str, why: str, *, by: User | None, now: datetime) -> None:
    release.state, release.state_why = state, why[:400]
    release.state_at, release.state_by = now, by
    release.save()


def _tell(
    release: Release,
    plans: Sequence[Plan],
    *,
    kind: str,
    sentence: str,
    by: User | None,
    now: datetime,
    via: str,
) -> None:
    """Tell the system's trail, and the trail of every plan that is about it."""
    payload = {
        "plugin": release.plugin.key,
        "version": release.version,
        "digest": release.digest,
        "state": release.state,
        "reason": release.state_why,
    }
    for stream in (*plans, None):
        events.record(
            stream=stream,
            kind=kind,
            sentence=sentence,
            actor=by,
            via=via,
            now=now,
            payload=payload,
        )

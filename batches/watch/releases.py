"""What the watch does about releases: it checks signatures, and tells who runs what it should not.

Plans that are under way are held by `batches/decisions/decide.py`; here is what concerns no single
plan.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from django.db import transaction

from batches.alerting import alerts
from plans.counted_words import counted
from plans.models import Plan, Release
from plans.releases.reach import tenants_running
from plans.releases.signature import TrustedKey
from plans.releases.standing import NOT_ENDED, quarantine_tampered
from plans.releases.trust import ReleaseNotTrusted, trusted_keys, verify_again

INSTALLED = "untrusted_release_installed"
"""The alert of tenants that run a release which is not trusted any more."""
CHECKED_EVERY = timedelta(minutes=1)
NAMED = 10
MOST_TENANTS_TOLD = 500


Fence = Callable[[], AbstractContextManager[None]]
"""One transaction that writes only while this watch does the chores."""


class ReleaseWatch:
    """Looks after releases between the decisions about plans."""

    def __init__(self) -> None:
        self._checked_at: datetime | None = None

    def tick(
        self, now: datetime, told: Mapping[str, str], *, fence: Fence = transaction.atomic
    ) -> None:
        """Verify what plans still rest on, now and then; tell who runs what is not trusted.

        `told`: the kinds of the open alerts by their keys.
        """
        if self._checked_at is None or not now - CHECKED_EVERY < self._checked_at <= now:
            self._checked_at = now
            check_releases_of_plans(now, fence=fence)
        tell_who_runs_them(now, told, fence=fence)


def check_releases_of_plans(now: datetime, *, fence: Fence) -> None:
    """Verify the releases of all plans that have not ended; who was tampered with is quarantined.

    That a key has run out is no news here: the next submission, start or batch says so.
    """
    resting = Plan.objects.filter(state__in=NOT_ENDED).values("release")
    releases = Release.objects.filter(pk__in=resting, state=Release.TRUSTED).order_by("pk")
    keys: list[TrustedKey] | None = None
    for release in releases.select_related("plugin"):
        keys = trusted_keys() if keys is None else keys
        try:
            verify_again(release=release, now=now, keys=keys)
        except ReleaseNotTrusted as refused:
            if refused.tampered:
                with fence():
                    quarantine_tampered(release, refused, now=now, via="watch")


def tell_who_runs_them(now: datetime, told: Mapping[str, str], *, fence: Fence) -> None:
    """Keep an alert open for each release that is not trusted and that tenants run."""
    fallen = Release.objects.exclude(state=Release.TRUSTED).select_related("plugin")
    # An envelope is long, and nothing of it is told.
    fallen = fallen.only("version", "state", "state_why", "plugin__key")
    runs = {_about(release): (release, _tenants_on(release)) for release in fallen}
    standing = {about for about, (_release, tenants) in runs.items() if tenants}
    known = {key.split(":", 2)[2] for key, kind in told.items() if kind == INSTALLED}
    for about in sorted(standing - known):
        with fence():
            _fire(*runs[about], about=about, now=now)
    for about in sorted(known - standing):
        with fence():
            alerts.resolve(plan=None, kind=INSTALLED, about=about, now=now)


def _tenants_on(release: Release) -> list[str]:
    return list(tenants_running(release).values_list("tenant__key", flat=True))


def _about(release: Release) -> str:
    return f"{release.plugin.key}@{release.version}"


def _fire(release: Release, tenants: Sequence[str], *, about: str, now: datetime) -> None:
    named = ", ".join(tenants[:NAMED]) + (" and more" if len(tenants) > NAMED else "")
    alerts.fire(
        plan=None,
        kind=INSTALLED,
        about=about,
        sentence=f"{counted(len(tenants), 'tenant runs', 'tenants run')}"
        f" {release.plugin.key} {release.version}: {release.standing.rstrip('.')} ({named})",
        now=now,
        payload={
            "release": str(release.pk),
            "state": release.state,
            "tenants": list(tenants[:MOST_TENANTS_TOLD]),
        },
    )

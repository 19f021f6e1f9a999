"""The pages of releases: what may be installed, who vouches for it, and who runs it."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from plans.log_in.step_up import stepping_up
from plans.models import Release
from plans.pages.access import asked, one_page, person, viewer, visible_plans
from plans.pages.forms import ReleaseForm
from plans.people.permissions import may, require
from plans.refusal import BadInput, NotFound, Refused
from plans.releases.reach import (
    key_rows,
    key_state,
    release_state,
    runs_another_artifact,
    tenants_running,
)
from plans.releases.registering import register_release
from plans.releases.standing import check_release, lift_quarantine, quarantine_release
from plans.trail.refusals import note_refusal

RELEASES_PER_PAGE = 50
TENANTS_SHOWN = 50
PLANS_SHOWN = 20


@login_required
@require_GET
def release_list(request: HttpRequest) -> HttpResponse:
    """List the releases with their standing and the keys that signed them, and the trust store."""
    user = viewer(request)
    chosen = {"q": asked(request, "q")}
    releases = Release.objects.select_related("plugin", "signed_by", "registered_by").order_by(
        "plugin__key", "-created_at"
    )
    if chosen["q"]:
        releases = releases.filter(
            Q(plugin__key__icontains=chosen["q"])
            | Q(version__icontains=chosen["q"])
            | Q(digest__startswith=chosen["q"].removeprefix("sha256:"))
        )
    now = timezone.now()
    context = one_page(request, releases, size=RELEASES_PER_PAGE, chosen=chosen)
    context |= {
        "rows": [
            (row, *release_state(row, now), *key_state(row.signed_by, now))
            for row in context["page"]
        ],
        "keys": key_rows(now),
        "may_manage": may(user, "manage_releases"),
        "may_plan": may(user, "draft"),
        "may_administer": may(user, "administer"),
    }
    return render(request, "plans/release_list.html", context)


@login_required
@require_GET
def release(request: HttpRequest, release_id: uuid.UUID) -> HttpResponse:
    """Show one release: its artifact, every signature it ever had, who runs it, its plans."""
    user = viewer(request)
    found = _found(release_id)
    now = timezone.now()
    tone, word = release_state(found, now)
    tenants = list(tenants_running(found, seen_by=user)[: TENANTS_SHOWN + 1])
    signatures = found.signatures.select_related("key", "handed_in_by")
    context: dict[str, Any] = {
        "release": found,
        "tone": tone,
        "word": word,
        "usable": tone == "approved",
        "signatures": [
            (one, *key_state(one.key, now), one.envelope == found.envelope) for one in signatures
        ],
        "tenants": [(row, runs_another_artifact(row, found)) for row in tenants[:TENANTS_SHOWN]],
        "more_tenants": len(tenants) > TENANTS_SHOWN,
        "plans": visible_plans(user).filter(release=found).order_by("-created_at")[:PLANS_SHOWN],
        "may_plan": may(user, "draft"),
        "may_quarantine": may(user, "quarantine") and found.state != Release.QUARANTINED,
        "may_lift": may(user, "administer") and found.state == Release.QUARANTINED,
    }
    return render(request, "plans/release_detail.html", context)


def _found(release_id: uuid.UUID) -> Release:
    releases = Release.objects.select_related("plugin", "signed_by", "registered_by", "state_by")
    found = releases.filter(pk=release_id).first()
    if found is None:
        raise NotFound("There is no such release.")
    return found


@login_required
@require_http_methods(["GET", "POST"])
def release_register(request: HttpRequest) -> HttpResponse:
    """Register a signed release."""
    user = person(request)
    require(user, "manage_releases")
    form = ReleaseForm(request.POST or None, request.FILES or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "plans/release_register.html", {"form": form})
    try:
        made = register_release(
            envelope=form.cleaned_data["text"],
            irreversible=form.cleaned_data["irreversible"],
            by=user,
            now=timezone.now(),
            via="page",
        )
    except Refused as refused:
        note_refusal(request, refused, via="page")
        problems = refused.problems if isinstance(refused, BadInput) else (refused.sentence,)
        return render(request, "plans/release_register.html", {"form": form, "problems": problems})
    messages.success(
        request,
        f"{made.plugin.key} {made.version} is registered; the signature by"
        f" {made.signed_by.name or made.signed_by.key_id} holds.",
    )
    return redirect("release-list")


@login_required
@require_POST
def release_verify(request: HttpRequest, release_id: uuid.UUID) -> HttpResponse:
    """Check a stored signature again, now, against the trust store of now."""
    user = viewer(request)
    found = check_release(release_id=release_id, by=user, now=timezone.now(), via="page")
    messages.success(
        request,
        f"Checked just now: the signature of {found.plugin.key} {found.version} holds for"
        f" the artifact sha256 {found.digest[:12]}….",
    )
    return _back(request, found)


@login_required
@require_POST
def release_quarantine(request: HttpRequest, release_id: uuid.UUID) -> HttpResponse:
    """Let nothing of a release be installed any more."""
    user = viewer(request)
    found = quarantine_release(
        release_id=release_id,
        reason=_reason(request),
        by=user,
        now=timezone.now(),
        via="page",
    )
    messages.success(request, f"{found.plugin.key} {found.version} is in quarantine.")
    return redirect("release", release_id)


@login_required
@require_POST
def release_lift(request: HttpRequest, release_id: uuid.UUID) -> HttpResponse:
    """End a quarantine."""
    user = viewer(request)
    require(user, "administer")
    now, reason = timezone.now(), _reason(request)
    with stepping_up(request, now=now):
        found = lift_quarantine(release_id=release_id, reason=reason, by=user, now=now, via="page")
    messages.success(request, f"{found.plugin.key} {found.version} is out of quarantine.")
    return redirect("release", release_id)


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:300]


def _back(request: HttpRequest, found: Release) -> HttpResponse:
    """Return to the page of the release where the person came from there, else to the list."""
    if request.META.get("HTTP_REFERER", "").endswith(f"/releases/{found.pk}/"):
        return redirect("release", found.pk)
    return redirect("release-list")

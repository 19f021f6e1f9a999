"""The pages of releases and of the keys that are trusted to sign them."""

import uuid
from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from plans.forms import ReleaseForm
from plans.models import Release, TrustKey
from plans.page_access import asked, one_page, person, viewer
from plans.permissions import may, require
from plans.refusal import BadInput, NotFound, Refused
from plans.refusal_trail import note_refusal
from plans.releases import register_release, verify_again

RELEASES_PER_PAGE = 50


def key_state(key: TrustKey, at: datetime) -> tuple[str, str]:
    """Return a key's state at a moment, as tone and word."""
    if key.revoked_at is not None and key.revoked_at <= at:
        return "rejected", "revoked"
    if key.not_after < at:
        return "expired", "expired"
    if key.not_before > at:
        return "pending", "not valid yet"
    return "approved", "trusted"


@login_required
@require_GET
def release_list(request: HttpRequest) -> HttpResponse:
    """List the releases with the state of the keys that signed them, and the trust store."""
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
        "rows": [(row, *key_state(row.signed_by, now)) for row in context["page"]],
        "keys": [
            (key, *key_state(key, now))
            for key in TrustKey.objects.annotate(signed=Count("releases")).order_by("name")
        ],
        "may_manage": may(user, "manage_releases"),
        "may_plan": may(user, "draft"),
    }
    return render(request, "plans/release_list.html", context)


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
        release = register_release(
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
        f"{release.plugin.key} {release.version} is registered; the signature by"
        f" {release.signed_by.name or release.signed_by.key_id} holds.",
    )
    return redirect("release-list")


@login_required
@require_POST
def release_verify(request: HttpRequest, release_id: uuid.UUID) -> HttpResponse:
    """Check a stored signature again, now, against the trust store of now."""
    viewer(request)
    release = Release.objects.filter(pk=release_id).select_related("plugin").first()
    if release is None:
        raise NotFound("There is no such release.")
    verify_again(release=release, now=timezone.now())
    messages.success(
        request,
        f"Checked just now: the signature of {release.plugin.key} {release.version} holds for"
        f" the artifact sha256 {release.digest[:12]}….",
    )
    return redirect("release-list")

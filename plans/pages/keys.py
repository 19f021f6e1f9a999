"""The pages of the keys that are trusted to sign releases: what each signed, and when it ends."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from plans.counted_words import counted
from plans.log_in.step_up import StepUpRequired, stepping_up
from plans.models import TrustKey
from plans.pages.access import person, viewer
from plans.pages.key_forms import KeyForm, RetireForm
from plans.people.permissions import may, require
from plans.refusal import BadInput, NotFound, Refused
from plans.releases.reach import (
    key_rows,
    key_state,
    release_state,
    releases_signed_by,
    tenants_by_version,
)
from plans.releases.registering import retire_key, revoke_key, trust_key
from plans.releases.signing_keys import KINDS, read_public_key


@login_required
@require_GET
def key_list(request: HttpRequest) -> HttpResponse:
    """List the trust store."""
    user = viewer(request)
    context = {"keys": key_rows(timezone.now()), "may_administer": may(user, "administer")}
    return render(request, "plans/key_list.html", context)


@login_required
@require_GET
def key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Show one key with all that it signed."""
    user = viewer(request)
    return _page(request, _found(key_id), RetireForm(), may_administer=may(user, "administer"))


def _page(
    request: HttpRequest, found: TrustKey, form: RetireForm, *, may_administer: bool
) -> HttpResponse:
    now = timezone.now()
    releases = list(releases_signed_by(found))
    running = tenants_by_version(releases, seen_by=person(request))
    tone, word = key_state(found, now)
    rows = [
        (one, *release_state(one, now), running.get((one.plugin_id, one.version), 0))
        for one in releases
    ]
    counting = [one for one in releases if one.signed_by_id == found.pk]
    context = {
        "key": found,
        "tone": tone,
        "word": word,
        "kind": _kind(found),
        "rows": rows,
        "form": form,
        "ends": may_administer and found.revoked_at is None,
        "question": _question(found, len(counting), sum(row[3] for row in rows)),
    }
    return render(request, "plans/key_detail.html", context)


def _question(found: TrustKey, releases: int, tenants: int) -> str:
    return (
        f"What {found.name or found.key_id} signed counts no more from now on:"
        f" {counted(releases, 'release goes', 'releases go')} by its signature, unless another"
        " key signed them too. Plans that have not begun with them are refused, plans under way are"
        f" held, and {counted(tenants, 'tenant runs', 'tenants run')} what it signed. It cannot be"
        " trusted again."
    )


def _kind(found: TrustKey) -> str:
    try:
        return KINDS[read_public_key(found.public_key).kind]
    except ValueError:
        return "not readable"


def _found(key_id: str) -> TrustKey:
    found = TrustKey.objects.select_related("revoked_by").filter(key_id=key_id).first()
    if found is None:
        raise NotFound("There is no such key.")
    return found


@login_required
@require_http_methods(["GET", "POST"])
def key_new(request: HttpRequest) -> HttpResponse:
    """Trust a public key."""
    require(person(request), "administer")
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and (made := _trusted(request, form)):
        return redirect("key", made.key_id)
    return render(request, "plans/key_new.html", {"form": form})


def _trusted(request: HttpRequest, form: KeyForm) -> TrustKey | None:
    """Trust what the form says; put what is wrong beside it."""
    now = timezone.now()
    try:
        with stepping_up(request, now=now):
            made = trust_key(**form.cleaned_data, by=person(request), now=now, via="page")
    except BadInput as bad:
        _beside(form, bad)
        return None
    except StepUpRequired:
        # What was typed waits, and is posted again with the proof.
        raise
    except Refused as refused:
        form.add_error("public_key", refused.sentence)
        return None
    messages.success(request, f"{made.name} ({made.key_id}) is trusted.")
    return made


def _beside(form: KeyForm | RetireForm, bad: BadInput) -> None:
    for problem in bad.problems:
        field, colon, message = problem.partition(": ")
        known = bool(colon) and field in form.fields
        form.add_error(field if known else None, message if known else problem)


@login_required
@require_POST
def key_retire(request: HttpRequest, key_id: str) -> HttpResponse:
    """Let a key end earlier."""
    user = viewer(request)
    require(user, "administer")
    found, form = _found(key_id), RetireForm(request.POST)
    if form.is_valid():
        now = timezone.now()
        try:
            with stepping_up(request, now=now):
                found = retire_key(key_id=key_id, **form.cleaned_data, by=user, now=now, via="page")
        except BadInput as bad:
            _beside(form, bad)
        else:
            messages.success(request, f"It is trusted until {found.not_after:%Y-%m-%d %H:%M} UTC.")
            return redirect("key", key_id)
    return _page(request, found, form, may_administer=True)


@login_required
@require_POST
def key_revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Stop trusting a key from now on."""
    user = viewer(request)
    require(user, "administer")
    _found(key_id)
    reason = request.POST.get("reason", "").strip()
    if not reason:
        raise BadInput(["Say why the key is revoked; whoever runs what it signed reads it."])
    now = timezone.now()
    with stepping_up(request, now=now):
        revoke_key(key_id=key_id, reason=reason, by=user, now=now, via="page")
    messages.success(request, "It is revoked; what it alone signed is not installed any more.")
    return redirect("key", key_id)

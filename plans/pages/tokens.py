"""The pages of API tokens: one's own, made once and shown once; everybody's to administrators."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from plans.log_in.step_up import stepping_up
from plans.pages.access import asked, one_page, person
from plans.pages.token_forms import TokenForm
from plans.people.machine_access import make_token, revoke_token, tokens_for
from plans.people.permissions import may, require
from plans.reach import selector_words
from plans.refusal import BadInput

TOKENS_PER_PAGE = 50
TONES = {"good": "approved", "expired": "expired", "revoked": "cancelled"}


@login_required
@require_GET
def token_list(request: HttpRequest) -> HttpResponse:
    """List the person's tokens, or everybody's."""
    user = person(request)
    require(user, "hold_tokens")
    now = timezone.now()
    chosen = {"of": "everybody" if asked(request, "of") == "everybody" else ""}
    tokens = tokens_for(user, everybodys=bool(chosen["of"]))
    context = one_page(request, tokens, size=TOKENS_PER_PAGE, chosen=chosen)
    context |= {
        "rows": [
            {
                "token": token,
                "state": token.state(now),
                "tone": TONES[token.state(now)],
                "tenants": selector_words(token.selector) if token.selector else "",
                "dialog": f"revoke-{token.pk}",
                "question": f"Whatever uses '{token.name}' ({token.prefix}…) is refused from now"
                " on. This cannot be undone.",
            }
            for token in context["page"]
        ],
        "may_administer": may(user, "administer"),
    }
    return render(request, "plans/token_list.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def token_new(request: HttpRequest) -> HttpResponse:
    """Make a token of one's own, and show it this once."""
    user = person(request)
    require(user, "hold_tokens")
    form = TokenForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        now = timezone.now()
        try:
            with stepping_up(request, now=now):
                made = make_token(user=user, **form.cleaned_data, by=user, now=now, via="page")
        except BadInput as bad:
            form.add_error(None, "; ".join(bad.problems))
        else:
            answer = render(
                request, "plans/token_made.html", {"token": made.token, "secret": made.secret}
            )
            # Shown once: neither the browser nor anything on the way keeps the page.
            answer["Cache-Control"] = "no-store"
            return answer
    return render(request, "plans/token_new.html", context)


@login_required
@require_POST
def token_revoke(request: HttpRequest, token_id: uuid.UUID) -> HttpResponse:
    """Revoke a token."""
    token = revoke_token(token_id=token_id, by=person(request), now=timezone.now(), via="page")
    messages.success(request, f"The token '{token.name}' is revoked.")
    return redirect("token-list")

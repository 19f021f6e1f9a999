"""The pages of tenants: the list, one tenant, and the import with its dry run."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from plans.models import PlanTenant, Tenant
from plans.pages.access import asked, one_page, person, viewer
from plans.pages.forms import TenantForm, TenantImportForm
from plans.people.permissions import may, reach_of, require
from plans.refusal import BadInput, NotFound
from plans.tenants.importing import ImportResult, import_tenants, save_tenant

TENANTS_PER_PAGE = 100
ROWS_SHOWN = 300


def _found(seen: QuerySet[Tenant], search: str, label: str) -> QuerySet[Tenant]:
    tenants = seen.annotate(installed=Count("installations")).order_by("key")
    if search:
        tenants = tenants.filter(
            Q(key__icontains=search)
            | Q(name__icontains=search)
            | Q(owner_name__icontains=search)
            | Q(owner_email__icontains=search)
        )
    name, _equals, value = label.partition("=")
    if name.strip():
        path = f"labels__{name.strip()}"
        wanted = value.strip()
        tenants = tenants.filter(**({path: wanted} if wanted else {f"{path}__isnull": False}))
    return tenants


@login_required
@require_GET
def tenant_list(request: HttpRequest) -> HttpResponse:
    """List the tenants, searched and filtered by one label."""
    user = viewer(request)
    chosen = {"q": asked(request, "q"), "label": asked(request, "label")}
    # Two underscores would make Django read a lookup out of a label's name.
    readable = "__" not in chosen["label"]
    seen = Tenant.objects.visible_to(user)
    rows = _found(seen, chosen["q"], chosen["label"]) if readable else seen.none()
    context = one_page(request, rows, size=TENANTS_PER_PAGE, chosen=chosen)
    context |= {"may_manage": may(user, "manage_tenants"), "any": seen.exists()}
    return render(request, "plans/tenant_list.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def tenant_new(request: HttpRequest) -> HttpResponse:
    """Add one tenant."""
    require(person(request), "manage_tenants")
    form = TenantForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _saved(request, form, new=True):
        return redirect("tenant", form.cleaned_data["key"])
    return render(request, "plans/tenant_new.html", {"form": form})


@login_required
@require_http_methods(["GET", "POST"])
def tenant(request: HttpRequest, key: str) -> HttpResponse:
    """Show one tenant; change it where the person may."""
    user = viewer(request)
    found = Tenant.objects.visible_to(user).filter(key=key).first()
    if found is None:
        raise NotFound("There is no such tenant.")
    data = {**request.POST.dict(), "key": key} if request.method == "POST" else None
    form = TenantForm(data, initial=_values(found))
    form.fields["key"].disabled = True
    if data is not None and form.is_valid() and _saved(request, form, new=False):
        return redirect("tenant", key)
    context = {
        "tenant": found,
        "form": form,
        "may_manage": reach_of(user, "manage_tenants").covers(found.labels),
        "installations": found.installations.select_related("plugin").order_by("plugin__key"),
        "places": PlanTenant.objects.visible_to(user)
        .filter(tenant=found)
        .select_related("plan__plugin", "plan__release")
        .order_by("-plan__created_at")[:20],
    }
    return render(request, "plans/tenant_detail.html", context)


def _values(found: Tenant) -> dict[str, Any]:
    labels = "\n".join(f"{name}={value}" for name, value in sorted(found.labels.items()))
    names = ("key", "name", "owner_name", "owner_email", "notes")
    return {name: getattr(found, name) for name in names} | {"labels": labels}


def _saved(request: HttpRequest, form: TenantForm, *, new: bool) -> bool:
    """Save what the form says; put what is wrong beside it."""
    try:
        save_tenant(
            **form.cleaned_data, by=person(request), now=timezone.now(), via="page", new=new
        )
    except BadInput as bad:
        for problem in bad.problems:
            field, colon, message = problem.partition(": ")
            known = bool(colon) and (field in form.fields or field == "tenant")
            place = "key" if field == "tenant" else field
            form.add_error(place if known else None, message if known else problem)
        return False
    messages.success(request, "The tenant is saved.")
    return True


@login_required
@require_http_methods(["GET", "POST"])
def tenant_import(request: HttpRequest) -> HttpResponse:
    """Check a list of tenants and, once it was seen, import it."""
    user = person(request)
    require(user, "manage_tenants")
    form = TenantImportForm(request.POST or None, request.FILES or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "plans/tenant_import.html", {"form": form})
    sent = form.cleaned_data
    result = import_tenants(
        text=sent["text"],
        form=sent["form"],
        plugin=sent["plugin"].strip(),
        by=user,
        now=timezone.now(),
        via="page",
        dry_run=request.POST.get("act") != "import",
    )
    if result.written:
        messages.success(request, _import_words(result))
        return redirect("tenant-list")
    return render(request, "plans/tenant_import.html", {"form": form, **_checked(result, sent)})


def _import_words(result: ImportResult) -> str:
    counts = ", ".join(f"{result.count(word)} {word}" for word in ("new", "changed"))
    left = " No versions were kept: no plugin was named." if result.versions_left else ""
    return f"Imported: {counts}, {result.count('same')} the same.{left}"


def _checked(result: ImportResult, sent: dict[str, Any]) -> dict[str, Any]:
    """Return what the dry run shows: wrong rows first, then what would change."""
    rank = {"wrong": 0, "changed": 1, "new": 2, "same": 3}
    rows = sorted(result.rows, key=lambda row: (rank[row.status], row.line))
    return {
        "result": result,
        "sent": sent,
        "counts": [(word, result.count(word)) for word in ("new", "changed", "same", "wrong")],
        "rows": rows[:ROWS_SHOWN],
        "rows_left": max(0, len(rows) - ROWS_SHOWN),
    }

"""The pages of the Kpi dictionary: what each Kpi is, where it is read, and whether that fits."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from batches.configured import dictionary_path
from batches.fit.listing import kpi_line, kpi_lines
from batches.fit.probing import probe
from plans.counted_words import counted
from plans.pages.access import person, viewer
from plans.people.permissions import may
from plans.refusal import BadInput


@login_required
@require_GET
def kpi_list(request: HttpRequest) -> HttpResponse:
    """List the Kpis, or all that is wrong with the file they stand in."""
    user = viewer(request)
    context = {"file": dictionary_path(), "may_probe": may(user, "probe")}
    try:
        context["kpis"] = kpi_lines(now=timezone.now(), user=user)
    except BadInput as bad:
        context["problems"] = bad.problems
    return render(request, "batches/kpi_list.html", context)


@login_required
@require_GET
def kpi_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show one Kpi with its mappings and what their newest probes found."""
    user = viewer(request)
    try:
        line = kpi_line(name, now=timezone.now(), user=user)
    except BadInput:
        # What is wrong with the file stands on the list.
        return redirect("kpi-list")
    if line.name != name:
        return redirect("kpi", line.name)
    context = {"kpi": line, "file": dictionary_path(), "may_probe": may(user, "probe")}
    return render(request, "batches/kpi.html", context)


@login_required
@require_POST
def kpi_probe(request: HttpRequest, name: str) -> HttpResponse:
    """Probe the mappings of one Kpi."""
    rows = probe(kpis=[name], by=person(request), now=timezone.now(), via="page")
    _tell(request, [row.level for row in rows])
    return redirect("kpi", name)


@login_required
@require_POST
def kpi_probe_all(request: HttpRequest) -> HttpResponse:
    """Probe every mapping of the dictionary."""
    rows = probe(kpis=None, by=person(request), now=timezone.now(), via="page")
    _tell(request, [row.level for row in rows])
    return redirect("kpi-list")


def _tell(request: HttpRequest, levels: list[str]) -> None:
    wrong = levels.count("error")
    probed = f"{counted(len(levels), 'mapping')} probed"
    if not levels:
        messages.info(request, "There is nothing to probe: no source outside tells it.")
    elif wrong:
        messages.warning(request, f"{probed}; {wrong} of them cannot be used as they are.")
    else:
        messages.success(request, f"{probed}; all can be used.")

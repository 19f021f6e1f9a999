"""Views and endpoints reach rows of tenants through the door alone, never beside it.

The door is `visible_to` of a table's manager (or `told_of`, which takes a plan that came through
it); rows of one plan come from that plan (`plan.rulings`). Whoever writes `Plan.objects.filter` in
a view has to remember who asks; whoever writes `Plan.objects.visible_to(user)` cannot forget it.
"""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

from plans.people.visible_rows import ways_to_tenants

ROOT = Path(__file__).resolve().parents[2]
APPS = ("plans", "batches", "reports")
DOORS = {"visible_to", "told_of", "none"}
MANAGERS = {"objects", "_default_manager", "_base_manager"}
LOOKED_UP = {"get_object_or_404", "get_list_or_404"}
VIEWS = ("admin", "api", "pages", "templatetags", "views", "endpoint_form")
"""Folders and files of views, endpoints, forms and admin pages; and those that lie elsewhere:"""
ELSEWHERE = ("batches/live/consumers.py", "plans/log_in/forms.py")
NO_TENANTS = {
    "plans.User": "people",
    "plans.RoleBinding": "people",
    "plans.RoleRequest": "people",
    "plans.ApiToken": "people",
    "plans.FailedLogIn": "people",
    "plans.MappedRole": "people",
    "plans.Checkpoint": "hashes over the heads of all streams",
    "plans.TrailCheck": "whether the whole trail holds",
    "plans.Plugin": "the platform's",
    "plans.Release": "the platform's",
    "plans.ReleaseSignature": "the platform's",
    "plans.TrustKey": "the platform's",
    "plans.Policy": "the platform's",
    "plans.Flag": "the platform's",
    "plans.Stream": "names a chain and its head, tells nothing",
    "batches.Lease": "the engine's",
    "batches.Heartbeat": "the engine's",
    "batches.DeployerMeasurement": "how long calls took, whosever they were",
    "batches.SourceState": "how a source is",
    "batches.PushedSource": "how a source is",
    "batches.PushReceipt": "an answer to a sender, by the key that it chose",
    "batches.PipelineRun": "a run of a pipeline",
    "batches.PlaceboRun": "numbers of a policy over all tenants together",
    "reports.Endpoint": "the platform's",
}
OTHER_DOORS = {
    "plans.EventAddress": "shown beside its event, to those who may read the whole trail",
    "batches.KpiFit": "kpi_listing.Eyes leaves out what names others' tenants",
    "batches.KpiRollup": "told in sums alone; rows are never shown",
    "batches.KpiHistoryCursor": "told in sums alone; rows are never shown",
    "batches.PushedSeries": "rows are never shown",
    "batches.PipelineEvent": "sources_shown.latest_pipeline_events leaves out others' tenants",
    "batches.DrillApproval": "shown below its schedule, which has a door",
}


def ours() -> list[type[models.Model]]:
    return [model for name in APPS for model in apps.get_app_config(name).get_models()]


def has_door(model: type[models.Model]) -> bool:
    return hasattr(model._default_manager, "visible_to") or bool(ways_to_tenants(model))


@pytest.mark.parametrize("model", ours(), ids=lambda model: model._meta.label)
def test_every_table_has_a_door_or_concerns_no_tenant(model):
    label = model._meta.label
    named = (label in NO_TENANTS) + (label in OTHER_DOORS)
    if has_door(model):
        assert not named, f"{label} has a door; take it out of the lists in this file."
    else:
        assert named == 1, (
            f"{label}: give its manager `visible_to`, or a foreign key that leads to a plan or a"
            " tenant, or say in this file why it concerns no tenant (NO_TENANTS), or what else"
            " stands before its rows (OTHER_DOORS)."
        )


GUARDED = {model.__name__ for model in ours() if model._meta.label not in NO_TENANTS}


def modules() -> list[Path]:
    """Return the files that are views, endpoints, forms or admin pages."""
    found = [ROOT / path for path in ELSEWHERE]
    for app, name in itertools.product(APPS, VIEWS):
        found += (ROOT / app / name).rglob("*.py")
        found.append(ROOT / app / f"{name}.py")
    return sorted(path for path in found if path.exists())


def beside_the_door(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    taken = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in DOORS
    }
    outer = {
        id(node.func.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and any(_is_outer_reference(word.value) for word in node.keywords)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in MANAGERS:
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            if name in GUARDED and id(node) not in taken | outer:
                yield f"line {node.lineno}: {name}.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in LOOKED_UP:
            yield f"line {node.lineno}: {node.id}"


def _is_outer_reference(node: ast.expr) -> bool:
    # A subquery for each row of a query that came through a door itself.
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "OuterRef"
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_views_and_endpoints_go_through_the_door(path):
    found = list(beside_the_door(path.read_text()))
    assert not found, (
        f"{path.relative_to(ROOT)} reaches rows of tenants beside the door ({'; '.join(found)}):"
        " begin with `.objects.visible_to(user)`, or with the plan that was found (`plan.rulings`)."
    )


def test_the_views_are_found():
    found = {str(path.relative_to(ROOT)) for path in modules()}
    assert set(ELSEWHERE) <= found
    assert len(found) > 80
    for app in ("plans", "batches"):
        assert {f"{app}/api/plans.py", f"{app}/pages/urls.py"} <= found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("Plan.objects.filter(pk=1)", 1),
        ("Tenant.objects.all()", 1),
        ("Tenant._default_manager.all()", 1),
        ("get_object_or_404(Plan, pk=1)", 1),
        ("Plan.objects.visible_to(user).filter(pk=1)", 0),
        ("Event.objects.told_of(plan)", 0),
        ("PlanRevision.objects.filter(plan=OuterRef('pk'))", 0),
        ("Policy.objects.filter(name='x')", 0),
        ("plan.rulings.all()", 0),
    ],
)
def test_what_goes_beside_the_door_is_seen(source, lines):
    assert len(list(beside_the_door(source))) == lines

"""Sources to which others send are probed like those that are fetched."""

import json
from datetime import timedelta
from typing import Any

import pytest

from batches.fit.probing import probe
from batches.history import recording
from batches.metric_sources import SourceSpec
from batches.models import KpiFit, KpiHistoryCursor, PushedSeries
from batches.pushes.points import PointKind, PushedPoint
from batches.pushes.pushing import take_points
from tests.builders import FOREST
from tests.use_cases.probed_sources import dictionary_text
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db(transaction=True)
COUNTED: tuple[tuple[str, PointKind, float], ...] = (
    ("errors_total", "counter", 1.0),
    ("requests_total", "counter", 200.0),
    ("pass_ratio", "gauge", 0.98),
)


def use(settings: Any, folder: Any, **source: Any) -> None:
    settings.DICTIONARY_FILE = folder / "pushed.json"
    settings.DICTIONARY_FILE.write_text(dictionary_text("", sources={"fleet": source}))


@pytest.fixture
def pushed(scene: Scene, settings: Any, tmp_path: Any) -> SourceSpec:
    use(settings, tmp_path, kind="push")
    return SourceSpec("fleet", "push")


def send(scene: Scene, spec: SourceSpec, tenants: Any = FOREST, **renamed: str) -> None:
    at = now()
    points = [
        PushedPoint(renamed.get(name, name), {"tenant": key}, kind, (value,), at)
        for key in tenants
        for name, kind, value in COUNTED
    ]
    take_points(spec=spec, points=points, by=scene.mara, now=at)


def age(**by: float) -> None:
    for row in PushedSeries.objects.all():
        PushedSeries.objects.filter(pk=row.pk).update(at=row.at - timedelta(**by))


def probed(scene: Scene) -> dict[str, KpiFit]:
    return {row.kpi: row for row in probe(kpis=None, by=scene.mara, now=now(), via="page")}


def kinds(row: KpiFit) -> dict[str, str]:
    return {one["kind"]: one["level"] for one in row.findings}


def test_what_was_pushed_lately_fits(scene, pushed):
    send(scene, pushed)
    found = probed(scene)
    assert {kpi: row.level for kpi, row in found.items()} == {
        "error_rate": "fine",
        "pass_rate": "fine",
    }
    assert found["pass_rate"].facts["median"] == pytest.approx(98)
    # Up to `stale_seconds` a value stands: SDKs push once a minute.
    age(seconds=75)
    assert probed(scene)["pass_rate"].level == "fine"


def test_tenants_to_whom_nobody_pushes_are_named_with_when_they_had(scene, pushed):
    send(scene, pushed, FOREST[:1])
    age(hours=2)
    send(scene, pushed, FOREST[2:])
    row = probed(scene)["pass_rate"]
    assert kinds(row) == {"tenants_without_data": "warning"}
    assert row.without == ["acorn", "birch"]
    assert "acorn (until " in row.findings[0]["sentence"]


def test_senders_that_stopped_and_senders_that_never_were(scene, pushed):
    row = probed(scene)["pass_rate"]
    assert kinds(row) == {"wrong_name": "error"}
    assert "nothing was sent to fleet" in row.findings[0]["sentence"]
    send(scene, pushed)
    age(hours=2)
    row = probed(scene)["pass_rate"]
    assert kinds(row) == {"stale": "error"}
    assert "its sender stopped" in row.findings[0]["advice"]


def test_another_name_is_answered_with_the_one_that_was_pushed(scene, pushed):
    send(scene, pushed, pass_ratio="pass_rati")
    row = probed(scene)["pass_rate"]
    assert kinds(row) == {"wrong_name": "error"}
    assert row.findings[0]["advice"] == "did you mean pass_rati?"


def test_what_a_pipeline_told_today_fits(scene, settings, tmp_path):
    use(settings, tmp_path, kind="cdevents")
    send(scene, SourceSpec("fleet", "cdevents"))
    age(hours=3)
    row = probed(scene)["pass_rate"]
    assert (row.level, kinds(row), row.without) == ("note", {"counts_no_more": "note"}, [])
    age(hours=21.5)
    assert kinds(probed(scene)["pass_rate"]) == {"wrong_name": "error"}


def test_the_history_reads_what_is_pushed_and_what_is_fetched_side_by_side(
    scene, settings, tmp_path
):
    body = json.loads(dictionary_text(""))
    body["sources"] = {"fleet": {"kind": "push"}, "page": {"kind": "simulated"}}
    body["mappings"][1]["source"] = "page"
    use(settings, tmp_path, kind="push")
    settings.DICTIONARY_FILE.write_text(json.dumps(body))
    send(scene, SourceSpec("fleet", "push"))
    assert recording.record() == ["error_rate"]
    assert KpiHistoryCursor.objects.get().source == "fleet"

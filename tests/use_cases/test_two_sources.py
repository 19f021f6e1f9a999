"""Two sources for one Kpi: a plan keeps the first that tells something of its tenants."""

import json
from collections.abc import Iterator

import pytest

from batches.decisions import decide_forward
from batches.models import KpiSample
from plans.models import Plan
from tests.adapters.metric_servers import MetricPage
from tests.builders import FOREST, a_started, check_invariants
from tests.use_cases.watched_fleet import DICTIONARY, WatchedFleet, quick_policy, the_rollback

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Have a fleet whose Kpi stands first in the dictionary at a source that says nothing of it."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with MetricPage() as empty, WatchedFleet(settings, tmp_path, FOREST) as made:
        known = json.loads(DICTIONARY.replace("URL", made.metrics.url))
        known["sources"]["empty"] = {"kind": "prometheus_text", "url": f"{empty.url}/metrics"}
        known["mappings"].insert(0, known["mappings"][0] | {"source": "empty"})
        settings.DICTIONARY_FILE.write_text(json.dumps(known))
        made.empty = empty
        yield made


def bound(plan: Plan) -> dict[str, str]:
    return Plan.objects.get(pk=plan.pk).metric_bindings


def test_a_source_that_answers_with_nothing_is_not_kept(scene, fleet):
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "completed")
    assert bound(plan) == {"error_rate": "fleet"}
    check_invariants(plan)


def test_a_bad_release_is_seen_by_the_source_that_knows(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "rolled_back")
    assert the_rollback(plan).trigger == "breach"
    assert bound(plan) == {"error_rate": "fleet"}


def test_a_source_that_knows_other_tenants_alone_is_not_kept(scene, fleet):
    fleet.empty.text = 'requests_total{tenant="elsewhere"} 5\nerrors_total{tenant="elsewhere"} 0\n'
    plan = a_started(scene, policy=quick_policy())
    fleet.until(lambda: bound(plan))
    assert bound(plan) == {"error_rate": "fleet"}


def test_the_first_that_tells_something_is_kept_when_it_falls_silent(scene, fleet):
    fleet.empty.text = "".join(
        f'requests_total{{tenant="{key}"}} 5\nerrors_total{{tenant="{key}"}} 0\n' for key in FOREST
    )
    plan = a_started(scene, policy=quick_policy())
    fleet.until(lambda: bound(plan))
    assert bound(plan) == {"error_rate": "empty"}
    fleet.empty.text = ""
    looks = KpiSample.objects.filter(plan=plan)
    before = looks.count()
    fleet.until(lambda: looks.count() > before + 5)
    assert set(looks.values_list("source", flat=True)) == {"empty"}
    assert bound(plan) == {"error_rate": "empty"}

"""A plan whose Kpis are pushed: the watch judges them like any others."""

import json
from collections.abc import Iterator

import pytest

from batches.decisions import decide_forward
from batches.metric_sources import SourceSpec
from batches.models import Batch, KpiSample, SourceState
from batches.pushes.points import PushedPoint
from batches.pushes.pushing import take_points
from tests.builders import FOREST, a_started, check_invariants
from tests.use_cases.watched_fleet import DICTIONARY, WatchedFleet, quick_policy, the_rollback
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db(transaction=True)
PUSHED = DICTIONARY.replace(
    '{"kind": "prometheus_text", "url": "URL/metrics"}', '{"kind": "push", "stale_seconds": 20}'
)


class PushingFleet(WatchedFleet):
    """A fleet whose tenants push their counters themselves before each tick."""

    bad_versions: frozenset[str] = frozenset()
    silent = False

    def tick(self, times: int = 1) -> None:
        for _turn in range(times):
            if not self.silent:
                self.push()
            super().tick()

    def push(self) -> None:
        at = now()
        points = []
        for key in FOREST:
            self.counts[key][0] += 100
            bad = self.fleet.tenant(key).version in self.bad_versions
            self.counts[key][1] += 20 if bad else 0
            for name, value in zip(
                ("requests_total", "errors_total"), self.counts[key], strict=True
            ):
                points.append(PushedPoint(name, {"tenant": key}, "counter", (value,), at))
        take_points(spec=SourceSpec("fleet", "push"), points=points, by=self.sender, now=at)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[PushingFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    made = PushingFleet(settings, tmp_path, FOREST)
    with made:
        settings.DICTIONARY_FILE.write_text(PUSHED)
        made.sender = person("Teo", console="telemetry")
        made.counts = {key: [0, 0] for key in FOREST}
        yield made


def test_a_good_release_goes_to_everybody_by_pushed_metrics(scene, fleet):
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "completed")
    assert fleet.versions(FOREST) == {"1.5.0"}
    sample = KpiSample.objects.filter(plan=plan).latest("at")
    assert sample.asked == {"bad": "errors_total", "total": "requests_total"}
    assert SourceState.objects.get(name="fleet").state == "closed"
    check_invariants(plan)


def test_a_bad_release_is_taken_back_by_pushed_metrics(scene, fleet):
    fleet.bad_versions = frozenset({"1.5.0"})
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "rolled_back")
    assert the_rollback(plan).trigger == "breach"
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_senders_that_fall_silent_are_missing_data_and_never_a_pass(scene, fleet):
    fleet.silent = True
    plan = a_started(scene, policy=quick_policy())
    fleet.until_batch(plan, "soaking")
    looks = KpiSample.objects.filter(plan=plan)
    fleet.until(lambda: looks.count() > 8)
    assert not any(sample.look["canary"] for sample in looks)
    assert "nothing was sent to fleet" in looks.latest("at").cause
    assert Batch.objects.get(plan=plan, number=1).state == "soaking"
    fleet.silent = False
    fleet.until_plan(plan, "completed")


def test_a_plan_to_which_nobody_pushes_takes_the_next_mapping_and_keeps_it(scene, fleet, settings):
    known = json.loads(PUSHED)
    known["sources"]["page"] = {"kind": "prometheus_text", "url": f"{fleet.metrics.url}/metrics"}
    known["mappings"].append(known["mappings"][0] | {"source": "page"})
    settings.DICTIONARY_FILE.write_text(json.dumps(known))
    fleet.silent = True
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "completed")
    assert plan.metric_bindings == {"error_rate": "page"}

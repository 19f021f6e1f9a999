"""What fitted when a plan was submitted has to fit when it starts, and what a change adds too."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from batches.adjust.preview import preview_adjustment
from batches.adjust.proposal import probe_what_is_added
from batches.adjust.wanted import ChangeSet
from batches.decisions import decide_forward
from batches.fit.kept import FRESH
from batches.fit.probing import probe
from batches.models import Alert, KpiFit, RollbackDrill
from batches.rollout import launch
from batches.rollout.launch import KpisUnfit
from batches.watch import start_probes
from plans.models import Plan
from plans.refusal import BadInput
from tests.adapters.metric_servers import free_port
from tests.builders import FOREST, a_started, an_approved
from tests.use_cases.adjusted import change
from tests.use_cases.probed_sources import page_text, point_at, probed_page
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def metrics(settings: Any, tmp_path: Any) -> Iterator[Any]:
    with probed_page(settings, tmp_path) as metrics:
        yield metrics


def started(scene: Scene, plan: Plan, **more: Any) -> Plan:
    return launch.start(plan_id=plan.pk, by=scene.olga, now=more.get("at") or now(), via="page")


# A person starts it.


def test_a_plan_whose_kpi_is_gone_since_is_not_started_and_says_what_to_do(scene, metrics):
    plan = an_approved(scene)
    metrics.text = page_text(total="request_total")
    with pytest.raises(KpisUnfit, match=r"cannot start: .*did you mean request_total") as refused:
        started(scene, plan)
    assert refused.value.code == "kpis_do_not_fit"
    assert str(Plan.objects.get(pk=plan.pk).state) == "approved"
    # Whoever has put it right need not wait.
    metrics.text = page_text()
    assert str(started(scene, plan).state) == "running"


def test_a_source_that_is_down_keeps_a_guarded_plan_from_starting(scene, metrics, settings):
    plan = an_approved(scene)
    point_at(settings, f"http://127.0.0.1:{free_port()}/metrics")
    with pytest.raises(KpisUnfit, match="would start blind; it may start when it answers"):
        started(scene, plan)


def test_a_probe_of_a_moment_ago_counts_and_an_older_one_is_made_anew(scene, metrics):
    at = now()
    plan = an_approved(scene)
    probe(kpis=None, by=scene.mara, now=at, via="page")
    metrics.text = ""
    with pytest.raises(KpisUnfit):
        started(scene, plan, at=at + FRESH + timedelta(seconds=1))
    KpiFit.objects.all().delete()
    metrics.text = page_text()
    probe(kpis=None, by=scene.mara, now=at, via="page")
    metrics.text = ""
    assert str(started(scene, plan, at=at + FRESH).state) == "running"


def test_a_rehearsal_finds_out_by_itself(scene, metrics):
    plan = an_approved(scene)
    metrics.text = ""
    RollbackDrill.objects.create(
        kind=RollbackDrill.REHEARSAL,
        plan=plan,
        deployer="fleet",
        inject="none",
        phase="plan",
        started_at=now(),
        clock_from=now(),
        limit_seconds=180,
        by=scene.mara,
    )
    assert str(started(scene, plan).state) == "running"


def test_a_metric_of_the_new_version_alone_keeps_nobody_from_starting(scene, metrics, settings):
    text = settings.DICTIONARY_FILE.read_text()
    marked = text.replace('"source": "fleet",', '"source": "fleet", "emitted_by": "new_version",')
    settings.DICTIONARY_FILE.write_text(marked)
    metrics.text = "# nothing yet\n"
    assert str(started(scene, an_approved(scene)).state) == "running"
    (row,) = KpiFit.objects.all()
    assert (row.level, row.findings[0]["kind"]) == ("warning", "only_new_version")


# The watch starts it.


@pytest.fixture
def fleet(
    scene: Scene, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    monkeypatch.setattr(start_probes, "AGAIN_SECONDS", 0.2)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def state_of(plan: Plan) -> str:
    return str(Plan.objects.get(pk=plan.pk).state)


def test_the_watch_probes_what_it_is_about_to_start(scene, fleet):
    plan = an_approved(scene, policy=quick_policy())
    assert not KpiFit.objects.exists()
    fleet.until_plan(plan, "completed")
    assert [row.level for row in KpiFit.objects.all()] == ["fine"]


def test_the_watch_starts_nothing_blind_and_goes_on_when_the_source_is_back(scene, fleet):
    fleet.metrics.down = True
    plan = an_approved(scene, policy=quick_policy())
    alerts = Alert.objects.filter(plan=plan, kind="cannot_start")
    fleet.until(alerts.exists)
    assert state_of(plan) == "approved"
    assert "would start blind" in alerts.get().sentence
    assert "would start blind" in Plan.objects.get(pk=plan.pk).waiting_for
    fleet.tick(20)
    assert (state_of(plan), alerts.count()) == ("approved", 1)
    fleet.metrics.down = False
    fleet.until_plan(plan, "completed")
    assert alerts.get().resolved_at is not None


def test_a_source_that_hangs_does_not_keep_the_watch(scene, fleet, settings):
    text = settings.DICTIONARY_FILE.read_text()
    settings.DICTIONARY_FILE.write_text(text.replace("/metrics", "/hang"))
    plan = an_approved(scene, policy=quick_policy())
    # Each of these ends although the probe waits for seconds.
    fleet.tick(5)
    assert state_of(plan) == "approved"
    assert not KpiFit.objects.exists()


def test_a_fresh_probe_is_enough_for_the_watch(scene, fleet):
    plan = an_approved(scene, policy=quick_policy())
    probe(kpis=None, by=scene.mara, now=now(), via="page")
    kept = KpiFit.objects.get().probed_at
    fleet.until(lambda: state_of(plan) != "approved")
    assert KpiFit.objects.get().probed_at == kept


# A running plan is changed.


ADDED: dict[str, Any] = {"guardrails": {"pass_rate": {"at_least": 90}}}


def test_a_kpi_that_a_change_adds_has_to_fit(scene, metrics):
    plan = a_started(scene)
    KpiFit.objects.all().delete()
    metrics.text = page_text().replace("pass_ratio", "passing_ratio")
    with pytest.raises(BadInput, match="did you mean passing_ratio"):
        change(scene, plan, **ADDED)
    # What it watches already is left alone.
    assert {row.kpi for row in KpiFit.objects.all()} == {"pass_rate"}
    metrics.text = page_text()
    assert change(scene, plan, **ADDED).applied is not None


def test_a_change_that_adds_no_kpi_asks_no_source(scene, metrics):
    plan = a_started(scene)
    KpiFit.objects.all().delete()
    metrics.text = ""
    assert change(scene, plan, guardrails={"error_rate": {"at_most": 1}}).applied is not None
    assert not KpiFit.objects.exists()


def test_the_preview_of_a_change_says_so_before(scene, metrics):
    plan = a_started(scene)
    wanted = ChangeSet(**ADDED)
    metrics.text = page_text().replace("pass_ratio", "passing_ratio")
    (warning,) = preview_adjustment(plan=plan, wanted=wanted, now=now()).warnings
    assert "was not probed yet; it is when the change is made" in warning
    probe_what_is_added(plan, wanted, now=now(), via="page", again=False)
    (problem,) = preview_adjustment(plan=plan, wanted=wanted, now=now()).problems
    assert "did you mean passing_ratio" in problem
    # A preview asks once, not at each key stroke.
    metrics.text = page_text()
    probe_what_is_added(plan, wanted, now=now(), via="page", again=False)
    assert preview_adjustment(plan=plan, wanted=wanted, now=now()).problems

"""Probes are kept, count for a while, and keep plans from starting blind."""

from datetime import timedelta

import pytest

from batches.configured import dictionary
from batches.fit import probing
from batches.fit.kept import FRESH, kept_fits
from batches.fit.probing import probe
from batches.metric_sources import MetricUnavailable
from batches.metric_sources.simulated_source import SimulatedSource
from batches.models import KpiFit
from batches.rollout import planning
from batches.rollout.handing_in import hand_in
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Event, Plan
from plans.policies.keeping import save_policy_text
from plans.refusal import BadInput, NotAllowed, NotFound
from tests.adapters.metric_servers import free_port
from tests.builders import a_draft, a_started
from tests.use_cases.probed_sources import FOREST, page_text, point_at, probed_page
from tests.web.api_scene import Scene, now

CHARTED = """
policies:
  charted:
    batches: [{name: all, percentage: 100, soak_minutes: 1, metrics: [error_rate]}]
approvals:
  default: {required_roles: [system_admin], max_pending_minutes: 60}
"""


@pytest.fixture
def metrics(settings, tmp_path):
    with probed_page(settings, tmp_path) as metrics:
        yield metrics


def probed(scene: Scene, *kpis: str, at=None) -> list[KpiFit]:
    return probe(kpis=kpis or None, by=scene.mara, now=at or now(), via="page")


def handed_in(scene: Scene, *, at=None, policy="safe-rollout", **more) -> Plan:
    draft = PlanDraft(
        "pay", "1.5.0", policy, "fleet", TenantChoice(all=True), **({"external_id": "pay-7"} | more)
    )
    return hand_in(draft=draft, submit=True, by=scene.mara, now=at or now(), via="api").plan


def test_a_probe_is_kept_with_what_it_saw(scene, metrics):
    ratio, gauge = probed(scene)
    assert (ratio.level, gauge.level) == ("fine", "fine")
    assert (ratio.tenants, ratio.without) == (6, [])
    assert gauge.facts["median"] == pytest.approx(98)
    assert KpiFit.objects.count() == 2


def test_only_the_kpis_that_were_named_are_probed(scene, metrics):
    (row,) = probed(scene, "5xx_rate")
    assert row.kpi == "error_rate"
    assert KpiFit.objects.count() == 1


def test_a_name_that_is_no_kpi_is_refused_with_the_one_that_was_meant(scene, metrics):
    with pytest.raises(NotFound, match="did you mean 'error_rate'"):
        probed(scene, "eror_rate")


def test_who_may_only_look_may_not_probe(scene, metrics):
    for person in (scene.rita, scene.nils, scene.aram):
        with pytest.raises(NotAllowed):
            probe(kpis=None, by=person, now=now(), via="page")
    assert not KpiFit.objects.exists()


def test_the_trail_tells_when_something_else_was_found_and_only_then(scene, metrics):
    probed(scene)
    probed(scene)
    metrics.text = page_text(total="request_total")
    probed(scene)
    told = Event.objects.filter(kind="kpi_fit_changed").order_by("seq")
    assert [event.sentence for event in told] == [
        "Probed: error_rate from fleet fits; pass_rate from fleet fits.",
        "Probed: error_rate from fleet does not fit.",
    ]
    assert told[1].payload["mappings"][0]["findings"] == ["wrong_name"]
    (row,) = KpiFit.objects.filter(kpi="error_rate")
    assert row.findings[0]["advice"] == "did you mean request_total?"


def test_a_mapping_that_was_changed_was_not_probed_yet(scene, metrics, settings):
    probed(scene)
    assert len(kept_fits(dictionary())) == 2
    point_at(settings, f"{metrics.url}/elsewhere")
    assert kept_fits(dictionary()) == {}


def test_a_source_that_hangs_takes_its_time_and_nobody_elses(scene, metrics, settings, monkeypatch):
    monkeypatch.setattr(probing, "SOURCE_SECONDS", 0.3)
    sources = []

    def build(spec):
        source = SimulatedSource(spec.name)
        source.delay_seconds = 30
        sources.append(source)
        return source

    rows = probe(kpis=None, by=None, now=now(), via="command", build_source=build)
    assert {row.findings[0]["kind"] for row in rows} == {"no_answer"}
    assert "within 0.3 s" in rows[0].findings[0]["sentence"]


def test_an_adapter_that_breaks_is_a_finding(scene, metrics):
    class Broken(SimulatedSource):
        async def read(self, selectors, *, timeout):
            raise ZeroDivisionError("broken")

    rows = probe(
        kpis=None, by=None, now=now(), via="command", build_source=lambda spec: Broken(spec.name)
    )
    assert "ZeroDivisionError: broken" in rows[0].findings[0]["sentence"]


def test_one_query_that_cannot_be_read_spoils_only_its_own_mapping(scene, metrics):
    class Choosy(SimulatedSource):
        async def read(self, selectors, *, timeout):
            if any(str(one) == "pass_ratio" for one in selectors):
                raise MetricUnavailable("bad_answer", "no such function")
            return await super().read(selectors, timeout=timeout)

    rows = probe(
        kpis=None, by=None, now=now(), via="command", build_source=lambda spec: Choosy(spec.name)
    )
    assert [row.findings[0]["kind"] for row in rows] == ["wrong_name", "bad_answer"]


def test_a_plan_is_probed_when_it_is_handed_in(scene, metrics):
    plan = handed_in(scene)
    assert str(plan.state) == "awaiting_approval"
    # Only what its policy watches.
    assert [row.kpi for row in KpiFit.objects.all()] == ["error_rate"]


def test_a_plan_whose_kpi_cannot_be_read_is_refused_and_nothing_is_kept_of_it(scene, metrics):
    metrics.text = page_text(total="request_total")
    with pytest.raises(BadInput) as refused:
        handed_in(scene)
    assert refused.value.code == "kpis_do_not_fit"
    (problem,) = refused.value.problems
    assert "error_rate from fleet: fleet has no series requests_total" in problem
    assert "did you mean request_total?" in problem
    assert not Plan.objects.exists()
    # What was found is kept all the same.
    assert KpiFit.objects.get().level == "error"


def test_a_probe_counts_for_a_while_and_is_then_made_anew(scene, metrics):
    at = now()
    probed(scene, at=at)
    metrics.text = ""
    assert str(handed_in(scene, at=at + FRESH, external_id="a").state) == "awaiting_approval"
    with pytest.raises(BadInput):
        handed_in(scene, at=at + FRESH + timedelta(seconds=1), external_id="b")


def test_a_probe_of_a_clock_that_was_set_back_does_not_count(scene, metrics):
    at = now()
    probed(scene, at=at + timedelta(hours=2))
    metrics.text = ""
    with pytest.raises(BadInput):
        handed_in(scene, at=at)


def test_a_source_that_is_down_keeps_a_guarded_plan_back(scene, metrics, settings):
    point_at(settings, f"http://127.0.0.1:{free_port()}/metrics")
    with pytest.raises(BadInput, match="would start blind; submit again when it answers"):
        handed_in(scene)


def test_a_source_that_is_down_is_only_told_where_nothing_is_judged_by_it(scene, metrics, settings):
    point_at(settings, f"http://127.0.0.1:{free_port()}/metrics")
    save_policy_text(text=CHARTED, source="test", by=None, now=now(), via="command")
    plan = handed_in(scene, policy="charted")
    assert str(plan.state) == "awaiting_approval"
    fits = planning.fits_of(plan, planning.policy_of(planning.current_revision(plan)), now())
    assert "gave no answer" in fits.warnings[0]


def test_a_plan_whose_tenants_have_no_data_is_refused(scene, metrics):
    metrics.text = page_text(FOREST[:2])
    with pytest.raises(BadInput, match="for 2 of 6 tenants of the plan"):
        handed_in(scene)


def test_tenants_that_have_data_by_now_are_seen_at_the_next_try(scene, metrics):
    at = now()
    metrics.text = page_text(FOREST[:2])
    with pytest.raises(BadInput):
        handed_in(scene, at=at)
    metrics.text = page_text()
    assert str(handed_in(scene, at=at).state) == "awaiting_approval"


def test_the_preview_says_what_the_last_probe_found_and_asks_nobody(scene, metrics):
    draft = PlanDraft("pay", "1.5.0", "safe-rollout", "fleet", TenantChoice(all=True), "pay-7")
    preview = planning.preview_plan(draft=draft, now=now())
    (warning,) = preview.warnings
    assert warning == "error_rate from fleet was not probed yet; it is when the plan is submitted"
    assert not KpiFit.objects.exists()
    metrics.text = page_text(FOREST[:5])
    probed(scene)
    (warning,) = planning.preview_plan(draft=draft, now=now()).warnings
    assert "1 of the plan's 6 tenants has no data: fir" in warning
    metrics.text = ""
    probed(scene)
    unfit = planning.preview_plan(draft=draft, now=now()).unfit
    assert ["errors_total" in unfit[0], "requests_total" in unfit[1]] == [True, True]
    # Long ago: it may have been put right since.
    later = planning.preview_plan(draft=draft, now=now() + timedelta(hours=1))
    assert (later.unfit, len(later.warnings)) == ((), 2)


def test_within_a_transaction_no_source_is_asked(scene, metrics):
    plan = a_draft(scene)
    metrics.text = ""
    # The test is a transaction: the plan takes what was probed before, which is nothing.
    planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    assert not KpiFit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_draft_is_probed_when_it_is_submitted(scene, metrics):
    plan = a_draft(scene)
    metrics.text = page_text(total="request_total")
    with pytest.raises(BadInput, match="did you mean request_total"):
        planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    metrics.text = page_text()
    # Whoever has put it right need not wait until the old probe is forgotten.
    submitted = planning.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    assert str(submitted.state) == "awaiting_approval"


def test_a_plan_that_runs_is_handed_in_again_without_a_probe(scene, metrics):
    a_started(scene)
    metrics.text = ""
    assert str(handed_in(scene).state) == "running"
    assert not KpiFit.objects.exists()


def test_sources_in_memory_are_never_probed(scene):
    assert probed(scene) == []
    assert str(handed_in(scene).state) == "awaiting_approval"


def test_a_broken_dictionary_is_told_once_by_the_names(scene, settings):
    settings.DICTIONARY_FILE.write_text("{")
    with pytest.raises(BadInput, match="not JSON at line 1"):
        handed_in(scene)

"""What the probes of a dictionary say about a plan: what stops it, what only warns."""

from dataclasses import replace

import pytest

from batches.fit.checks import Fit
from batches.fit.findings import NO_ANSWER, Finding
from batches.fit.gate import AT_ADJUST, AT_START, Probed, Whose, weigh
from batches.kpis.dictionary import Dictionary, SourceSpec
from plans.policies.policy import BatchSpec, EvidenceRules, Guardrail, UpgradePolicy
from tests.decisions.fit_looks import COUNTS, FOREST
from tests.decisions.kpi_looks import ERROR_RATE

GUARDED = UpgradePolicy(
    "guarded",
    (BatchSpec("all", 100, 60),),
    guardrails=(Guardrail("error_rate", at_most=2),),
)
CHARTED = UpgradePolicy("charted", (BatchSpec("all", 100, 60, metrics=("error_rate",)),))
KNOWN = Dictionary({"error_rate": ERROR_RATE}, {"prom": SourceSpec("prom", "prometheus")})
DOWN = Fit((Finding(NO_ANSWER, "error", "prom gave no answer (source down)"),), FOREST)
WRONG = Fit((Finding("wrong_name", "error", "prom has no series x", "did you mean y?"),), FOREST)
STRAY = Fit((Finding("out_of_range", "warning", "1 tenant is outside"),))
FINE = Fit(())
ALL = Whose(FOREST, FOREST[:1])


def weighed(*fits, policy=GUARDED, fresh=True, whose=ALL):
    mappings = [replace(COUNTS, source=f"source-{n}") for n in range(len(fits))]
    probed = [Probed(one, fit, fresh) for one, fit in zip(mappings, fits, strict=True)]
    return weigh(policy, KNOWN, {"error_rate": probed}, whose=whose)


def test_mappings_that_fit_say_nothing():
    assert weighed(FINE) == weighed(FINE, FINE) == weighed(replace(FINE, without=()))
    assert weighed(FINE).errors == weighed(FINE).warnings == ()


@pytest.mark.parametrize("policy", [GUARDED, CHARTED])
def test_a_mapping_that_does_not_fit_stops_the_plan(policy):
    (error,) = weighed(WRONG, policy=policy).errors
    assert error == "error_rate from source-0: prom has no series x; did you mean y?"


def test_a_warning_stops_nothing():
    found = weighed(STRAY)
    assert found.errors == ()
    assert found.warnings == ("error_rate from source-0: 1 tenant is outside",)


def test_a_source_that_is_down_stops_only_a_plan_that_would_start_blind():
    (error,) = weighed(DOWN).errors
    assert "would start blind; submit again when it answers" in error
    assert weighed(DOWN, policy=CHARTED).errors == ()
    assert len(weighed(DOWN, policy=CHARTED).warnings) == 1


@pytest.mark.parametrize("change", [{"critical": False}, {"dry_run": True}])
def test_a_guardrail_that_decides_nothing_does_not_stop_it(change):
    rule = replace(GUARDED.guardrails[0], **change)
    assert weighed(DOWN, policy=replace(GUARDED, guardrails=(rule,))).errors == ()


def test_the_mapping_that_a_plan_would_take_is_the_one_that_counts():
    assert weighed(DOWN, FINE).errors == ()
    assert "source-0" in weighed(DOWN, FINE).warnings[0]
    assert "source-1" in weighed(DOWN, WRONG).errors[0]
    # The first one answers, so the second one is only used when that changes.
    spare = weighed(FINE, WRONG)
    assert spare.errors == ()
    assert "used where the one before tells nothing" in spare.warnings[0]
    assert weighed(FINE, DOWN).warnings == ()
    assert len(weighed(DOWN, DOWN).errors) == 2


@pytest.mark.parametrize("fit", [WRONG, DOWN])
def test_what_was_found_long_ago_only_warns(fit):
    found = weighed(fit, fresh=False)
    assert found.errors == ()
    assert len(found.warnings) == 1


def test_what_was_never_probed_is_told():
    assert weighed(None).errors == ()
    (warning,) = weighed(None).warnings
    assert warning.startswith("error_rate from source-0 was not probed yet")


def test_a_plan_whose_tenants_mostly_have_no_data_is_stopped():
    found = weighed(Fit((), without=FOREST[1:]))
    (error,) = found.errors
    assert "data of error_rate for 1 of 4 tenants of the plan: none for birch, cedar" in error


def test_a_first_batch_without_data_is_stopped():
    (error,) = weighed(Fit((), without=FOREST[:1])).errors
    assert "0 of 1 tenant of its first batch" in error


def test_some_without_data_are_a_warning_and_others_do_not_matter():
    (warning,) = weighed(Fit((), without=(FOREST[3], "elsewhere"))).warnings
    assert "1 of the plan's 4 tenants has no data: dogwood" in warning
    assert weighed(Fit((), without=("elsewhere",))).warnings == ()


def test_kpis_that_the_dictionary_does_not_have_are_told_elsewhere():
    policy = replace(GUARDED, guardrails=(Guardrail("nothing", at_most=1),))
    assert weighed(WRONG, policy=policy).errors == ()


def test_an_alias_is_weighed_as_its_kpi():
    known = replace(KNOWN, kpis={"error_rate": replace(ERROR_RATE, aliases=("5xx",))})
    policy = replace(GUARDED, guardrails=(Guardrail("5xx", at_most=2),))
    probed = {"error_rate": [Probed(COUNTS, WRONG)]}
    assert len(weigh(policy, known, probed, whose=ALL).errors) == 1


def test_limits_are_compared_with_what_was_seen():
    probed = {"error_rate": [Probed(replace(COUNTS, rate_window_seconds=300.0), FINE)]}
    (error,) = weigh(GUARDED, KNOWN, probed, whose=ALL).errors
    assert "shorter than the 300 s" in error


def test_a_source_that_answers_with_nothing_is_passed_over_as_a_plan_does():
    found = weighed(WRONG, FINE)
    assert found.errors == ()
    assert "a plan takes the Kpi's next mapping meanwhile" in found.warnings[0]
    # Where nobody tells it, what answered was written down wrongly.
    (error,) = weighed(DOWN, WRONG).errors
    assert "source-1" in error
    assert "source-0" in weighed(DOWN, WRONG).warnings[0]


@pytest.mark.parametrize(
    ("occasion", "said"),
    [(AT_START, "would start blind; it may start when"), (AT_ADJUST, "would be blind; change it")],
)
def test_what_is_said_of_a_silent_source_fits_the_occasion(occasion, said):
    probed = {"error_rate": [Probed(COUNTS, DOWN)]}
    (error,) = weigh(GUARDED, KNOWN, probed, whose=ALL, occasion=occasion).errors
    assert said in error


NEW_ONLY = replace(COUNTS, emitted_by="new_version")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"guardrails": (Guardrail("error_rate", at_most=2, against="control"),)}, "control"),
        ({"evidence": EvidenceRules(kpis=("error_rate",))}, "evidence"),
    ],
)
def test_what_only_the_new_version_emits_is_compared_with_nobody(change, said):
    policy = replace(GUARDED, **change)
    (error,) = weigh(policy, KNOWN, {"error_rate": [Probed(NEW_ONLY, FINE)]}, whose=ALL).errors
    assert f"{said} would compare with nobody" in error
    assert weigh(policy, KNOWN, {"error_rate": [Probed(COUNTS, FINE)]}, whose=ALL).errors == ()
    # Nobody has it before the upgrade, and that keeps no plan back.
    alone = weigh(GUARDED, KNOWN, {"error_rate": [Probed(NEW_ONLY, Fit((), FOREST))]}, whose=ALL)
    assert alone.errors == ()

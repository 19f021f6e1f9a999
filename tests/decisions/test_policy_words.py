"""A policy in words: what its readers decide by."""

import pytest

from plans.policies.policy import Guardrail
from plans.policies.policy_words import guardrail_sentence, limit_words, meaning, span
from plans.policies.policy_yaml import parse_policy_file

TEXT = """
policies:
  night:
    batches:
      - {name: canary, percentage: 10, soak_minutes: 45, metrics: [latency_ms]}
      - {name: rest, percentage: 90, soak_minutes: 90, advance: manual}
    rollback_thresholds: {error_rate: 3}
    guardrails:
      - {kpi: pass_rate, at_least: 95, unit: "%", window: 5m, action: pause, failure_limit: 0}
    approvals: finance
    selection: {order: risk, hold_back_percentage: 10, exclude: [acorn], pin: [{ring: internal}]}
    windows:
      - {kind: deny, days: [sat, sun], from: "00:00", to: "24:00", timezone: Asia/Shanghai}
    not_after: 2027-01-31T12:00:00Z
    on: {missing_metrics: rollback}
approvals:
  finance: {required_roles: [lead, compliance], max_pending_minutes: 90}
"""


def parts() -> dict[str, tuple[str, ...]]:
    policy_file = parse_policy_file(TEXT)
    told = meaning(policy_file.policies["night"], policy_file.approvals["finance"])
    return {part.title: part.sentences for part in told}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.5 s"),
        (24, "24 s"),
        (60, "1 min"),
        (67, "1 min 7 s"),
        (5400, "1 h 30 min"),
        (86_400, "24 h"),
        (3600 * 50, "2 d 2 h"),
    ],
)
def test_a_length_of_time_reads_as_people_say_it(seconds, words):
    assert span(seconds) == words


def test_batches_tell_share_soak_gate_and_charts():
    assert parts()["Batches"] == (
        "canary: 10 % of the tenants, soaks 45 min; charts latency_ms.",
        "rest: 90 % of the tenants, soaks 1 h 30 min; a person lets it begin.",
    )


def test_a_guardrail_tells_limit_outcome_and_how_it_is_judged():
    assert parts()["Guardrails"][1] == (
        "pass_rate below 95 %: the plan pauses. Judged over 5 min, at least 20 samples,"
        " in one look; without data it holds after 4 failed readings."
    )


def test_a_threshold_on_a_histogram_is_a_share_of_slow_requests():
    threshold = Guardrail("latency_ms", at_most=200, slow_share_percent=5)
    slow = "above 200 ms for more than 5 % of the requests"
    assert limit_words(threshold, unit="ms", kind="histogram") == slow
    assert limit_words(threshold, unit="ms", kind="gauge") == "above 200 ms"


def test_a_dry_run_promises_nothing():
    words = guardrail_sentence(Guardrail("error_rate", at_most=2, unit="%", dry_run=True))
    assert "error_rate above 2 %: only shown, nothing else happens (dry run)." in words


def test_choice_windows_and_end_are_told():
    told = parts()
    assert told["Order and choice"] == (
        "Tenants with the least risk come first; equals are drawn in random order.",
        "Always in the first batch: those with ring=internal.",
        "Never upgraded: acorn.",
        "10 % are held back to the end, as a last batch.",
    )
    assert told["When"] == (
        "Nothing starts sat, sun from 00:00 to 24:00 (Asia/Shanghai).",
        "A batch in whose calls a window closes waits for the next opening.",
        "Never after 2027-01-31 12:00 UTC.",
    )


def test_who_must_approve_and_for_how_long_they_may_think():
    assert parts()["Who must approve"] == (
        "lead and compliance must agree, a different person for each,"
        " none of them an author (finance).",
        "They have 1 h 30 min; then the plan expires.",
        "What they approved may be started until 4 h after the first moment at which it could.",
        "Whoever may promote lets a batch begin at a manual gate.",
    )


def test_conditions_say_what_they_do():
    told = parts()["Conditions, each with an alert"]
    assert told[2] == "When numbers are missing for 5 min: everything is taken back."
    assert told[1].endswith("nothing new starts and a person decides.")


def of_scope(scope: str, limits: str = "{}") -> dict[str, tuple[str, ...]]:
    rules = f"    rollback: {{scope: {scope}}}\n    limits: {limits}\n    on:"
    policy = parse_policy_file(TEXT.replace("    on:", rules, 1)).policies["night"]
    return {part.title: part.sentences for part in meaning(policy)}


def test_a_breach_under_batch_takes_back_the_newest_batch_alone():
    newest = "the newest batch is taken back and a person decides about the rest"
    assert newest in of_scope("batch")["Guardrails"][0]
    assert of_scope("batch")["Conditions, each with an alert"][2].endswith(f"{newest}.")
    assert "the whole plan is taken back" in of_scope("tenant")["Guardrails"][0]


def test_failures_under_tenant_take_back_the_failed_alone():
    told = of_scope("tenant")["Conditions, each with an alert"]
    assert told[0].endswith("they are taken back, the others stay, and a person decides.")
    assert told[2].endswith("everything is taken back.")


def test_a_budget_in_tenants_is_told_beside_the_rate():
    told = of_scope("plan", "{failures: 1}")["Conditions, each with an alert"]
    assert told[0].startswith("When more than 1 tenant or more than 5 % of a batch fail: every")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            {"at_most": 2, "unit": "points", "against": "control"},
            "more than 2 points above control",
        ),
        (
            {"at_most": 1.5, "unit": "x", "against": "own_history"},
            "above 1.5 x each tenant's own history",
        ),
        (
            {"at_least": -2, "unit": "points", "against": "control"},
            "more than 2 points below control",
        ),
        ({"at_least": 5, "unit": "ms", "against": "control"}, "less than 5 ms above control"),
    ],
)
def test_what_is_compared_is_said_with_its_direction(rule, said):
    assert limit_words(Guardrail("error_rate", **rule)) == said


def test_whom_a_guardrail_is_about_and_what_missing_data_means_is_said():
    rule = Guardrail("error_rate", at_most=2, scope="tenant", on_missing="breach")
    told = guardrail_sentence(rule)
    assert "that tenant is taken back alone" in told
    assert "at least 20 samples, tenant by tenant, in 2 looks running" in told
    assert told.endswith("missing data counts as failed after 4 failed readings.")
    of_batch = guardrail_sentence(Guardrail("error_rate", at_most=2, scope="batch"))
    assert "the newest batch is taken back" in of_batch

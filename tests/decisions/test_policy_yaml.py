"""A policy file is understood completely, or refused completely with every reason."""

from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.policies.policy import (
    ApprovalRule,
    BatchSpec,
    Conditions,
    Guardrail,
    Limits,
    RollbackRules,
    Selection,
    Window,
)
from plans.policies.policy_yaml import MAX_BYTES, PolicyRejected, Problem, parse_policy_file

FIELD_EXAMPLE = """\
policies:
  safe-rollout:
    description: "..."
    batches:
      - {name: canary, percentage: 5, soak_minutes: 30, metrics: [debug.hot_reload.duration_ms, sandbox.test.pass_rate]}
      - {name: wave-1, percentage: 30, soak_minutes: 60}
      - {name: wave-2, percentage: 65, soak_minutes: 120}
    rollback_thresholds: {error_rate: 5, latency_ms: 200}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
  finance: {required_roles: [finance_release_lead, compliance]}
"""  # noqa: E501 - the example stands as the field wrote it

ALL_DEFAULTS = """\
    approvals: default
    selection: {order: shuffle, rings: [], exclude: [], pin: [], hold_back_percentage: 0}
    advance: automatic
    windows: []
    limits: {failure_rate: 5, batch_minutes: 30, rollback_seconds: 180, missing_metrics_minutes: 5, hold_minutes: 60, success_rate: 98, parallelism: 20, attempts: 3, call_timeout_seconds: 20, look_seconds: 5}
    on: {failure_rate: rollback, batch_overrun: hold, missing_metrics: hold, hold_expired: rollback}
    rollback: {scope: plan, order: newest_first, on_manual_pause: {rollback_after_seconds: 60}, verify: true, drill: false, irreversible: refuse}
    guardrails: []
"""  # noqa: E501 - the defaults stand as the documentation shows them


def policy_text(*lines, batches="[{name: all, percentage: 100, soak_minutes: 0}]"):
    """Return a file with one policy `p`: its batches on line 3, the given lines from line 4 on."""
    head = ["policies:", "  p:", f"    batches: {batches}"]
    return "\n".join([*head, *(f"    {line}" for line in lines)]) + "\n"


def parsed(*lines, **kwargs):
    return parse_policy_file(policy_text(*lines, **kwargs)).policies["p"]


def problems(text):
    with pytest.raises(PolicyRejected) as rejected:
        parse_policy_file(text)
    return rejected.value.problems


def only_problem(*lines, **kwargs):
    found = problems(policy_text(*lines, **kwargs))
    assert len(found) == 1, found
    return found[0]


def test_the_example_of_the_field_loads_unchanged():
    policy_file = parse_policy_file(FIELD_EXAMPLE)
    policy = policy_file.policies["safe-rollout"]
    assert policy.batches == (
        BatchSpec("canary", 5, 1800, ("debug.hot_reload.duration_ms", "sandbox.test.pass_rate")),
        BatchSpec("wave-1", 30, 3600),
        BatchSpec("wave-2", 65, 7200),
    )
    assert policy.guardrails == (
        Guardrail("error_rate", at_most=5, slow_share_percent=5),
        Guardrail("latency_ms", at_most=200, slow_share_percent=5),
    )
    assert policy.approvals == "default"
    assert policy_file.approvals == {
        "default": ApprovalRule("default", ("system_admin", "role_admin"), 60),
        "finance": ApprovalRule("finance", ("finance_release_lead", "compliance"), 60),
    }


def test_watched_kpis_are_those_of_batches_and_of_guardrails():
    policy = parse_policy_file(FIELD_EXAMPLE).policies["safe-rollout"]
    assert policy.watched_kpis == {
        "debug.hot_reload.duration_ms",
        "sandbox.test.pass_rate",
        "error_rate",
        "latency_ms",
    }


def test_writing_out_every_default_changes_nothing():
    written_out = FIELD_EXAMPLE.replace("approvals:\n", ALL_DEFAULTS + "approvals:\n", 1)
    short = parse_policy_file(FIELD_EXAMPLE).policies["safe-rollout"]
    long = parse_policy_file(written_out).policies["safe-rollout"]
    assert long == short
    assert long.digest() == short.digest()
    assert (short.selection, short.limits) == (Selection(), Limits())
    assert (short.on, short.rollback) == (Conditions(), RollbackRules())


def test_the_shipped_policies_load():
    path = Path(__file__).parents[2] / "config/version/upgrade_policies.yaml"
    policy_file = parse_policy_file(path.read_text(encoding="utf-8"))
    assert set(policy_file.policies) == {"safe-rollout", "inside-out", "night-shift"}
    shipped, example = (
        file.policies["safe-rollout"] for file in (policy_file, parse_policy_file(FIELD_EXAMPLE))
    )
    assert (shipped.batches, shipped.guardrails) == (example.batches, example.guardrails)


def test_every_change_of_meaning_changes_the_digest():
    digests = {
        parsed(*lines).digest()
        for lines in (
            (),
            ("description: other",),
            ("advance: manual",),
            ("selection: {pin: [acorn]}",),
            ("limits: {look_seconds: 4}",),
            ("limits: {failures: 0}",),
            ("limits: {failures: 3}",),
            ("rollback: {scope: batch}",),
            ("rollback: {scope: tenant}",),
            ("rollback_thresholds: {error_rate: 5}",),
            ("not_after: 2031-03-31T18:00:00+02:00",),
            ("windows: [{kind: deny, from: '01:00', to: '02:00', timezone: UTC}]",),
        )
    }
    assert len(digests) == 12


def test_the_key_on_is_read_as_a_word():
    assert parsed("on: {failure_rate: hold}").on == Conditions(failure_rate="hold")


def test_the_true_key_that_yaml_makes_of_on_is_not_taken_for_it():
    assert only_problem("true: {failure_rate: hold}").path == "policies.p.true"


def test_unquoted_times_of_day_are_not_read_as_numbers():
    window = parsed(
        "windows:",
        "  - {kind: allow, days: [tue, mon], from: 22:00, to: 04:00, timezone: Asia/Shanghai}",
    ).windows
    assert window == (Window("allow", ("mon", "tue"), time(22), time(4), "Asia/Shanghai"),)


def test_a_window_may_end_at_24_and_name_no_days():
    (window,) = parsed("windows: [{kind: deny, from: '18:00', to: '24:00', timezone: UTC}]").windows
    assert (window.end, len(window.days)) == (time(0), 7)


@pytest.mark.parametrize(
    "line",
    [
        "not_after: 2031-03-31T18:00:00+02:00",
        "windows: [{not_after: '2031-03-31t16:00:00z'}]",
    ],
)
def test_not_after_stands_beside_the_windows_or_among_them(line):
    policy = parsed(line)
    assert policy.not_after == datetime(2031, 3, 31, 16, tzinfo=UTC)
    assert policy.windows == ()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("0.5m", 30), ("'2 m'", 120)],
)
def test_durations_are_seconds_or_have_a_unit(written, seconds):
    (guardrail,) = parsed(f"guardrails: [{{kpi: e, at_most: 1, window: {written}}}]").guardrails
    assert guardrail.window_seconds == seconds


def test_a_guardrail_takes_every_key():
    (guardrail,) = parsed(
        "guardrails:",
        "  - {kpi: pass_rate, at_least: 97.5, unit: '%', against: absolute, window: 5m,",
        "     min_samples: 50, failure_limit: 0, consecutive_error_limit: 2, initial_delay: 30s,",
        "     on_missing: hold, action: pause, scope: plan, critical: false, dry_run: true}",
    ).guardrails
    assert guardrail == Guardrail(
        kpi="pass_rate",
        at_least=97.5,
        unit="%",
        window_seconds=300,
        min_samples=50,
        failure_limit=0,
        consecutive_error_limit=2,
        initial_delay_seconds=30,
        action="pause",
        critical=False,
        dry_run=True,
    )


def test_a_batch_inherits_the_advance_of_its_policy():
    batches = (
        "[{name: a, percentage: 50, soak_minutes: 0.5},"
        " {name: b, percentage: 50, soak_minutes: 1, advance: automatic}]"
    )
    policy = parsed("advance: manual", batches=batches)
    assert [batch.advance for batch in policy.batches] == ["manual", "automatic"]
    assert policy.batches[0].soak_seconds == 30


def test_selection_takes_keys_and_labels():
    selection = parsed(
        "selection: {order: risk, rings: [{ring: internal}], exclude: [acorn, {tier: gold}],"
        " pin: [birch], hold_back_percentage: 10}"
    ).selection
    assert selection == Selection(
        "risk", ({"ring": "internal"},), ("acorn", {"tier": "gold"}), ("birch",), 10
    )


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [],
)
def test_a_guard_that_is_not_there_is_refused_by_name(line, path, words):
    problem = only_problem(line)
    assert problem.path == f"policies.p.{path}"
    assert problem.message.startswith(words)
    assert problem.message.endswith("so that nobody relies on a guard that is not there")


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ("desciption: x", "desciption", "did you mean 'description'?"),
        ("soak: 5", "soak", "possible here: advance,"),
        ("on: {failure_rat: hold}", "on.failure_rat", "did you mean 'failure_rate'?"),
        ("on: {failure_rate: pause}", "on.failure_rate", "write rollback or hold"),
        ("advance: manul", "advance", "did you mean 'manual'?"),
        ("selection: {order: 5}", "selection.order", "write shuffle or listed or risk"),
        ("selection: {exclude: [a/b]}", "selection.exclude[0]", "is not a tenant key"),
        ("selection: {rings: [gold]}", "selection.rings[0]", "write labels here"),
        ("selection: {hold_back_percentage: 100}", "selection.hold_back_percentage", "0 to 99"),
        ("limits: {rollback_seconds: 181}", "limits.rollback_seconds", "above 0 to 180"),
        ("limits: {parallelism: 1.5}", "limits.parallelism", "whole number from 1 to 1000"),
        ("limits: {look_seconds: .inf}", "limits.look_seconds", "write a number"),
        ("limits: [1]", "limits", "write a mapping here"),
        (
            "rollback: {on_manual_pause: {rollback_after_seconds: 121}}",
            "rollback.on_manual_pause.rollback_after_seconds",
            "from 0 to 120",
        ),
        ("limits: {call_timeout_seconds: 120}", "limits.call_timeout_seconds", "lower call_timeo"),
        ("rollback: {verify: false}", "rollback.verify", "write true"),
        ("rollback_thresholds: {error_rate: 5%}", "rollback_thresholds.error_rate", "a number"),
        ("rollback_thresholds: {error_rate: }", "rollback_thresholds.error_rate", "nothing is"),
        ("guardrails: [{kpi: e}]", "guardrails[0]", "exactly one of at_most"),
        ("guardrails: [{kpi: e, at_most: 1, at_least: 2}]", "guardrails[0]", "exactly one of"),
        ("guardrails: [{at_most: 1}]", "guardrails[0].kpi", "'kpi' is missing"),
        (
            "guardrails: [{kpi: e, at_most: 1, window: 5 min}]",
            "guardrails[0].window",
            "90s, 5m or 1h",
        ),
        (
            "guardrails: [{kpi: e, at_most: 1, dry_run: yes}]",
            "guardrails[0].dry_run",
            "write true or false",
        ),
        ("not_after: 2031-03-31T18:00:00", "not_after", "with an offset"),
        ("not_after: 2031-02-30T18:00:00Z", "not_after", "with an offset"),
        (
            "windows: [{kind: allow, from: 1320, to: '04:00', timezone: UTC}]",
            "windows[0].from",
            'write it as "22:00"',
        ),
        (
            "windows: [{kind: allow, from: '22:00', to: '04:00', timezone: Asia/Shangai}]",
            "windows[0].timezone",
            "did you mean 'Asia/Shanghai'?",
        ),
        (
            "windows: [{kind: allow, from: '22:00', to: '04:00'}]",
            "windows[0].timezone",
            "'timezone' is missing",
        ),
        (
            "windows: [{kind: deny, days: [mon], from: '1:00', to: '04:00', timezone: UTC}]",
            "windows[0].from",
            "is not a time of day",
        ),
        ("windows: {kind: allow}", "windows", "write a list here"),
        ("selection: {rings: [{ring: [a]}]}", "selection.rings[0].ring", "a single value"),
        ("not_after: [1]", "not_after", "write a single value"),
        ("not_after: ", "not_after", "nothing is written here"),
        ("rollback_thresholds: {5xx rate: 1}", "rollback_thresholds.5xx rate", "not a Kpi name"),
        (f"guardrails: [{'{kpi: e, at_most: 1}, ' * 101}]", "guardrails", "write at most 100"),
        (f"description: {'x' * 2001}", "description", "write at most 2000"),
        ("approvals: [default]", "approvals", "write a single value"),
        ("description: &d text", "description", "the anchor '&d' is not allowed"),
        ("description: *d", "description", "the alias '*d' is not allowed"),
        ("description: !!str text", "description", "the tag"),
        ("batches: []", "batches", "stands here twice (first on line 3)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_to_write(line, path, words):
    problem = only_problem(line)
    # Where two values contradict each other the policy itself is the place.
    assert problem.line == (3 if "call_timeout" in path else 4)
    assert problem.path == f"policies.p.{path}"
    assert words in problem.message


def test_a_wrong_day_is_named_and_the_right_one_offered():
    found = problems(
        policy_text("windows: [{kind: deny, days: [monday], from: 1:00, to: 04:00, timezone: UTC}]")
    )
    days = [problem.message for problem in found if ".days" in problem.path]
    assert days == [
        "'monday' is not a day; did you mean 'mon'?",
        "no day is named; remove the key for every day",
    ]


def test_not_after_twice_is_refused():
    problem = only_problem(
        "not_after: 2031-03-31T18:00:00Z", "windows: [{not_after: 2031-03-31T18:00:00Z}]"
    )
    assert problem.line == 5
    assert "more than once" in problem.message


@pytest.mark.parametrize(
    ("batches", "path", "words"),
    [
        ("[]", "batches", "there is no batch"),
        ("[{name: a, percentage: 99.98, soak_minutes: 0}]", "batches", "add up to 99.98"),
        ("[{name: hold-back, percentage: 100, soak_minutes: 0}]", "batches[0].name", "another"),
        ("[{name: a, percentage: 100}]", "batches[0].soak_minutes", "is missing"),
        ("[{name: a b, percentage: 100, soak_minutes: 0}]", "batches[0].name", "not a name"),
        ("[{name: a, percentage: 0, soak_minutes: 0}]", "batches[0].percentage", "above 0"),
        ("[{name: a, percentage: 100, soak_minutes: -1}]", "batches[0].soak_minutes", "from 0"),
        (
            "[{name: a, percentage: 50, soak_minutes: 0},"
            " {name: a, percentage: 50, soak_minutes: 0}]",
            "batches[1].name",
            "is called 'a' too",
        ),
        (
            "[{name: a, percentage: 100, soak_minutes: 0, metrics: [x, x]}]",
            "batches[0].metrics[1]",
            "stands in the list twice",
        ),
    ],
)
def test_a_wrong_batch_is_refused_once(batches, path, words):
    problem = only_problem(batches=batches)
    assert (problem.line, problem.path) == (3, f"policies.p.{path}")
    assert words in problem.message


def test_percentages_may_miss_100_by_a_hundredth():
    thirds = ", ".join(f"{{name: b{n}, percentage: 33.33, soak_minutes: 0}}" for n in range(3))
    assert len(parsed(batches=f"[{thirds}]").batches) == 3


def test_all_problems_come_at_once_in_the_order_of_the_lines():
    found = problems(
        policy_text("evidence: {kpis: []}", "advance: no", "limits: {attempts: 0}")
        + "approvals:\n  fin: {required_roles: [], max_pending_minutes: 0}\n"
    )
    assert [(problem.line, problem.path) for problem in found] == [
        (3, "policies.p.approvals"),
        (4, "policies.p.evidence.kpis"),
        (5, "policies.p.advance"),
        (6, "policies.p.limits.attempts"),
        (8, "approvals.fin.required_roles"),
        (8, "approvals.fin.max_pending_minutes"),
    ]


def test_who_opens_a_gate_and_how_long_a_yes_counts_may_be_written():
    line = "default: {required_roles: [sre], gate_roles: [a, b], start_within_minutes: 30}"
    rule = parse_policy_file(policy_text("") + f"approvals:\n  {line}\n").approvals["default"]
    assert (rule.gate_roles, rule.start_within_minutes) == (("a", "b"), 30)
    assert set(rule.to_json()) == {
        "required_roles",
        "max_pending_minutes",
        "gate_roles",
        "start_within_minutes",
    }
    assert ApprovalRule("default", ("sre",)).to_json() == {
        "required_roles": ["sre"],
        "max_pending_minutes": 60,
    }


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("gate_roles: []", "gate_roles"),
        ("gate_roles: [a, a]", "gate_roles[1]"),
        ("start_within_minutes: 0", "start_within_minutes"),
        ("start_within_minutes: 10081", "start_within_minutes"),
        ("valid_minutes: 5", "valid_minutes"),
    ],
)
def test_what_cannot_be_an_approval_rule_is_refused_by_name(written, path):
    text = policy_text("") + f"approvals:\n  default: {{required_roles: [sre], {written}}}\n"
    assert f"approvals.default.{path}" in [problem.path for problem in problems(text)]


def test_approvals_must_exist_where_the_file_has_any():
    text = policy_text("approvals: finance")
    assert parse_policy_file(text).policies["p"].approvals == "finance"
    (problem,) = problems(text + "approvals:\n  default: {required_roles: [sre]}\n")
    assert problem.path == "policies.p.approvals"
    assert "'finance' is not in the approvals section, which has default" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- 1\n", 1, "write a mapping here"),
        ("policies: {}\n", 1, "no policy is named"),
        ("approvals: {}\n", 1, "'policies' is missing"),
        ("policies:\n  a: [\n", 3, "this is not YAML"),
        ("policies: {a: {}}\n---\nx: 1\n", 2, "a second document"),
        ("policies:\n  {a: 1}: 2\n", 2, "cannot be a key"),
        ("a: \x01\n", 1, "a control character"),
        ("a: 1\nb: \ud800\n", 2, "not UTF-8"),
        ("[" * 2000, 1, "nested deeper than"),
        ("#" * (MAX_BYTES + 1), 1, "at most 262144 are read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_one_reason(text, line, words):
    assert [problem.line for problem in problems(text)] == [line]
    assert words in problems(text)[0].message


def test_a_byte_order_mark_is_no_mistake():
    assert parse_policy_file("\ufeff" + FIELD_EXAMPLE) == parse_policy_file(FIELD_EXAMPLE)


def test_a_problem_reads_as_one_line():
    assert str(Problem(3, "policies.p", "no")) == "line 3: policies.p: no"
    assert str(Problem(3, "", "no")) == "line 3: no"


def problems_or_none(text):
    """Return why the text is refused, or an empty tuple when it is not."""
    try:
        parse_policy_file(text)
    except PolicyRejected as rejected:
        return rejected.problems or (Problem(0, "", "refused without a reason"),)
    return ()


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused_with_problems(text):
    found = problems_or_none(text)
    assert all(problem.line >= 1 and problem.message for problem in found)


@given(st.data())
def test_one_changed_character_never_crashes_the_reader(data):
    text = FIELD_EXAMPLE.replace("approvals:\n", ALL_DEFAULTS + "approvals:\n", 1)
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from("[]{}:,-#&*!|>'\"%@`\n\t 0x\x00é"))
    found = problems_or_none(text[:place] + character + text[place + 1 :])
    assert all(1 <= problem.line <= text.count("\n") + 2 for problem in found)


def test_a_budget_in_tenants_is_a_whole_number_and_none_unless_written():
    assert parsed("limits: {failures: 3}").limits.failures == 3
    assert parsed("limits: {failures: 0}").limits.failures == 0
    assert parsed().limits.failures is None
    for wrong in ("-1", "2.5", "5 %", "none"):
        assert only_problem(f"limits: {{failures: {wrong}}}").path == "policies.p.limits.failures"


@pytest.mark.parametrize("scope", ["plan", "batch", "tenant"])
def test_each_scope_of_a_rollback_is_understood(scope):
    assert parsed(f"rollback: {{scope: {scope}}}").rollback.scope == scope


def test_a_key_that_came_later_does_not_change_the_digest_of_a_policy_without_it():
    assert "failures" not in parsed().to_json()["limits"]
    assert parsed("limits: {failures: 0}").to_json()["limits"]["failures"] == 0


@pytest.mark.parametrize(
    ("key", "word", "field"),
    [
        *(("on_missing", word, "on_missing") for word in ("hold", "breach", "ignore", "zero")),
        *(("scope", word, "scope") for word in ("plan", "batch", "tenant")),
        ("unit: points, against", "own_history", "against"),
        ("unit: x, on_missing: ignore, against", "control", "against"),
    ],
)
def test_what_a_guardrail_compares_and_covers_is_understood(key, word, field):
    [rule] = parsed(f"guardrails: [{{kpi: e, at_most: 1, {key}: {word}}}]").guardrails
    assert getattr(rule, field) == word


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ("at_most: 2, against: own_history", "unit", "needs one: points (at_most: 2 = two"),
        ('at_most: 2, unit: "%", against: own_history', "unit", "'%' may mean percentage points"),
        ("at_most: 2, unit: points", "unit", "add against: control or against: own_history"),
        ("at_most: 0, unit: x, against: own_history", "unit", "a factor is above 0"),
        (
            "at_most: 2, unit: points, against: own_history, on_missing: zero",
            "on_missing",
            "'zero' would compare nothing with something",
        ),
    ],
)
def test_a_comparison_that_could_mean_two_things_is_refused_with_advice(keys, path, words):
    problem = only_problem(f"guardrails: [{{kpi: e, {keys}}}]")
    assert problem.path == f"policies.p.guardrails[0].{path}"
    assert words in problem.message


CONTROL = "kpi: e, at_most: 2, unit: points, against: control"


def test_a_guardrail_against_control_needs_somebody_held_back():
    problem = only_problem(f"guardrails: [{{{CONTROL}}}]")
    assert problem.path == "policies.p.guardrails"
    assert "in the last batch nobody is left on the old version" in problem.message


@pytest.mark.parametrize(
    "lines",
    [
        f"guardrails: [{{{CONTROL}}}]\nselection: {{hold_back_percentage: 2}}",
        f"guardrails: [{{{CONTROL}, on_missing: ignore}}]",
        f"guardrails: [{{{CONTROL}, critical: false}}]",
        f"guardrails: [{{{CONTROL}, dry_run: true}}]",
    ],
)
def test_unless_the_last_batch_does_not_wait_for_it(lines):
    assert parsed(*lines.split("\n")).guardrails[0].against == "control"


def test_an_unverified_way_back_is_told_unless_it_is_refused():
    plain, refused = parsed(), parsed("rollback: {unverified: refuse}")
    assert (plain.rollback.unverified, refused.rollback.unverified) == ("warn", "refuse")
    # It came later: a policy that does not name it keeps its digest.
    assert "unverified" not in plain.to_json()["rollback"]
    assert plain.digest() == parsed("rollback: {unverified: warn}").digest() != refused.digest()
    assert only_problem("rollback: {unverified: always}").path.endswith("rollback.unverified")

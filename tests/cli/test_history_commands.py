"""`powerx push`, `replay` and `placebo` against a real HTTP server that answers as the console."""

import io
import json
from typing import Any

import pytest

from tests.cli.stub_console import AT, PLAN
from upgradeconsole.cli import placebos, pushes
from upgradeconsole.cli.main import run

METRICS = "/api/v1/metrics/"
SAME = "/api/v1/plans/pay-7/replay/same"
OTHER = "/api/v1/plans/pay-7/replay"
PLACEBO = "/api/v1/policies/safe-rollout/placebo"


@pytest.fixture
def powerx():
    return lambda line: run(line.split())


# Push.


def taken(accepted: int, *refused: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": "apps",
        "accepted": accepted,
        "refused": list(refused),
        "refused_total": len(refused),
    }


def samples(count: int) -> list[dict[str, Any]]:
    return [{"metric": "m", "kind": "gauge", "value": n} for n in range(count)]


def test_one_sample_is_pushed_from_the_command_line(console, powerx, capsys):
    console.will(METRICS, (200, taken(1)))
    line = "push --metric requests_total --kind counter --value 4711 --label tenant=acorn"
    assert powerx(f"{line} --label version=1.5.0 --at {AT} --source apps") == 0
    assert console.bodies(METRICS) == [
        {
            "source": "apps",
            "samples": [
                {
                    "metric": "requests_total",
                    "kind": "counter",
                    "value": 4711.0,
                    "labels": {"tenant": "acorn", "version": "1.5.0"},
                    "at": AT,
                }
            ],
        }
    ]
    assert "1 taken by apps" in capsys.readouterr().out


def test_a_file_is_pushed_in_batches_and_refused_samples_keep_their_place(
    console, powerx, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(pushes, "MOST_SAMPLES", 2)
    late = {"index": 1, "code": "late", "detail": "not after what the series has"}
    console.will(METRICS, (200, taken(2)), (200, taken(1, late)))
    written = tmp_path / "samples.json"
    written.write_text(json.dumps({"source": "apps", "samples": samples(4)}))
    assert powerx(f"push {written} --key night-7") == 5
    assert [len(body["samples"]) for body in console.bodies(METRICS)] == [2, 2]
    assert [body["source"] for body in console.bodies(METRICS)] == ["apps", "apps"]
    out = capsys.readouterr().out
    assert "3 taken by apps" in out
    assert "sample 3: late: not after what the series has" in out


def test_each_batch_has_a_key_that_is_the_same_when_an_answer_is_lost(
    console, powerx, tmp_path, monkeypatch
):
    monkeypatch.setattr(pushes, "MOST_SAMPLES", 1)
    console.will(METRICS, (503, {}), (200, taken(1)))
    written = tmp_path / "samples.json"
    written.write_text(json.dumps(samples(2)))
    assert powerx(f"push {written} --key night-7 -o json") == 0
    assert console.keys == ["night-7", "night-7", "night-7-1"]


def test_samples_come_from_another_program(console, powerx, monkeypatch, capsys):
    console.will(METRICS, (200, taken(2)))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(samples(2))))
    assert powerx("push - -o json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 2


def test_it_waits_until_there_is_room(console, powerx):
    busy = (429, {"detail": "too fast"}, {"Retry-After": "0"})
    console.will(METRICS, busy, busy, (200, taken(1)))
    assert powerx("push --metric m --value 1") == 0
    assert len(console.bodies(METRICS)) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("push", "name a FILE with samples"),
        ("push x.json --metric m", "name a FILE with samples"),
        ("push --metric m", "--value: write a number"),
        ("push --metric m --value nan", "--value: write a number"),
        ("push --metric m --value 1 --label acorn", "is not NAME=VALUE"),
        ("push x.json --value 1", "not for a FILE"),
        ("push /nowhere/at-all.json", "cannot be read"),
    ],
)
def test_what_cannot_be_pushed_asks_nobody(console, powerx, capsys, line, said):
    assert powerx(line) == 5
    assert said in capsys.readouterr().err
    assert console.asked == []


@pytest.mark.parametrize("text", ["{", "3", '{"samples": 3}', '{"samples": [], "to": "apps"}'])
def test_a_file_that_holds_no_samples_says_what_to_write(console, powerx, tmp_path, text):
    written = tmp_path / "samples.json"
    written.write_text(text)
    assert powerx(f"push {written}") == 5
    assert console.asked == []


def test_who_may_not_push_is_told(console, powerx):
    console.will(METRICS, (403, {"detail": "Your token may not push."}))
    assert powerx("push --metric m --value 1") == 4


# Replay.


def same(*differences: str) -> dict[str, Any]:
    return {
        "plan": PLAN,
        "external_id": "pay-7",
        "same": not differences,
        "differences": list(differences),
        "left_out": [],
    }


def counterfactual() -> dict[str, Any]:
    return {
        "plan": PLAN, "external_id": "pay-7", "outcome": "false",
        "sentence": "Taken back, although it stayed.", "rolled_back_at": AT,
        "really_rolled_back_at": None, "really_by": "", "earlier_seconds": None,
        "guardrails": [
            {"guardrail": "error_rate at_most 3", "kpi": "error_rate", "action": "rollback",
             "scope": "plan", "dry_run": False, "looks": 6, "failed": 4, "breached_at": AT,
             "sentence": "error_rate 4 %", "highest_percent": None},
            {"guardrail": "evidence", "kpi": "error_rate", "action": "warn", "scope": "plan",
             "dry_run": False, "looks": 6, "failed": 0, "breached_at": None, "sentence": "",
             "highest_percent": 41.7},
        ],
        "passes": [{"batch": 1, "soak_started": AT, "at": AT, "sentence": "evidence 3 %"}],
        "notes": ["its history is too short"], "not_judged": ["latency_ms"],
    }  # fmt: skip


def test_a_plan_whose_rulings_come_out_again(console, powerx, capsys):
    console.will(SAME, (200, same()))
    assert powerx("replay pay-7") == 0
    assert "every ruling comes out as it was made" in capsys.readouterr().out


def test_a_plan_whose_rulings_differ_ends_with_1(console, powerx, capsys):
    console.will(SAME, (200, same("is in the replay, and was not ruled")))
    assert powerx("replay pay-7") == 1
    assert "was not ruled" in capsys.readouterr().out


def test_other_rules_are_asked_for_and_told(console, powerx, capsys):
    console.will(OTHER, (200, counterfactual()))
    line = "replay pay-7 --threshold error_rate=3 --threshold latency_ms=9 --evidence risk=2"
    assert powerx(f"{line} --policy safe-rollout") == 0
    (asked,) = [path for _method, path, _body, _token in console.asked]
    assert asked == (
        f"{OTHER}?threshold=error_rate%3D3&threshold=latency_ms%3D9&evidence=risk%3D2"
        "&policy=safe-rollout"
    )
    out = capsys.readouterr().out
    assert "pay-7: Taken back, although it stayed." in out
    assert "4 of 6 looks failed" in out
    assert "evidence (warn): never broken; 42 % at most, in 6 looks" in out
    assert "evidence lets batch 1 pass: from" in out
    assert "not judged: latency_ms" in out
    assert "note: its history is too short" in out


def test_all_past_plans_are_counted(console, powerx, capsys):
    tally = {"sentence": "Of 0 past plans.", "left_out": 2, "plans": [counterfactual()]}
    console.will("/api/v1/replay", (200, tally))
    assert powerx("replay --all --threshold error_rate=3") == 0
    out = capsys.readouterr().out
    assert "2 plans could not be judged" in out
    assert "Of 0 past plans." in out
    assert powerx("replay --all --threshold error_rate=3 -o json") == 0
    assert json.loads(capsys.readouterr().out) == tally


@pytest.mark.parametrize("line", ["replay", "replay pay-7 --all"])
def test_one_plan_or_all_of_them(console, powerx, capsys, line):
    assert powerx(line) == 5
    assert "--all" in capsys.readouterr().err
    assert console.asked == []


# Placebo.


def measured(seed: str = "s1") -> dict[str, Any]:
    return {
        "at": AT, "seed": seed, "rollouts": 200, "rolled_back": 1, "rate_percent": 0.5,
        "sentence": "1 of 200 rollouts with nothing released would have been rolled back.",
        "beside_evidence": "1 of 200 by it, asked 1 %.", "notes": ["400 of 900 were drawn"],
        "judges": [
            {"key": "evidence", "action": "rollback", "dry_run": False, "rollouts": 1,
             "evidence": True},
            {"key": "error_rate", "action": "warn", "dry_run": True, "rollouts": 3,
             "evidence": False, "tenants": 4, "judged": 4800},
        ],
    }  # fmt: skip


def test_the_newest_backtest_is_shown(console, powerx, capsys):
    console.will(PLACEBO, (200, measured()))
    assert powerx("placebo safe-rollout") == 0
    out = capsys.readouterr().out
    assert "1 of 200 rollouts with nothing released" in out
    assert "Evidence: 1 of 200 by it, asked 1 %." in out
    assert "evidence (rollback): broken in 1 of 200" in out
    assert "error_rate (warn, dry run): broken in 3 of 200; 4 of 4800 tenants alone" in out
    assert "note: 400 of 900 were drawn" in out


def test_it_is_measured_and_waited_for(console, powerx, capsys, monkeypatch):
    monkeypatch.setattr(placebos, "POLL_SECONDS", 0.01)
    none = (404, {"detail": "There is no placebo backtest."})
    # The first answer is that to the request itself.
    console.will(PLACEBO, (202, {"seed": "s2"}), none, (200, measured("s1")), (200, measured("s2")))
    assert powerx("placebo safe-rollout --measure --rollouts 500 -o json") == 0
    assert console.asked[0][2] == {"rollouts": 500}
    assert json.loads(capsys.readouterr().out)["seed"] == "s2"


def test_waiting_for_it_ends_when_the_time_is_over(console, powerx, capsys, monkeypatch):
    monkeypatch.setattr(placebos, "POLL_SECONDS", 0.01)
    console.will(PLACEBO, (202, {"seed": "s2"}), (200, measured("s1")))
    assert powerx("placebo safe-rollout --measure --timeout 0") == 3
    assert "it goes on" in capsys.readouterr().err


def test_a_policy_that_was_not_measured_is_bad_input(console, powerx, capsys):
    console.will(PLACEBO, (404, {"detail": "There is no placebo backtest of it."}))
    assert powerx("placebo safe-rollout") == 5
    assert "There is no placebo backtest" in capsys.readouterr().err

"""`powerx` against a real HTTP server on the loopback that answers as the console does."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Terminal

from tests.cli.stub_console import AT, PLAN
from upgradeconsole.cli import following
from upgradeconsole.cli.main import run
from upgradeconsole.cli.render import print_event


@pytest.fixture
def powerx() -> Callable[[str], int]:
    return lambda line: run(["plugin", *line.split()])


@pytest.fixture
def powerx_kpi() -> Callable[..., int]:
    return lambda *words: run(["kpi", *words])


def plan(state: str, **more: Any) -> dict[str, Any]:
    return {
        "plan": PLAN, "external_id": "pay-7", "plugin": "pay", "to_version": "1.5.0",
        "policy": "safe-rollout", "state": state, "counts": {"upgraded": 3}, "possible": ["pause"],
        "batches": [{"number": 1, "name": "canary", "state": "passed", "tenants": 3,
                     "counts": {"upgraded": 3}}],
    } | more  # fmt: skip


def planned(**more: Any) -> dict[str, Any]:
    return {
        "plan": PLAN, "state": "awaiting_approval", "revision": 1, "digest": "d" * 64,
        "batches": [{"name": "canary", "tenants": 3}], "quote_seconds": 24.5, "problems": [],
    } | more  # fmt: skip


def events(state: str, *seqs: int, more: bool = False) -> dict[str, Any]:
    listed = [{"seq": s, "kind": "k", "at": AT, "sentence": f"Sentence {s}."} for s in seqs]
    return {"plan": PLAN, "state": state, "events": listed, "more": more}


UPGRADE = "upgrade --strategy policy --plugin pay --to 1.5.0 --policy safe-rollout"
EVENTS = f"/api/v1/plans/{PLAN}/events"
DETAIL = f"/api/v1/plans/{PLAN}/"


def test_upgrade_sends_what_was_asked_with_the_token_in_the_header(console, powerx, capsys):
    console.will("/internal/version/upgrade/plan", (201, planned()))
    line = f"{UPGRADE} --tenants labels:region=eu,tier=gold --external-id pay-7 --deployer fleet"
    assert powerx(line) == 0
    method, path, body, authorization = console.asked[0]
    assert (method, path) == ("POST", "/internal/version/upgrade/plan")
    assert authorization == "Bearer secret-token"
    assert body == {
        "external_id": "pay-7", "plugin": "pay", "to_version": "1.5.0", "policy": "safe-rollout",
        "deployer": "fleet", "tenants": {"labels": {"region": "eu", "tier": "gold"}},
        "submit": True,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "awaiting approval" in out
    assert "canary" in out
    assert PLAN in out


def test_a_plan_that_cannot_be_taken_back_in_time_is_told_what_would_help(console, powerx, capsys):
    advice = {"key": "limits.parallelism", "sentence": "with parallelism 43 instead of 10 it fits"}
    quote = {"first_over": 2, "limit": 120.0, "advice": [advice]}
    console.will("/internal/version/upgrade/plan", (201, planned(quote=quote)))
    assert powerx(f"{UPGRADE} --tenants all") == 0
    out = capsys.readouterr().out
    assert "From batch 2 on that is more than the 120 s" in out
    assert "with parallelism 43 instead of 10 it fits" in out


@pytest.mark.parametrize(
    ("selector", "sent"),
    [("all", "all"), ("acorn,birch", ["acorn", "birch"]), ("acorn", ["acorn"])],
)
def test_a_selector_becomes_the_tenants_of_the_request(console, powerx, selector, sent):
    console.will("/internal/version/upgrade/plan", (201, planned()))
    powerx(f"{UPGRADE} --tenants {selector}")
    assert console.asked[0][2]["tenants"] == sent


def test_a_file_of_keys_may_hold_comments(console, powerx, tmp_path):
    listed = tmp_path / "tenants.txt"
    listed.write_text("acorn  # first\n\nbirch,cedar\n")
    console.will("/internal/version/upgrade/plan", (201, planned()))
    powerx(f"{UPGRADE} --tenants @{listed}")
    assert console.asked[0][2]["tenants"] == ["acorn", "birch", "cedar"]


@pytest.mark.parametrize("selector", ["labels:region", ",", "@/nowhere/at-all", "acorn,acorn"])
def test_a_selector_that_cannot_be_read_is_bad_input_and_asks_nothing(
    console, powerx, capsys, selector
):
    assert powerx(f"{UPGRADE} --tenants {selector}") == 5
    assert "--tenants" in capsys.readouterr().err
    assert console.asked == []


def test_a_plan_without_an_external_id_gets_one_so_that_it_can_be_repeated(console, powerx):
    console.will("/internal/version/upgrade/plan", (503, {}), (201, planned()))
    assert powerx(UPGRADE) == 0
    first, second = (body["external_id"] for body in console.bodies(console.asked[0][1]))
    assert first == second
    assert first.startswith("pay-1.5.0-")


def test_another_strategy_is_refused_with_what_to_write_instead(console, powerx, capsys):
    assert powerx(UPGRADE.replace("policy --plugin", "rolling --plugin")) == 5
    assert "--strategy policy" in capsys.readouterr().err
    assert console.asked == []


def test_a_missing_option_is_bad_input_and_not_needs_a_hand(console, powerx, capsys):
    assert powerx("upgrade --plugin pay") == 5
    assert "--to" in capsys.readouterr().err


def test_problems_of_the_policy_are_all_printed(console, powerx, capsys):
    console.will(
        "/internal/version/upgrade/plan",
        (422, {"title": "Bad input", "detail": "This cannot be planned.",
               "errors": [{"field": "policy", "detail": "no policy of this name"},
                          {"detail": "no tenant has the label tier=gold"}]}),
    )  # fmt: skip
    assert powerx(UPGRADE) == 5
    err = capsys.readouterr().err
    assert "policy: no policy of this name" in err
    assert "no tenant has the label tier=gold" in err


def test_a_draft_with_problems_is_bad_input(console, powerx, capsys):
    answer = planned(state="draft", problems=["batch 1 cannot be taken back in 180 s"])
    console.will("/internal/version/upgrade/plan", (201, answer))
    assert powerx(f"{UPGRADE} --watch") == 5
    assert "cannot be taken back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "code"),
    [("completed", 0), ("rolled_back", 1), ("rejected", 1), ("expired", 1), ("needs_hand", 2)],
)
def test_watching_ends_with_the_plan_and_its_exit_code(console, powerx, capsys, state, code):
    console.will("/internal/version/upgrade/plan", (201, planned()))
    console.will(EVENTS, (200, events("running", 1, 2)), (200, events("running", 2)),
                 (200, events(state, 3)))  # fmt: skip
    console.will(DETAIL, (200, plan(state)))
    assert powerx(f"{UPGRADE} --watch") == code
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "Sentence" in line]
    assert told == [f"02:42:39Z  Sentence {n}." for n in (1, 2, 3)]
    assert state.replace("_", " ") in "\n".join(lines)
    assert f"{EVENTS}?since=2&limit=500" in [path for _, path, _, _ in console.asked]


def test_watching_reads_every_page_before_it_ends(console, powerx, capsys):
    console.will(EVENTS, (200, events("completed", 1, more=True)), (200, events("completed", 2)))
    console.will(DETAIL, (200, plan("completed")))
    assert powerx(f"status {PLAN} --watch") == 0
    assert "Sentence 2." in capsys.readouterr().out


def test_watching_survives_a_console_that_restarts(console, powerx, capsys):
    down = (502, {})
    console.will(EVENTS, (200, events("running", 1)), down, down, (200, events("completed", 2)))
    console.will(DETAIL, (200, plan("completed")))
    assert powerx(f"status {PLAN} --watch") == 0
    captured = capsys.readouterr()
    assert "Sentence 2." in captured.out
    assert captured.err.count("trying again") == 1
    assert "answers again" in captured.err


def test_watching_gives_up_after_the_timeout_and_says_how_to_go_on(console, powerx, capsys):
    console.will(EVENTS, (200, events("running", 7)))
    assert powerx(f"status {PLAN} --watch --timeout 0.05") == 3
    assert f"powerx plugin status {PLAN} --watch --since 7" in capsys.readouterr().err


def test_an_interrupt_says_how_to_follow_again(console, powerx, capsys, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    console.will(EVENTS, (200, events("running", 7)))
    monkeypatch.setattr(following.render, "print_event", interrupt)
    assert powerx(f"status {PLAN} --watch") == 3
    err = capsys.readouterr().err
    assert "the plan goes on" in err
    assert f"powerx plugin status {PLAN} --watch" in err


@pytest.mark.parametrize(
    ("line", "path", "body"),
    [
        ("approve pay-7 --comment fine --role system_admin", "approve",
         {"comment": "fine", "role": "system_admin"}),
        ("approve pay-7 --code 123456", "approve", {"comment": "", "code": "123456"}),
        ("promote pay-7 --batch 2 --code 1", "promote", {"batch": 2, "code": "1"}),
        ("retry pay-7 --code 1", "retry", {"reason": "", "code": "1"}),
        ("reject pay-7 --reason late", "reject", {"reason": "late"}),
        ("start pay-7", "start", {}),
        ("pause pay-7 --reason odd", "pause", {"reason": "odd"}),
        ("resume pay-7", "resume", {"reason": ""}),
        ("promote pay-7", "promote", {}),
        ("cancel pay-7", "cancel", {"reason": ""}),
    ],
)  # fmt: skip
def test_each_action_posts_to_its_own_address(console, powerx, capsys, line, path, body):
    address = f"/api/v1/plans/pay-7/{path}"
    console.will(address, (200, plan("running")))
    assert powerx(line) == 0
    assert console.asked == [("POST", address, body, "Bearer secret-token")]
    assert "Possible now: pause" in capsys.readouterr().out


def test_glass_is_broken_with_a_reason_and_said_loudly(console, powerx, capsys):
    answer = {"act": "start", "external_id": "pay-7", "roles": ["lead"], "review_due": AT}
    console.will("/api/v1/plans/pay-7/break-glass", (201, answer))
    assert run(["plugin", "break-glass", "pay-7", "--act", "start", "--reason", "it burns"]) == 0
    assert console.asked[0][2] == {"act": "start", "reason": "it burns"}
    assert "GLASS BROKEN: start of pay-7 without lead" in capsys.readouterr().out
    assert powerx("break-glass pay-7 --act rollback --reason x") == 5
    assert powerx("break-glass pay-7 --act start") == 5


def test_signed_approvals_are_shown_and_handed_on(console, powerx, capsys):
    one = {
        "approver": "Aram", "role": "lead", "action": "start", "methods": ["pwd", "totp"],
        "expires_at": AT, "consumed_at": AT, "op": "plan:7:start:r1", "voided_why": "",
        "grant": {"payload": "e30=", "sig": "c2ln", "kid": "k1"},
    }  # fmt: skip
    console.will("/api/v1/plans/pay-7/grants", (200, [one]))
    assert powerx("grants pay-7") == 0
    told = capsys.readouterr().out
    assert "Aram as lead: start, proved by pwd and totp" in told
    assert "used by plan:7:start:r1" in told
    assert powerx("grants pay-7 -o json") == 0
    assert json.loads(capsys.readouterr().out) == [one]


def test_rollback_names_its_deadline_and_watches_until_it_is_over(console, powerx, capsys):
    answer = {"plan": PLAN, "rollback": "r-1", "deadline": AT, "touched": 12}
    console.will(f"/api/v1/plans/{PLAN}/rollback", (202, answer))
    console.will(EVENTS, (200, events("rolling_back", 1)), (200, events("rolled_back", 2)))
    rollback = {"deadline": AT, "seconds": 12.5, "reason": "errors"}
    console.will(DETAIL, (200, plan("rolled_back", rollback=rollback)))
    assert powerx(f"rollback {PLAN} --reason errors --tenants acorn,birch --watch") == 1
    assert console.asked[0][2] == {
        "reason": "errors", "scope": "plan", "tenants": ["acorn", "birch"]
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "Rolling back 12 tenants" in out
    assert "done after 12.5 s" in out


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (409, 4), (404, 5), (400, 5)])
def test_a_refusal_is_said_in_plain_words(console, powerx, capsys, status, code):
    problem = {"title": "No", "status": status, "detail": "Olga may not approve her own plan."}
    console.will("/api/v1/plans/pay-7/approve", (status, problem))
    assert powerx("approve pay-7") == code
    assert "Olga may not approve her own plan." in capsys.readouterr().err


def test_a_missing_token_is_said_and_nothing_is_asked(console, powerx, capsys, monkeypatch):
    monkeypatch.delenv("POWERX_TOKEN")
    assert powerx("status pay-7") == 4
    assert "make_token" in capsys.readouterr().err
    assert console.asked == []


def test_a_console_that_does_not_answer_is_a_timeout(console, powerx, capsys, monkeypatch):
    monkeypatch.setenv("POWERX_URL", "http://127.0.0.1:9")
    assert powerx("status pay-7") == 3
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err


def test_a_redirect_is_not_followed_with_the_token(console, powerx, capsys):
    console.will("/api/v1/plans/pay-7/", (301, {}, {"Location": "https://other.example/"}))
    assert powerx("status pay-7") == 5
    assert "https://other.example/" in capsys.readouterr().err
    assert len(console.asked) == 1


def test_status_as_json_is_one_document(console, powerx, capsys):
    console.will("/api/v1/plans/pay-7/", (200, plan("needs_hand")))
    assert powerx("status pay-7 -o json") == 2
    assert json.loads(capsys.readouterr().out)["state"] == "needs_hand"


OPENING = {
    "is_open": False, "sentence": "Frozen by 'Black Friday': the shops are full.",
    "next_opening": None, "closes_at": None, "for_good": False, "freezes": [],
}  # fmt: skip


def test_status_says_what_the_plan_waits_for_and_what_was_overridden(console, powerx, capsys):
    override = {"freeze": "Audit", "by": "Mara", "reason": "a hole is being used"}
    shown = plan(
        "running", opening=OPENING, waiting_for=OPENING["sentence"], overrides=[override],
        irreversible=True,
    )  # fmt: skip
    console.will("/api/v1/plans/pay-7/", (200, shown))
    assert powerx("status pay-7") == 0
    out = capsys.readouterr().out
    assert "Window: Frozen by 'Black Friday': the shops are full." in out
    assert "Waits:" not in out
    assert "FREEZE OVERRIDDEN: 'Audit' by Mara: a hole is being used" in out
    assert "CANNOT BE TAKEN BACK" in out


def test_status_says_why_a_guardrail_rules_and_what_would_stop_the_plan_again(
    console, powerx, capsys
):
    rail = {
        "verdict": "no_data", "sentence": "error_rate: no data from prom (source down: refused)",
        "since": "2031-03-05T12:00:10Z", "next": "One good look ends this",
        "updated_at": "2031-03-05T12:01:00Z",
    }  # fmt: skip
    unseen = rail | {"sentence": "Then: rollback.", "updated_at": None}
    shown = plan("paused", guardrails=[rail, unseen], stops_again=["error_rate 9 % is over 5 %"])
    console.will("/api/v1/plans/pay-7/", (200, shown))
    assert powerx("status pay-7") == 0
    out = capsys.readouterr().out
    assert "no data: error_rate: no data from prom (source down: refused); since 12:00:10Z" in out
    assert "One good look ends this." in out
    assert "Then: rollback" not in out
    assert "STILL BROKEN, would stop it again at once: error_rate 9 % is over 5 %" in out


def test_status_tells_other_waits_beside_an_open_window(console, powerx, capsys):
    opening = OPENING | {"is_open": True, "sentence": "Open: the policy has no windows."}
    shown = plan("running", opening=opening, waiting_for="batch 2 waits for a person")
    console.will("/api/v1/plans/pay-7/", (200, shown))
    powerx("status pay-7")
    assert "Waits: batch 2 waits for a person" in capsys.readouterr().out


def test_status_tells_the_evidence_where_there_is_a_test(console, powerx, capsys):
    told = {"percent": 64.7, "verdict": "undecided", "sentence": "a batch passes below 50 %"}
    console.will("/api/v1/plans/pay-7/", (200, plan("running", evidence=told)))
    powerx("status pay-7")
    assert "Evidence: 65 % (a batch passes below 50 %)" in capsys.readouterr().out
    console.will("/api/v1/plans/pay-7/", (200, plan("running", evidence=None)))
    powerx("status pay-7")
    assert "Evidence" not in capsys.readouterr().out


def test_stop_and_override_send_their_reasons(console, powerx):
    console.will("/api/v1/plans/pay-7/stop", (200, plan("stopped")))
    console.will("/api/v1/plans/pay-7/override-freeze", (200, plan("approved")))
    assert powerx("stop pay-7 --reason enough") == 0
    assert powerx("override-freeze pay-7 --freeze f1 --reason hole") == 0
    assert console.bodies("/api/v1/plans/pay-7/stop") == [{"reason": "enough"}]
    assert console.bodies("/api/v1/plans/pay-7/override-freeze") == [
        {"freeze": "f1", "reason": "hole"}
    ]


def test_a_stopped_plan_is_no_success(console, powerx):
    console.will("/api/v1/plans/pay-7/", (200, plan("stopped")))
    assert powerx("status pay-7") == 1


def test_a_plan_without_a_way_back_is_announced(console, powerx, capsys):
    console.will("/internal/version/upgrade/plan", (201, planned(quote_seconds=None)))
    assert powerx(UPGRADE) == 0
    assert "It cannot be taken back." in capsys.readouterr().out


def test_an_archived_plan_that_left_tenants_behind_is_not_a_success(console, powerx):
    console.will("/api/v1/plans/pay-7/",
                 (200, plan("archived", counts={"upgraded": 3, "rolled_back": 1})))  # fmt: skip
    assert powerx("status pay-7") == 1


def test_an_external_id_cannot_leave_its_place_in_the_address(console, powerx):
    powerx("status ../../admin")
    assert console.asked[0][1] == "/api/v1/plans/..%2F..%2Fadmin/"


def test_control_characters_of_a_platform_never_reach_the_terminal(console, powerx, capsys):
    page = events("completed", 1)
    page["events"][0]["sentence"] = "birch answered \x1b[2J\u202egone"
    console.will(EVENTS, (200, page))
    console.will(DETAIL, (200, plan("completed")))
    powerx(f"status {PLAN} --watch")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "birch answered [2Jgone" in out


def test_the_report_is_written_once_it_is_ready(console, powerx, tmp_path: Path):
    console.will("/api/v1/plans/pay-7/report.pdf",
                 (202, {}, {"Retry-After": "0"}), (200, b"%PDF-1.7"))  # fmt: skip
    target = tmp_path / "pay.pdf"
    assert powerx(f"report pay-7 -O {target}") == 0
    assert target.read_bytes() == b"%PDF-1.7"


def test_a_report_that_cannot_be_written_is_bad_input(console, powerx, capsys, tmp_path: Path):
    console.will("/api/v1/plans/pay-7/report.pdf", (200, b"%PDF-1.7"))
    assert powerx(f"report pay-7 -O {tmp_path}/no/such/folder.pdf") == 5
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_that_could_not_be_made_says_why_and_is_no_restart(console, powerx, capsys):
    problem = {"detail": "The report could not be made yet: no font."}
    kind = {"Content-Type": "application/problem+json"}
    console.will("/api/v1/plans/pay-7/report.pdf", (503, problem, kind))
    assert powerx("report pay-7") == 1
    assert "no font" in capsys.readouterr().err
    assert len(console.asked) == 1


def test_status_says_what_followed_a_rollback(console, powerx, capsys):
    followed = {"ending": "still_bad", "sentence": "Rolled back, still bad: error_rate 9 %."}
    rollback = {"deadline": AT, "seconds": 12.5, "reason": "errors", "aftermath": followed}
    console.will("/api/v1/plans/pay-7/", (200, plan("rolled_back", rollback=rollback)))
    assert powerx("status pay-7") == 1
    assert "Rolled back, still bad: error_rate 9 %." in capsys.readouterr().out


ADJUST = f"/api/v1/plans/{PLAN}/adjust"


def changed(**more: Any) -> dict[str, Any]:
    tight = {"path": "limits.attempts", "direction": "tighter", "sentence": "attempts: 3 → 2"}
    loose = {"path": "x", "direction": "looser", "sentence": "error_rate: at most 5 % → 9 %"}
    request = {"roles": ["system_admin"], "deadline": AT, "digest": "d", "revision": 3}
    told = {"applied": [tight], "waiting_for_approval": [loose], "request": request}
    return {"plan": PLAN, "state": "running", "revision": 2, "adjustment": told} | more


def test_adjust_sends_each_value_and_says_what_applies_and_what_waits(console, powerx, capsys):
    console.will(ADJUST, (202, changed()))
    line = f"adjust {PLAN} --guardrail error_rate=9 --soak wave-1=0.5 --limit attempts=2"
    assert powerx(f"{line} --reason OPS-7 --expires-in 30 --no-split") == 0
    assert console.bodies(ADJUST) == [
        {
            "guardrails": {"error_rate": 9},
            "batches": {"wave-1": {"soak_minutes": 0.5}},
            "limits": {"attempts": 2},
            "reason": "OPS-7",
            "split": False,
            "expires_in_minutes": 30,
        }
    ]
    said = capsys.readouterr().out
    assert "At the next look: attempts: 3 → 2" in said
    assert "Waits for system_admin until" in said


def test_adjust_previews_and_a_problem_is_bad_input(console, powerx, capsys, tmp_path):
    (tmp_path / "p.yaml").write_text("policies: {}", encoding="utf-8")
    preview = {
        "problems": ["nothing would change"], "warnings": [], "applied": [],
        "waiting_for_approval": [], "roles": [], "guardrails": [], "batches": [],
    }  # fmt: skip
    console.will(ADJUST, (200, preview))
    assert powerx(f"adjust {PLAN} --policy-file {tmp_path}/p.yaml --reason x --preview") == 5
    assert console.asked[0][1] == f"{ADJUST}?preview=1"
    assert console.asked[0][2]["policy_text"] == "policies: {}"
    assert "nothing would change" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "nothing to change"),
        ("--guardrail error_rate", "is not NAME=NUMBER"),
        ("--guardrail error_rate=much", "'much' is not a number"),
        ("--limit attempts=nan", "not a finite number"),
        ("--soak a=1 --soak a=2", "names a twice"),
        ("--policy-file /no/such/file", "cannot be read"),
    ],
)
def test_adjust_refuses_what_it_cannot_read_before_it_asks(console, powerx, capsys, options, said):
    assert powerx(f"adjust {PLAN} --reason x {options}") == 5
    assert said in capsys.readouterr().err
    assert not console.asked


# While a plan is under way.


@pytest.mark.parametrize(
    ("line", "act", "body"),
    [
        ("retry {plan}", "retry", {"reason": ""}),
        (
            "retry {plan} --tenant acorn --tenant birch --reason mended",
            "retry",
            {"tenants": ["acorn", "birch"], "reason": "mended"},
        ),
        ("retry {plan} --batch 2", "retry", {"batch": 2, "reason": ""}),
        (
            "exclude {plan} --tenants acorn,birch --tenant acorn --reason late",
            "exclude",
            {"tenants": ["acorn", "birch"], "reason": "late"},
        ),
        ("skip {plan} --batch 2 --reason frozen", "skip", {"batch": 2, "reason": "frozen"}),
        ("unskip {plan} --batch 2", "unskip", {"batch": 2, "reason": ""}),
        ("jump {plan} --batch 3 --reason soon", "jump", {"batch": 3, "reason": "soon"}),
        ("skip-rest {plan} --reason enough", "skip-rest", {"reason": "enough"}),
        (
            "override-freeze {plan} --freeze f-1 --reason hole --until 2099-06-01T10:00:00Z",
            "override-freeze",
            {"freeze": "f-1", "reason": "hole", "expires_at": "2099-06-01T10:00:00Z"},
        ),
        ("promote {plan}", "promote", {}),
        ("promote {plan} --batch 2", "promote", {"batch": 2}),
    ],
)
def test_an_act_under_way_is_posted_and_shows_the_plan(console, powerx, capsys, line, act, body):
    console.will(f"/api/v1/plans/{PLAN}/{act}", (200, plan("running")))
    assert powerx(line.format(plan=PLAN)) == 0
    assert console.bodies(f"/api/v1/plans/{PLAN}/{act}") == [body]
    assert "pay-7" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "exclude {plan} --reason late",
        "exclude {plan} --tenant acorn",
        "skip {plan} --batch 2",
        "skip {plan} --batch two --reason x",
        "jump {plan} --reason x",
        "skip-rest {plan}",
        "retry {plan} --tenants all",
    ],
)
def test_an_act_that_says_too_little_is_bad_input_and_asks_nobody(console, powerx, line):
    assert powerx(line.format(plan=PLAN)) == 5
    assert console.asked == []


def test_who_comes_second_reads_who_was_first(console, powerx, capsys):
    told = {"detail": "Batch 2 is skipped (Olga, 12:00:01 UTC).", "code": "already_skipped"}
    console.will(f"/api/v1/plans/{PLAN}/skip", (409, told))
    assert powerx(f"skip {PLAN} --batch 2 --reason x") == 4
    assert "(Olga, 12:00:01 UTC)" in capsys.readouterr().err


def test_single_tenants_are_taken_back_by_name(console, powerx):
    answer = {"plan": PLAN, "rollback": "r-1", "deadline": AT, "touched": 2}
    console.will(f"/api/v1/plans/{PLAN}/rollback", (202, answer))
    assert powerx(f"rollback {PLAN} --tenant acorn --tenant birch") == 0
    (body,) = console.bodies(f"/api/v1/plans/{PLAN}/rollback")
    assert body["tenants"] == ["acorn", "birch"]


def kpi_answer(level: str | None = "fine", *findings: dict[str, str]) -> dict[str, Any]:
    mapping = {
        "source": "prom", "level": level, "findings": list(findings), "tenants": 3,
        "tenants_without_data": ["cedar"], "probed_at": AT if level else None,
    }  # fmt: skip
    return {"name": "error_rate", "unit": "%", "level": level, "mappings": [mapping]}


def test_the_kpis_are_listed_with_what_was_found(console, powerx_kpi, capsys):
    console.will("/api/v1/kpis/", (200, [kpi_answer(None)]))
    assert powerx_kpi("list") == 0
    out = capsys.readouterr().out
    assert "error_rate" in out
    assert "not probed" in out


def test_a_probe_that_finds_something_wrong_ends_with_1(console, powerx_kpi, capsys):
    wrong = {"kind": "x", "level": "error", "sentence": "no series", "advice": "write y"}
    console.will("/api/v1/kpis/5xx%20rate/probe", (200, kpi_answer("error", wrong)))
    assert powerx_kpi("probe", "5xx rate") == 1
    out = capsys.readouterr().out
    assert "2 of 3" in out
    assert "error_rate from prom: error: no series; write y" in out


def test_a_probe_of_all_that_finds_all_well_ends_with_0(console, powerx_kpi, capsys):
    console.will("/api/v1/kpis/probe", (200, [kpi_answer(), kpi_answer("warning")]))
    assert powerx_kpi("probe", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)[1]["level"] == "warning"


def test_a_plan_with_warnings_was_handed_in_all_the_same(console, powerx, capsys):
    warned = planned(warnings=["error_rate from prom: 1 of 3 tenants has no data"])
    console.will("/internal/version/upgrade/plan", (201, warned))
    assert powerx(f"{UPGRADE} --tenants all") == 0
    assert "warning: error_rate from prom" in capsys.readouterr().out


def test_on_a_terminal_an_event_goes_on_beside_its_time_and_in_a_log_it_is_one_line():
    event = {"at": "2031-03-05T12:00:10Z", "sentence": "Batch 1 (canary) began with " + "6 " * 30}
    screen, log = StringIO(), StringIO()
    print_event(Terminal(file=screen, force_terminal=True, color_system=None, width=60), event)
    print_event(Terminal(file=log, width=60), event)
    first, second, *_more = screen.getvalue().splitlines()
    assert first.startswith("12:00:10Z  Batch 1 (canary) began")
    assert second.startswith(" " * 11 + "6 ")
    assert len(log.getvalue().splitlines()) == 1


def listed(name: str, state: str, waiting_for: str = "") -> dict[str, Any]:
    return {
        "plan": PLAN, "external_id": name, "plugin": "pay", "to_version": "1.5.0", "state": state,
        "policy": "safe-rollout", "created_at": AT, "waiting_for": waiting_for,
    }  # fmt: skip


def test_list_shows_the_plans_and_what_they_wait_for(console, powerx, capsys):
    rows = [listed("pay-7", "running", "batch 2 waits for a person"), listed("pay-6", "completed")]
    console.will("/api/v1/plans/", (200, {"results": rows, "next": "more"}))
    assert powerx("list --state running --limit 2") == 0
    asked = console.asked[0][1]
    for part in ("state=running", "limit=2", "rehearsals=false"):
        assert part in asked
    out = capsys.readouterr().out
    for words in ("pay-7", "running", "batch 2 waits for a person", "pay-6", "completed", "more"):
        assert words in out


def test_list_says_that_no_plan_fits_and_prints_json(console, powerx, capsys):
    console.will("/api/v1/plans/", (200, {"results": [], "next": None}))
    assert powerx("list --plugin mail") == 0
    assert "No plan fits." in capsys.readouterr().out
    assert powerx("list -o json") == 0
    assert json.loads(capsys.readouterr().out) == []

"""`powerx trail`: the trail as a file, and the newest checkpoint."""

from upgradeconsole.cli.main import run

EVERYTHING = "/api/v1/trail/export"


def test_the_trail_is_written_as_it_came(console, tmp_path):
    console.will(EVERYTHING, (200, b'{"trail": {}}\n'))
    target = tmp_path / "all.jsonl"
    assert run(["trail", "export", "-O", str(target)]) == 0
    assert target.read_bytes() == b'{"trail": {}}\n'
    assert console.asked[0][:2] == ("GET", f"{EVERYTHING}?form=jsonl")


def test_a_plan_and_a_period_are_asked_for(console, capfdbinary):
    console.will("/api/v1/plans/pay-7/trail", (200, b"stream,seq\n"))
    asked = ["--plan", "pay-7", "--since", "2026-01-01T00:00:00Z", "--csv", "-O", "-"]
    assert run(["trail", "export", *asked]) == 0
    query = "since=2026-01-01T00%3A00%3A00Z&form=csv"
    assert console.asked[0][1] == f"/api/v1/plans/pay-7/trail?{query}"


def test_a_file_that_cannot_be_written_is_bad_input(console, tmp_path, capsys):
    console.will(EVERYTHING, (200, b"{}\n"))
    assert run(["trail", "export", "-O", str(tmp_path / "no" / "such.jsonl")]) == 5
    assert "cannot be written" in capsys.readouterr().err


def test_who_may_not_read_it_is_told_so(console, capsys):
    problem = {"detail": "You may not read the system's trail.", "errors": []}
    console.will(EVERYTHING, (403, problem, {"Content-Type": "application/problem+json"}))
    assert run(["trail", "export"]) == 4
    assert "may not read" in capsys.readouterr().err


def test_the_newest_checkpoint_is_printed_as_it_is(console, capsys):
    console.will("/api/v1/trail/checkpoint", (200, {"checkpoint": "console/trail/1\n12\n"}))
    assert run(["trail", "checkpoint"]) == 0
    assert capsys.readouterr().out == "console/trail/1\n12\n"

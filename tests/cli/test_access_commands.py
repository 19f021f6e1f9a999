"""`powerx token` and `powerx role`."""

import pytest

from tests.cli.stub_console import AT
from upgradeconsole.cli.main import run

ID = "0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11"
TOKEN = {
    "token": ID, "name": "pipeline", "prefix": "upc_abc", "person": "mara@example.org",
    "state": "good", "scopes": ["read"], "labels": {"region": "eu"}, "expires_at": AT,
}  # fmt: skip
ROLE = {
    "role_id": ID, "person": "nils@example.org", "kind": "console", "role": "viewer",
    "labels": {}, "since": AT, "expires_at": None, "ended_at": None, "why": "",
}  # fmt: skip
REQUEST = {
    "request_id": ID, "person": "nils@example.org", "kind": "approval", "role": "system_admin",
    "labels": {}, "asked_by": "ada@example.org", "asked_at": AT, "expires_at": None,
    "why": "Aram is on leave", "outcome": "",
}  # fmt: skip
WRONG = (409, {"detail": "no"}, {"Content-Type": "application/problem+json"})


def test_every_page_of_the_tokens_is_listed(console, capsys):
    following = "http://console.example.org/api/v1/tokens/?cursor=x"
    console.will(
        "/api/v1/tokens/",
        (200, {"results": [TOKEN], "next": following}),
        (200, {"results": [{**TOKEN, "name": "second"}], "next": None}),
    )
    assert run(["token", "list", "--everybody"]) == 0
    printed = capsys.readouterr().out
    assert "pipeline" in printed
    assert "second" in printed
    assert console.asked[0][1] == "/api/v1/tokens/?limit=200&of=everybody"


def test_a_token_is_made_and_its_secret_alone_is_on_stdout(console, capsys):
    console.will("/api/v1/tokens/", (201, {**TOKEN, "secret": "upc_secret"}))
    asked = ["token", "make", "--name", "pipeline", "--days", "9", "--scope", "read"]
    assert run([*asked, "--label", "region=eu", "--code", "123456"]) == 0
    said = capsys.readouterr()
    assert said.out == "upc_secret\n"
    assert "shown only now" in said.err
    assert console.bodies("/api/v1/tokens/") == [
        {
            "name": "pipeline", "days": 9, "scopes": ["read"], "labels": {"region": "eu"},
            "code": "123456",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["region", "=eu", "region="])
def test_a_label_that_is_none_is_bad_input(console, label):
    assert run(["token", "make", "--name", "x", "--label", label]) == 5
    assert run(["role", "give", "a@example.org", "viewer", "--label", label]) == 5
    assert console.asked == []


def test_nothing_is_asked_twice_and_a_lost_answer_says_where_to_look(monkeypatch, capsys):
    monkeypatch.setenv("POWERX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("POWERX_TOKEN", "t")
    assert run(["token", "make", "--name", "x"]) != 0
    assert "look at 'powerx token list'" in " ".join(capsys.readouterr().err.split())


def test_a_token_is_revoked_once(console, capsys):
    console.will(f"/api/v1/tokens/{ID}/revoke", (200, {**TOKEN, "state": "revoked"}), WRONG)
    assert run(["token", "revoke", ID]) == 0
    assert "The token 'pipeline' is revoked." in capsys.readouterr().out
    assert run(["token", "revoke", ID]) == 4
    assert run(["token", "revoke", "../roles"]) == 5


def test_roles_are_listed_given_and_ended(console, capsys):
    console.will("/api/v1/roles/", (200, [ROLE]), (201, ROLE))
    console.will(f"/api/v1/roles/{ID}/end", (200, {**ROLE, "ended_at": AT}))
    assert run(["role", "list"]) == 0
    assert run(["role", "give", "nils@example.org", "viewer", "--until", "2027-01-31"]) == 0
    assert run(["role", "end", ID, "--reason", "left"]) == 0
    printed = capsys.readouterr().out
    assert "no end" in printed
    assert "nils@example.org is viewer now." in printed
    assert "nils@example.org is viewer no more." in printed
    assert console.bodies("/api/v1/roles/")[1] == {
        "person": "nils@example.org", "kind": "console", "role": "viewer", "labels": {},
        "expires_at": "2027-01-31T00:00:00+00:00", "why": "",
    }  # fmt: skip
    assert console.bodies(f"/api/v1/roles/{ID}/end") == [{"reason": "left"}]


def test_a_role_that_takes_two_is_not_said_to_be_given(console, capsys):
    console.will("/api/v1/roles/", (202, REQUEST))
    given = ["role", "give", "nils@example.org", "system_admin", "--kind", "approval"]
    assert run([*given, "--code", "123456"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nils@example.org is not system_admin yet" in printed
    assert f"Request {ID}: another administrator has to confirm it." in printed


def test_the_second_administrator_lists_confirms_and_refuses(console, capsys):
    where = f"/api/v1/role-requests/{ID}/"
    console.will("/api/v1/role-requests/", (200, [REQUEST | {"warning": "Speak with Nils"}]))
    console.will(f"{where}confirm", (200, {**ROLE, "role": "system_admin"}))
    console.will(f"{where}refuse", (200, REQUEST))
    assert run(["role", "requests"]) == 0
    assert run(["role", "confirm", ID, "--code", "123456"]) == 0
    assert run(["role", "refuse", ID, "--reason", "Sona can"]) == 0
    printed = capsys.readouterr().out
    assert "ada@example.org" in printed
    assert "Speak" in printed
    assert "nils@example.org is system_admin now." in printed
    assert "nils@example.org does not become system_admin." in printed
    assert console.bodies(f"{where}confirm") == [{"code": "123456"}]


def test_machines_are_answered_in_json(console, capsys):
    console.will("/api/v1/roles/", (200, [ROLE]))
    assert run(["role", "list", "-o", "json"]) == 0
    assert '"role_id"' in capsys.readouterr().out

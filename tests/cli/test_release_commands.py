"""`powerx release` and `powerx key`."""

import hashlib

from tests.cli.stub_console import AT
from upgradeconsole.cli.main import run

ROW = {
    "release": "0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11",
    "plugin": "pay",
    "version": "1.5.0",
    "digest": "ab" * 32,
    "signed_by": "0123456789abcdef",
    "state": "trusted",
    "usable": True,
    "verified_at": AT,
}
ID = str(ROW["release"])
WHERE = f"/api/v1/releases/{ID}/"
KEY = {
    "key_id": "0123456789abcdef",
    "name": "build",
    "state": "trusted",
    "plugins": [],
    "not_after": AT,
}
LIST = (200, {"results": [ROW], "next": None})


def test_releases_are_listed_with_their_standing(console, capsys):
    console.will("/api/v1/releases/", LIST)
    assert run(["release", "list", "--plugin", "pay"]) == 0
    printed = capsys.readouterr().out
    assert "pay@1.5.0" in printed
    assert "usable" in printed
    assert console.asked[0][1] == "/api/v1/releases/?limit=200&plugin=pay"


def test_every_page_of_the_list_is_read(console, capsys):
    second = {**ROW, "version": "1.4.0", "state": "quarantined"}
    following = "http://console.example.org/api/v1/releases/?cursor=x"
    console.will(
        "/api/v1/releases/",
        (200, {"results": [ROW], "next": following}),
        (200, {"results": [second], "next": None}),
    )
    assert run(["release", "list"]) == 0
    assert "pay@1.4.0" in capsys.readouterr().out


def test_an_envelope_is_registered_byte_for_byte(console, tmp_path):
    file = tmp_path / "release.json.dsse"
    file.write_bytes(b'{"payload":\r\n "x"}')
    console.will("/api/v1/releases/", (201, ROW))
    assert run(["release", "register", str(file)]) == 0
    assert console.bodies("/api/v1/releases/") == [
        {"irreversible": False, "envelope": '{"payload":\r\n "x"}'}
    ]


def test_what_cosign_signed_is_registered_with_its_signature(console, tmp_path):
    statement, signature = tmp_path / "release.json", tmp_path / "release.json.sig"
    statement.write_text("{}\n")
    signature.write_text("MEUC\n")
    console.will("/api/v1/releases/", (201, ROW))
    assert run(["release", "register", str(statement), "--signature", str(signature)]) == 0
    sent = console.bodies("/api/v1/releases/")
    assert sent == [{"irreversible": False, "payload": "{}\n", "signature": "MEUC"}]


def test_a_file_that_is_missing_or_too_large_is_bad_input(console, tmp_path):
    assert run(["release", "register", str(tmp_path / "none")]) == 5
    large = tmp_path / "large"
    large.write_bytes(b"x" * (256 * 1024 + 1))
    assert run(["release", "register", str(large)]) == 5
    assert console.asked == []


def test_an_artifact_is_verified_by_its_digest_and_a_refusal_ends_with_4(console, tmp_path):
    artifact = tmp_path / "plugin.zip"
    artifact.write_bytes(b"artifact")
    console.will("/api/v1/releases/", LIST)
    problem = {"detail": "another artifact", "code": "other_artifact", "errors": []}
    kind = {"Content-Type": "application/problem+json"}
    console.will(f"{WHERE}verify", (200, ROW), (409, problem, kind))
    assert run(["release", "verify", "pay@1.5.0", "--artifact", str(artifact)]) == 0
    assert run(["release", "verify", ID]) == 4
    found = {"digest": hashlib.sha256(b"artifact").hexdigest()}
    assert console.bodies(f"{WHERE}verify") == [found, {}]


def test_another_file_stops_the_release_only_if_that_is_said(console, tmp_path):
    artifact = tmp_path / "plugin.zip"
    artifact.write_bytes(b"artifact")
    console.will("/api/v1/releases/", LIST)
    console.will(f"{WHERE}verify", (200, ROW))
    assert run(["release", "verify", ID, "--quarantine"]) == 5
    named = ["release", "verify", "pay@1.5.0", "--artifact", str(artifact), "--quarantine"]
    assert run(named) == 0
    (sent,) = console.bodies(f"{WHERE}verify")
    assert sent["quarantine"] is True


def test_a_release_is_quarantined_and_let_out_with_a_reason(console):
    console.will("/api/v1/releases/", LIST)
    for act in ("quarantine", "lift"):
        console.will(f"{WHERE}{act}", (200, ROW))
        assert run(["release", act, "pay@1.5.0", "--reason", "leaky"]) == 0
        assert console.bodies(f"{WHERE}{act}") == [{"reason": "leaky"}]
    assert run(["release", "quarantine", "pay@9.9.9", "--reason", "x"]) == 5


def test_keys_are_listed_trusted_retired_and_revoked(console, tmp_path, capsys):
    public = tmp_path / "build.pub"
    public.write_text("-----BEGIN PUBLIC KEY-----\n")
    console.will("/api/v1/keys/", (200, [KEY]))
    assert run(["key", "list"]) == 0
    assert "every plugin" in capsys.readouterr().out
    console.will("/api/v1/keys/", (201, KEY))
    assert run(["key", "trust", str(public), "--name", "build", "--plugin", "pay"]) == 0
    sent = console.bodies("/api/v1/keys/")[-1]
    assert (sent["name"], sent["plugins"]) == ("build", ["pay"])
    console.will("/api/v1/keys/0123456789abcdef/retire", (200, KEY))
    assert run(["key", "retire", "0123456789abcdef", "--until", "2031-01-02"]) == 0
    (ended,) = console.bodies("/api/v1/keys/0123456789abcdef/retire")
    assert ended == {"not_after": "2031-01-02T00:00:00+00:00", "reason": ""}
    console.will("/api/v1/keys/0123456789abcdef/revoke", (200, KEY))
    assert run(["key", "revoke", "0123456789abcdef", "--reason", "stolen"]) == 0


def test_a_private_key_is_never_sent(console, tmp_path):
    private = tmp_path / "build.key"
    private.write_text("-----BEGIN PRIVATE KEY-----\n")
    assert run(["key", "trust", str(private), "--name", "oops"]) == 5
    assert console.asked == []

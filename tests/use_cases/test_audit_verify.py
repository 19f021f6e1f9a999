"""`audit_verify` ends with the code of what it found, and says it to people and machines."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from plans.console_keys import rotate, signing_key
from plans.models import Checkpoint, Event, Grant, Stream, TrailCheck
from plans.trail.checkpoint_text import verifier_key
from plans.trail.checkpoints import take_checkpoint
from reports import verify_trail
from reports.trail.anchor_files import Anchor, write
from tests.builders import a_draft, an_approved
from tests.web.api_scene import now


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit_verify", *arguments, stdout=out)
    return int(ended.value.code or 0), out.getvalue()


@pytest.fixture
def signed(scene) -> Checkpoint:
    a_draft(scene)
    made = take_checkpoint(why="test", now=now())
    assert made is not None
    return made


def anchored(tmp_path, *checkpoints: Checkpoint) -> str:
    rows = [Anchor(c.number, c.at, c.text, c.heads, c.whole) for c in checkpoints]
    write(tmp_path / "outside", "ab", rows)
    return str(tmp_path / "outside")


def test_0_all_holds(signed, tmp_path):
    code, said = run("--anchors", anchored(tmp_path, signed))
    assert code == 0
    assert said.startswith("every link holds: ")


def test_1_a_broken_link_is_named(signed):
    Stream.objects.filter(key="system").update(head_hash="ab" * 32)
    code, said = run()
    assert code == 1
    assert "system event" in said


def test_2_a_fork_against_an_anchor(signed, tmp_path):
    anchors = anchored(tmp_path, signed)
    Checkpoint.objects.all().delete()
    take_checkpoint(why="test", now=now())
    assert run("--anchors", anchors)[0] == 2


def rewritten() -> None:
    """Change an event and chain everything after it anew, as whoever holds the database can."""
    row = Event.objects.filter(stream__key="system").order_by("-seq").first()
    stream = Stream.objects.get(key="system")
    assert row is not None
    row.sentence = "Nothing happened."
    row.hash = verify_trail.chained(row.prev_hash, row.body("system"))
    drops = {
        "sqlite": "DROP TRIGGER plans_event_no_update",
        "postgresql": "DROP FUNCTION plans_event_refuse() CASCADE",
    }
    with connection.cursor() as cursor:
        cursor.execute(drops[connection.vendor])
    Event.objects.filter(pk=row.pk).update(sentence=row.sentence, hash=row.hash)
    Stream.objects.filter(pk=stream.pk).update(head_hash=row.hash)


@pytest.mark.parametrize("gone", ["heads", "checkpoints"])
def test_nobody_hides_a_rewritten_trail_from_the_anchors(signed, tmp_path, gone):
    """Neither the heads that a checkpoint was signed over nor all checkpoints can be taken out."""
    anchors = anchored(tmp_path, signed)
    rewritten()
    if gone == "heads":
        Checkpoint.objects.update(heads={}, whole=False)
    else:
        Checkpoint.objects.all().delete()
    assert run("--anchors", anchors)[0] in {2, 3}


def test_what_a_trusted_checkpoint_skips_is_what_it_has_signed(signed):
    heads = {stream: [seq + 5, head] for stream, (seq, head) in signed.heads.items()}
    Checkpoint.objects.update(heads=heads)
    assert run("--since", str(signed.number))[0] in {1, 3}


def test_5_events_for_which_no_checkpoint_vouches(signed):
    Checkpoint.objects.all().delete()
    assert run()[0] == verify_trail.UNCHECKED


def test_3_a_bad_signature(signed):
    other = rotate("grant")[1]
    text = signed.text.replace(signed.kid, other)
    Checkpoint.objects.filter(pk=signed.pk).update(text=text)
    assert run()[0] == 3


@pytest.fixture
def approved(scene) -> Grant:
    """One of the two signed approvals of a plan."""
    plan = an_approved(scene)
    take_checkpoint(why="test", now=now())
    return Grant.objects.filter(plan=plan)[0]


def test_0_signed_approvals_are_counted_also_those_of_an_older_key(approved):
    rotate("grant")
    code, said = run()
    assert (code, said.strip().endswith(", 2 signed approvals")) == (0, True)


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"sig": "AAAA"}, "the signature of grant {jti} by key {kid} is wrong"),
        ({"payload": "e30="}, "the signature of a grant that cannot be read by key {kid} is wrong"),
        ({"payload": "no base64"}, "a grant that cannot be read"),
        ({"kid": "ab" * 8}, "grant {jti} is signed by a key that is not known here (abab"),
    ],
)
def test_3_a_grant_that_somebody_spoilt_is_named(approved, spoilt, why):
    Grant.objects.filter(pk=approved.pk).update(**spoilt)
    code, said = run()
    assert code == 3
    assert why.format(jti=approved.jti, kid=approved.kid) in said


def test_3_a_signed_approval_that_was_taken_out_is_missed(approved):
    Grant.objects.filter(pk=approved.pk).delete()
    code, said = run()
    assert (code, f"its signed approval {approved.jti} is missing" in said) == (3, True)


def test_3_the_key_for_checkpoints_signs_no_grant(approved):
    Grant.objects.filter(pk=approved.pk).update(kid=signing_key("checkpoint").kid)
    assert run()[0] == 3


def test_5_grants_whose_key_was_not_given_were_not_checked(approved):
    """As the file that auditors run says it: no finding, and no clean bill either."""
    keys = [verifier_key("console", signing_key(what).public) for what in ("checkpoint", "grant")]
    code, said = run("--pubkey", keys[0])
    assert (code, "not everything could be checked" in said) == (verify_trail.UNCHECKED, True)
    assert run("--pubkey", keys[0], "--pubkey", keys[1])[0] == 0


def test_4_a_gap_in_the_checkpoints(signed):
    take_checkpoint(why="test", now=signed.at + timedelta(minutes=30))
    code, said = run()
    assert code == 4
    assert "no checkpoint between" in said


def test_it_answers_machines_in_json(signed):
    code, said = run("--json")
    told = json.loads(said)
    assert (code, told["exit"], told["checkpoints"]) == (0, 0, 1)
    assert told["problems"] == []


def test_only_the_key_that_was_given_is_believed(signed):
    key = signing_key("checkpoint")
    assert run("--pubkey", verifier_key("console", key.public))[0] == 0
    assert run("--pubkey", "ab" * 32)[0] == 3


def test_it_may_begin_at_a_checkpoint(signed, tmp_path):
    file = tmp_path / "cp.txt"
    file.write_text(signed.text)
    assert run("--since", str(signed.number))[0] == 0
    assert run("--since", str(file))[0] == 0
    file.write_text(signed.text.replace("number 1", "number 1 "))
    with pytest.raises(CommandError) as refused:
        call_command("audit_verify", since=str(file))
    assert refused.value.returncode in {2, verify_trail.UNREADABLE}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--since", "7"], "no such checkpoint"),
        (["--since", "x"], "no such checkpoint"),
        (["--anchors", "/nowhere/at/all"], "is not there"),
        (["--pubkey", "nonsense"], "no Ed25519 public key"),
        (["--keep", "--json"], "stands alone"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_code_of_its_own(signed, arguments, why):
    with pytest.raises(CommandError, match=why) as refused:
        call_command("audit_verify", *arguments)
    assert refused.value.returncode == verify_trail.UNREADABLE


def test_it_keeps_what_it_found_when_asked(signed):
    assert run("--keep")[0] == 0
    assert TrailCheck.objects.get().outcome == 0

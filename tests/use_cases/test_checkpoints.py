"""Checkpoints: when one is taken, what it says, and where its key comes from."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from plans.console_keys import KeyUnusable, public_key, public_keys, rotate, signing_key
from plans.models import Checkpoint, Event
from plans.trail import events
from plans.trail.checkpoints import due, heads_at, heads_now, newest, proof_of, take_checkpoint
from reports.verify_trail import leaf, parse_note, root_from
from tests.builders import a_draft, an_approved
from tests.web.api_scene import now

START = now()


def later(seconds: float):
    return START + timedelta(seconds=seconds)


def taken(**how) -> Checkpoint:
    made = take_checkpoint(**how)
    assert made is not None
    return made


def tell(kind: str, at=None) -> None:
    with transaction.atomic():
        events.record(
            stream=None, kind=kind, sentence="It was so.", actor=None, via="watch", now=at or START
        )


def test_the_first_one_is_due_at_once_and_then_one_in_five_minutes(scene):
    assert due(START) == "first"
    taken(why="first", now=START)
    assert due(later(299)) == ""
    assert due(later(300)) == "time"


def test_approvals_and_ends_of_batches_ask_for_one_at_once_but_not_for_many(scene):
    taken(why="first", now=START)
    tell("tenants_moved")
    assert due(later(6)) == ""
    tell("batch_passed")
    assert due(later(4.9)) == ""
    assert due(later(5)) == "batch_passed"
    taken(why="batch_passed", now=later(5))
    assert due(later(20)) == ""


def test_a_clock_that_was_set_back_keeps_no_checkpoint_away(scene):
    taken(why="first", now=later(3600))
    assert due(START) == "time"


def test_it_is_signed_over_all_heads_and_names_the_one_before(scene):
    plan = an_approved(scene)
    first = taken(why="first", now=START)
    note = parse_note(first.text)
    assert (note.number, note.size, note.kid) == (1, first.size, signing_key("checkpoint").kid)
    assert note.size == Event.objects.count()
    tell("told")
    second = taken(why="test", now=later(9))
    assert parse_note(second.text).previous == note.digest.hex()
    assert second.log == first.log
    assert second.heads.keys() == {"system"}
    assert heads_at(second) == heads_now()
    assert heads_at(first)[plan.stream_key] == heads_at(second)[plan.stream_key]


def test_the_newest_of_many_still_knows_all_heads(scene, monkeypatch):
    monkeypatch.setattr("plans.trail.checkpoints.WHOLE_EACH", 3)
    for number in range(7):
        a_draft(scene, external_id=f"pay-{number}")
        taken(why="test", now=later(number))
    assert list(Checkpoint.objects.filter(whole=True).values_list("number", flat=True)) == [1, 3, 6]
    last = newest()
    assert last is not None
    assert heads_at(last) == heads_now()


def test_a_plan_s_head_is_proved_by_its_hashes_alone(scene):
    plans = [a_draft(scene, external_id=f"pay-{number}") for number in range(5)]
    signed = taken(why="test", now=START)
    proof = proof_of(signed, plans[3].stream_key)
    root = root_from(
        leaf(proof.stream, proof.seq, proof.hash), proof.index, proof.count, proof.path
    )
    assert root == parse_note(signed.text).root
    assert proof_of(signed, "plan:unknown") is None


def test_the_trail_says_which_key_signs_once(scene):
    taken(why="test", now=START)
    taken(why="test", now=later(9))
    told = Event.objects.get(kind="console_key_in_use")
    key = signing_key("checkpoint")
    assert told.payload == {
        "kid": key.kid, "purpose": "checkpoint", "public_key": key.public.hex()
    }  # fmt: skip


def test_who_was_faster_has_the_number(scene, monkeypatch):
    first = taken(why="test", now=START)
    taken(why="test", now=later(1))
    # The other process read the newest before this one had written it.
    monkeypatch.setattr("plans.trail.checkpoints.newest", lambda: first)
    assert take_checkpoint(why="test", now=later(1)) is None
    assert Checkpoint.objects.count() == 2


def test_keys_are_files_for_their_owner_alone_one_per_purpose(settings):
    made = {purpose: signing_key(purpose) for purpose in ("checkpoint", "grant")}
    folder = Path(settings.CONSOLE_KEYS_DIR)
    for purpose, key in made.items():
        assert stat.S_IMODE((folder / f"{purpose}.key").stat().st_mode) == 0o600
        assert signing_key(purpose).kid == key.kid
        public_key(key.kid).verify(key.sign(b"said"), b"said")
    assert made["grant"].kid != made["checkpoint"].kid
    with pytest.raises(ValueError, match="none of"):
        signing_key("other")


def test_a_rotation_keeps_what_checks_old_signatures(settings):
    before = signing_key("grant")
    old, new = rotate("grant")
    assert (old, signing_key("grant").kid) == (before.kid, new)
    assert old != new
    assert public_keys("grant").keys() == {old, new}
    public_key(old).verify(before.sign(b"said"), b"said")


def test_a_key_that_others_may_read_signs_nothing(settings):
    signing_key("checkpoint")
    path = Path(settings.CONSOLE_KEYS_DIR) / "checkpoint.key"
    path.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        signing_key("checkpoint")
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(KeyUnusable, match="no private key"):
        signing_key("checkpoint")


@pytest.mark.parametrize("kid", ["", "../../etc", "0" * 16, "z" * 16])
def test_there_is_no_key_of_a_name_that_nobody_made(settings, kid):
    signing_key("checkpoint")
    assert public_key(kid) is None


def test_a_file_under_another_key_s_name_is_no_key_of_that_name(settings):
    kid = signing_key("checkpoint").kid
    folder = Path(settings.CONSOLE_KEYS_DIR)
    (folder / f"checkpoint-{'0' * 16}.pem").write_bytes(
        (folder / f"checkpoint-{kid}.pem").read_bytes()
    )
    assert public_key("0" * 16) is None
    assert public_keys("checkpoint").keys() == {kid}


def test_the_command_rotates_and_the_trail_hears_of_it(scene, capsys):
    call_command("rotate_console_key", "checkpoint")
    said = capsys.readouterr().out
    told = Event.objects.get(kind="console_key_in_use", payload__before__isnull=False)
    assert told.payload["kid"] == signing_key("checkpoint").kid
    assert "console+" in said
    with pytest.raises(CommandError):
        call_command("rotate_console_key", "other")

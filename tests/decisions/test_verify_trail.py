"""The stand-alone verifier: its JSON, its tree and its notes are those of the console."""

import json
import math
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from plans.chain import address_digest, event_body, link
from plans.console_keys import kid_of
from plans.trail.checkpoint_text import (
    compose,
    digest_of,
    inclusion,
    root_of,
    signed,
    verifier_key,
)
from reports import verify_trail
from tests.web.api_scene import now

NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
STREAMS = st.dictionaries(
    st.uuids().map(lambda one: f"plan:{one}"),
    st.tuples(st.integers(1, 9999), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    min_size=1,
    max_size=40,
)
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()


def a_note(heads, *, number=1, previous=verify_trail.ZERO, at=None, key=KEY) -> str:
    public = key.public_key().public_bytes_raw()
    text = compose(
        origin="console/trail/ab",
        number=number,
        at=at or now(),
        size=sum(seq for seq, _ in heads.values()),
        root=root_of(heads),
        previous=previous,
        kid=kid_of(public),
    )
    return signed(text, name="console", public=public, sign=key.sign)


def a_body(seq: int, stream: str = "system", **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": "told", "at": now(), "actor": None, "actor_name": "Mara", "via": "page",
        "sentence": "Something.", "payload": {"n": seq, "share": 0.1}, "v": 2,
    }  # fmt: skip
    return event_body(stream=stream, seq=seq, **(told | more))


def chain(*bodies):
    previous, out = verify_trail.ZERO, []
    for body in bodies:
        digest = link(previous, body)
        out.append((body, previous, digest))
        previous = digest
    return out


def codes(outcome) -> list[int]:
    return [problem.exit for problem in outcome.problems]


@given(VALUES)
def test_its_json_is_the_librarys(value):
    assert verify_trail.canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        *(1e21, 1e20, 123456789012345680000.0, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308),
        *(-0.0, 0.1 + 0.2, 100.0, 1.5e300, -1e-7, 333333333.33333329),
    ],
)
def test_its_numbers_are_those_of_ecmascript(value):
    assert verify_trail.canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, object(), {"a": -(2**60)}])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON"):
        verify_trail.canonical(value)


@given(STREAMS)
def test_both_trees_have_one_root_and_every_head_is_proved_under_it(heads):
    root = root_of(heads)
    assert verify_trail.root_of(heads) == root
    for stream in heads:
        proof = inclusion(heads, stream)
        leaf = verify_trail.leaf(proof.stream, proof.seq, proof.hash)
        assert verify_trail.root_from(leaf, proof.index, proof.count, proof.path) == root


@given(STREAMS, st.data())
def test_no_other_head_is_proved(heads, data):
    stream = data.draw(st.sampled_from(sorted(heads)))
    proof = inclusion(heads, stream)
    forged = verify_trail.leaf(proof.stream, proof.seq + 1, proof.hash)
    assert verify_trail.root_from(forged, proof.index, proof.count, proof.path) != root_of(heads)


def test_the_tree_is_that_of_rfc_6962():
    heads = {"a": (1, "00"), "b": (2, "11"), "c": (3, "22")}
    a, b, c = (verify_trail.leaf(name, *heads[name]) for name in "abc")
    assert root_of(heads) == verify_trail.node(verify_trail.node(a, b), c)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_checkpoint_with_one_bit_flipped_is_refused(place, bit):
    heads = {"system": (2, "ab" * 32)}
    raw = bytearray(a_note(heads).encode())
    raw[place % len(raw)] ^= 1 << bit
    verifier = verify_trail.TrailVerifier({kid_of(PUBLIC): PUBLIC})
    verifier.checkpoint(raw.decode(errors="replace"), heads, whole=True)
    assert verify_trail.BAD_SIGNATURE in codes(verifier.outcome)


def test_a_checkpoint_by_another_key_is_refused():
    other = Ed25519PrivateKey.generate()
    heads = {"system": (2, "ab" * 32)}
    verifier = verify_trail.TrailVerifier({kid_of(PUBLIC): PUBLIC})
    verifier.checkpoint(a_note(heads, key=other), heads, whole=True)
    assert codes(verifier.outcome) == [verify_trail.BAD_SIGNATURE]


def test_heads_that_were_not_signed_are_refused():
    heads = {"system": (2, "ab" * 32), "plan:a": (1, "cd" * 32)}
    verifier = verify_trail.TrailVerifier({kid_of(PUBLIC): PUBLIC})
    verifier.checkpoint(a_note(heads), heads | {"plan:a": (1, "ce" * 32)}, whole=True)
    assert codes(verifier.outcome) == [verify_trail.BAD_SIGNATURE]


@pytest.mark.parametrize("form", ["pem", "note", "hex"])
def test_a_public_key_is_read_in_each_form(form):
    told = {
        "pem": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "note": verifier_key("console", PUBLIC).encode(),
        "hex": PUBLIC.hex().encode(),
    }
    assert verify_trail.read_key(told[form].decode()) == PUBLIC


@pytest.mark.parametrize(
    "text", ["", "x", "console+12+!!", "-----BEGIN PUBLIC KEY-----", "zz" * 32]
)
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="no Ed25519 public key"):
        verify_trail.read_key(text)


def test_whole_chains_hold_and_their_heads_are_compared():
    verifier = verify_trail.TrailVerifier({})
    events = chain(*(a_body(seq) for seq in (1, 2, 3)))
    for event in events:
        verifier.event(*event)
    verifier.head("system", 3, events[-1][2])
    assert verifier.finish().exit == verify_trail.HOLDS


@pytest.mark.parametrize(
    ("head", "why"),
    [((4, "ab" * 32), "the tail was cut"), ((2, "ab" * 32), "events were added")],
)
def test_a_head_that_says_otherwise_is_found(head, why):
    verifier = verify_trail.TrailVerifier({})
    for event in chain(*(a_body(seq) for seq in (1, 2, 3))):
        verifier.event(*event)
    verifier.head("system", *head)
    problem = verifier.finish().first
    assert (problem.exit, problem.why) == (verify_trail.BROKEN, why)


def test_what_came_while_the_events_were_read_is_no_finding():
    verifier = verify_trail.TrailVerifier({})
    events = chain(*(a_body(seq) for seq in (1, 2, 3)))
    for event in events[:2]:
        verifier.event(*event)
    verifier.head("system", 3, events[2][2], earlier=(1, events[0][2]))
    assert verifier.finish().exit == verify_trail.HOLDS


def test_an_old_event_into_whose_new_columns_somebody_wrote_is_found():
    old = a_body(1, v=1)
    assert "v" not in old
    verifier = verify_trail.TrailVerifier({})
    ((_, previous, digest),) = chain(old)
    verifier.event(a_body(1, v=1, reason="because"), previous, digest)
    assert verifier.finish().first.why == "an event was changed"


def test_version_one_keeps_its_hash():
    """The hash of a body as it was written before there were circumstances."""
    body = event_body(
        stream="system", seq=1, kind="told", at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        actor=None, actor_name="Mara", via="page", sentence="Es geschah „wirklich“ so.",
        payload={"n": 7, "share": 0.25},
    )  # fmt: skip
    assert link("0" * 64, body) == (
        "1686b4ff812e0fac240c4181999ff66de145d4ba6e56490bba68bc9fb9ba9c91"
    )


def test_the_address_beside_an_event_is_the_one_that_was_hashed():
    salt = "ab" * 16
    body = a_body(1, ip=address_digest(salt, "192.0.2.7"))
    for address, exit_code in (("192.0.2.7", 0), ("192.0.2.8", verify_trail.BROKEN)):
        verifier = verify_trail.TrailVerifier({})
        _body, previous, digest = chain(body)[0]
        verifier.event(body, previous, digest, {"address": address, "salt": salt})
        assert verifier.finish().exit == exit_code


def test_a_gap_between_checkpoints_is_told_with_its_ends():
    event = chain(a_body(1))[0]
    heads = {"system": (1, event[2])}
    at = now()
    first = a_note(heads, at=at)
    second = a_note(heads, number=2, previous=digest_of(first), at=at + timedelta(minutes=30))
    verifier = verify_trail.TrailVerifier({kid_of(PUBLIC): PUBLIC})
    verifier.checkpoint(first, heads, whole=True)
    verifier.checkpoint(second, {}, whole=False)
    verifier.event(*event)
    (problem,) = verifier.finish().problems
    assert problem.exit == verify_trail.GAP
    assert f"{at:%H:%M:%S}" in problem.why


def test_nothing_of_the_console_and_no_django_is_needed(tmp_path):
    """Run as an auditor would: the file alone, in an interpreter that sees no packages of ours."""
    program = shutil.copy(verify_trail.__file__, tmp_path / "verify_trail.py")
    trail = tmp_path / "trail.jsonl"
    good = chain(a_body(1), a_body(2))
    trail.write_text("".join(json.dumps(body) + "\n" for body, _, _ in good))

    def run(*arguments) -> tuple[int, str]:
        # -I -S: no site packages, so not even cryptography.
        done = subprocess.run(
            [sys.executable, "-I", "-S", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = run(trail)
    assert (code, "no checkpoint is there" in said) == (verify_trail.UNCHECKED, True)
    lines = [{"event": b, "prev_hash": p, "hash": h} for b, p, h in good]
    lines[1]["event"] = a_body(2, sentence="Nothing.")
    trail.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, said = run(trail)
    assert code == verify_trail.BROKEN
    assert "system event 2" in said
    trail.write_text(json.dumps({"checkpoint": a_note({}), "whole": True, "heads": {}}) + "\n")
    code, said = run(trail)
    assert code == verify_trail.UNCHECKED
    assert "install the package cryptography" in said
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert run(trail, "--pubkey", pem)[0] == verify_trail.UNCHECKED
    trail.write_text("{")
    assert run(trail)[0] == verify_trail.UNREADABLE
    assert run()[0] == verify_trail.UNREADABLE
